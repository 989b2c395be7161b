"""What `attn look` sees of a click model: rows as batches, click or no click as the answer, fields as tokens."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from attn.apps.ctr.predict import CTRPredictor
from attn.core.errors import InputError
from attn.data_adapters.tables.cells import as_labels
from attn.data_adapters.tables.codes import Encoded
from attn.look.layout import of_fields
from attn.look.probe import MOST_EXAMPLES, Batch, Probe


def probe(folder: Path, device: str | None = None) -> Probe:
    """A click model to look into. An input is a table, or a row as in `user_id=7,movie_id=1193`. Raises ModelError."""
    predictor = CTRPredictor.load(folder, device=device)
    model = predictor.model
    names = tuple(place.field.name for place in predictor.codebook.places)

    def read_one(source: str, most: int) -> Batch:
        targets_br = None
        if "=" in source and not _is_there(source):
            row = _row(source)
            predictor.predict(row)  # raises where the row has no column of the model
            encoded: Encoded = predictor.encode([row])
            ids: tuple[str, ...] = (source,)
        else:
            table = predictor.open(source)
            frame = table.head(most)
            encoded = predictor.codebook.encode(frame)
            ids = tuple(f"row {number} of {source}" for number in range(1, len(frame) + 1))
            if predictor.label in frame.columns:
                labels_n = as_labels(frame[predictor.label], table.where, 0)
                targets_br = torch.from_numpy(labels_n.astype("int64"))[:, None]
        device = model.out.weight.device
        args = tuple(torch.from_numpy(each).to(device) for each in (encoded.ids, encoded.numbers))
        return Batch(ids, args, {"*": of_fields(names)}, targets_br)

    def read(inputs: Sequence[str]) -> list[Batch]:
        batches: list[Batch] = []
        for source in inputs:
            if (left := MOST_EXAMPLES - sum(len(batch.ids) for batch in batches)) > 0:
                batches.append(read_one(source, left))
        return batches

    def log_p(ids_bc: Int[Tensor, "B C"], numbers_bm: Float[Tensor, "B M"]) -> Float[Tensor, "B 1 2"]:
        logit_b = predictor.slope * model(ids_bc, numbers_bm) + predictor.intercept
        return torch.stack([F.logsigmoid(-logit_b), F.logsigmoid(logit_b)], dim=-1)[:, None]

    answers = (
        f"whether {predictor.label!r} is 1; the true answer is the table's label where it has one, else the model's"
    )
    return Probe("ctr", predictor.record.name, model, read, log_p, answers, tuple(predictor.labels))


def _is_there(source: str) -> bool:
    try:
        return Path(source).exists()
    except OSError:  # a row that is too long for the name of a file
        return False


def _row(text: str) -> dict[str, str]:
    """`a=1,b=x` as a row."""
    cells = [part.partition("=") for part in text.split(",")]
    if not all(name.strip() and equals for name, equals, _ in cells):
        raise InputError("is no row and no table", where=text, hint="write a row as in user_id=7,movie_id=1193")
    return {name.strip(): value.strip() for name, _, value in cells}
