"""What a training begins from: the settings of the network to train, and the weights it is given before the first step.

A start is the bundled model, a model folder or one on the Hub. Its rows go to where the new vocabulary has their
values, and its weights for a field to where the new table has that field.

Shapes: R rows of the table, F fields, C what a layer reads of a field, O its outputs, E embedding width, N numbers.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor

from attn.apps.ctr.model import PRESETS, AutoInt, AutoIntConfig, FieldShape, preset_named
from attn.apps.ctr.predict import CTRPredictor
from attn.apps.ctr.rows import Lookup
from attn.apps.ctr.used import Sample, sample_in, sampled
from attn.core.models.record import ModelRecord
from attn.core.models.used import start_unknown, texts
from attn.core.settings import buildable, checked
from attn.data_adapters.tables.codes import MISSING, UNKNOWN, VALUES, Codebook, Place

DEFAULTS: dict[str, Any] = {"embedding": 16, "widths": (32, 32, 32), "heads": 2}
DROPOUT = 0.1
MOST_DAYS = 1000  # that a record names
TABLE = "embedding.table.weight"
TARGETS = "embedding.targets."  # of sequences, by the number of the field
BY_FIELD = ("out.weight", "dnn.0.weight")  # (O, F C): a block of columns for each field


def architecture(
    start: CTRPredictor | None,
    *,
    preset: str | None = None,
    width: int | None = None,
    depth: int | None = None,
    dropout: float | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Settings of `AutoIntConfig` but for the fields: those of `start`, else the defaults, with changes.

    What is None changes nothing. `dropout` is that of the fields' vectors; the parallel MLP's is twice as high. Raises
    UsageError for an unknown preset, and for settings with which no network can be built.
    """
    if start is None:
        settings = DEFAULTS | preset_named("official")
        dropout = DROPOUT if dropout is None else dropout
    else:
        settings = start.model.config.model_dump(exclude={"fields", "rows"})
    if preset is not None:
        named = {name for each in PRESETS.values() for name in each}
        settings |= {name: AutoIntConfig.model_fields[name].default for name in named} | preset_named(preset)
    if width is not None or depth is not None:
        widths = settings["widths"]
        settings["widths"] = (width or widths[-1],) * (depth or len(widths))
    if dropout is not None:
        settings |= {"embedding_dropout": dropout, "dnn_dropout": min(2 * dropout, 0.9)}
    settings |= {name: value for name, value in changes.items() if value is not None}
    field = FieldShape(name="any", kind="category", first=1, rows=1, column=0)
    buildable(checked(AutoIntConfig, fields=(field,), rows=2, **settings), AutoInt)
    return settings


def rows_seen(start: CTRPredictor, columns: set[str]) -> Sample | None:
    """The sample of the rows that `start` has seen, as rows of these columns; None where that is not known."""
    data, calibration = start.record.data, start.record.calibration
    same = columns == {start.label, *start.codebook.columns}
    if not same or not texts(data.get("used"), "sample") or start_unknown(data):
        return None
    used = data["used"]
    return sampled(sample_in(used, "sample"), sample_in(used, "start"), sample_in(calibration, "sample"))


@torch.no_grad()
def begin(model: AutoInt, codebook: Codebook, start: CTRPredictor) -> dict[str, tuple[int, int]]:
    """Give `model`, whose fields are those of `codebook`, the weights of `start`.

    Returns for each field how many rows of the embedding table were carried over, and of how many. What `start` does
    not know or has in another shape stays as it was.
    """
    have = start.model.state_dict()
    order = {shape.name: number for number, shape in enumerate(start.model.config.fields)}
    known = {to: order[shape.name] for to, shape in enumerate(model.config.fields) if shape.name in order}
    for name, value in model.state_dict().items():
        was = name
        if name.startswith(TARGETS):  # of the same sequence, wherever it was
            number, _, rest = name.removeprefix(TARGETS).partition(".")
            was = f"{TARGETS}{known.get(int(number), -1)}.{rest}"
        if name in BY_FIELD and name in have:
            from_ofc = have[name].unflatten(1, (len(order), -1))
            to_ofc = value.unflatten(1, (len(model.config.fields), -1))
            if from_ofc[:, 0].shape == to_ofc[:, 0].shape:
                to_ofc[:, list(known)] = from_ofc[:, list(known.values())]
        elif name != TABLE and was in have:
            if have[was].shape == value.shape:
                value.copy_(have[was])
            elif name.endswith(".recency"):  # the newest place is the first
                both = min(len(value), len(have[was]))
                value[:both] = have[was][:both]
    carried = {place.field.name: (0, place.rows) for place in codebook.places}
    table_re = model.embedding.table.weight
    if table_re.shape[1] == have[TABLE].shape[1]:
        for place, to_n, vectors_ne in _vectors(codebook, start):
            table_re[place.first + to_n] = vectors_ne
            carried[place.field.name] = (len(to_n), place.rows)
    return carried


@torch.no_grad()
def keep_unmet(state: dict[str, Tensor], begun_re: Float[Tensor, "R E"], lookup: Lookup) -> None:
    """Give the values that no row of the new tables has the vectors again that they began with.

    The decay of the table has shrunk them, and nothing was learned about them.
    """
    unmet_r = torch.zeros(len(begun_re), dtype=torch.bool)
    for place in lookup.coded:
        unmet_r[place.first + VALUES : place.first + place.rows] = True
    for table in lookup.tables:
        unmet_r[torch.from_numpy(table).long()] = False
    state[TABLE][unmet_r] = begun_re[unmet_r]


def days(start: ModelRecord, source: str) -> list[str]:
    """The tables that a model and those it began from were trained on, the newest last."""
    before = start.data.get("days")
    known = [text for text in before if isinstance(text, str)] if isinstance(before, list) else []
    first = start.data.get("source")
    return [*(known or ([first] if isinstance(first, str) else [])), source][-MOST_DAYS:]


def _vectors(
    codebook: Codebook, start: CTRPredictor
) -> Iterator[tuple[Place, Int[Tensor, " N"], Float[Tensor, "N E"]]]:
    """For each field that `start` knows: which of the field's rows are carried over, and what becomes of them."""
    table_re = start.model.embedding.table.weight
    places = {place.field.name: place for place in start.codebook.places}
    for place in codebook.places:
        was = places.get(place.field.name)
        if was is None or (was.field.kind == "number") != (place.field.kind == "number"):
            continue
        if place.field.kind == "number":
            vectors_ne = _of_numbers(place, codebook, was, start)
            yield place, torch.arange(len(vectors_ne)), vectors_ne
        else:
            from_n, to_n = _both(start.codebook.vocabularies[was.field.name], codebook.vocabularies[place.field.name])
            yield place, to_n, table_re[was.first + from_n]


def _both(before: pl.Series, now: pl.Series) -> tuple[Int[Tensor, " N"], Int[Tensor, " N"]]:
    """Rows of the unknown value, the missing one and the values of both vocabularies, in the one and in the other."""
    source, target = (pl.DataFrame({"value": values.cast(pl.String)}).with_row_index("row") for values in (before, now))
    found = source.join(target, on="value").select("row", "row_right").to_numpy().astype(np.int64) + VALUES
    from_n, to_n = torch.from_numpy(np.concatenate([[[UNKNOWN] * 2, [MISSING] * 2], found])).unbind(1)
    return from_n, to_n


def _of_numbers(place: Place, codebook: Codebook, was: Place, start: CTRPredictor) -> Float[Tensor, "N E"]:
    """What `start` makes of a missing number, and of the number at each knot; of a number without knots, its slope."""
    name = place.field.name
    numbers = [np.nan]
    if place.field.transform == "quantile":
        numbers += start.codebook.scaled(was, np.array(codebook.scales[name].knots)).tolist()
    elif place.field.transform == was.field.transform:
        standard = place.field.transform == "standard"
        numbers += [codebook.scales[name].deviation / start.codebook.scales[name].deviation if standard else 1.0]
    config = start.model.config
    ids = sum(shape.width for shape in config.fields if shape.kind in ("category", "multi", "sequence"))
    columns = sum(shape.kind in ("linear", "knots") for shape in config.fields)
    numbers_nm = torch.full((len(numbers), columns), torch.nan)
    numbers_nm[:, was.column] = torch.tensor(numbers)
    vectors_nfe: Tensor = start.model.embedding(torch.zeros(len(numbers), ids, dtype=torch.int32), numbers_nm)
    return vectors_nfe[:, [shape.name for shape in config.fields].index(name)]
