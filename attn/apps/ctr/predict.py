"""Predict clicks: a row, many rows, one user with many items, or a table larger than memory.

Shapes: N rows, C columns of ids, M numbers, B batch.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
import torch
from pydantic import BaseModel, Field
from torch import Tensor

from attn.apps.ctr.model import CACHED, AutoInt, AutoIntConfig, quantised, shapes_of
from attn.core.errors import InputError, ModelError, UsageError
from attn.core.models import folder as model_folder
from attn.core.models.folder import ModelRecord, building, load_network
from attn.core.results.prediction import Prediction
from attn.core.results.tables import TableWriter
from attn.core.settings import stored
from attn.data_adapters.tables.codes import Codebook, Encoded
from attn.data_adapters.tables.open import Table, open_table
from attn.data_adapters.tables.small import read_table

BUNDLED_MODEL = Path(__file__).with_name("weights")
VOCABULARY = "vocabulary.parquet"
MANY = 16_384  # rows scored together where no cache is to be minded
ROWS_AT_ONCE = 1024  # of a stream

Row = Mapping[str, Any]


def save_model(folder: Path, state: dict[str, Tensor], record: ModelRecord, codebook: Codebook) -> ModelRecord:
    """A model folder with the vocabulary beside the weights."""
    return model_folder.save(folder, state, record, {VOCABULARY: codebook.table().write_parquet})


def load_codebook(folder: Path, record: ModelRecord) -> Codebook:
    """The vocabulary and scales of a model. Raises ModelError."""
    path = folder / VOCABULARY
    if not path.is_file():
        raise ModelError("is missing", where=path, hint=model_folder.COPY_AGAIN)
    with building(path):
        codebook = Codebook.from_described(record.preprocessing, read_table(path))
        shapes_of(codebook)  # of every field there is what it takes
    return codebook


@dataclass
class Unseen:
    """How many rows were read, and how many cells of each field had no vector of their own."""

    rows: int = 0
    cells: dict[str, int] = field(default_factory=dict)

    def add(self, encoded: Encoded) -> None:
        """Count further rows."""
        self.rows += len(encoded.ids)
        for name, unknown_n in encoded.unknown.items():
            self.cells[name] = self.cells.get(name, 0) + int(unknown_n.sum())

    def shares(self) -> dict[str, float]:
        """By field."""
        return {name: count / max(self.rows, 1) for name, count in self.cells.items()}


class Calibration(BaseModel):
    """What prediction reads of the record's calibration: slope · logit + intercept is the calibrated logit."""

    slope: float = Field(default=1.0, ge=0, le=1e3)
    intercept: float = Field(default=0.0, ge=-1e3, le=1e3)


def _build(record: ModelRecord) -> AutoInt:
    stored(Calibration, record.calibration)
    if len(record.labels) != 2 or not isinstance(record.preprocessing.get("label"), str):
        raise ModelError("does not name its label, or has not two labels")
    return AutoInt(stored(AutoIntConfig, record.architecture))


class CTRPredictor:
    """A trained click model. Build it with `load`.

    >>> CTRPredictor.load("runs/mine").predict({"user_id": 7, "movie_id": 1193}).probabilities
    """

    def __init__(self, model: AutoInt, codebook: Codebook, record: ModelRecord) -> None:
        self.model, self.codebook, self.record = model.eval(), codebook, record
        self.label: str = record.preprocessing["label"]
        self.labels = record.labels
        calibration = stored(Calibration, record.calibration, record.name)
        self.slope, self.intercept = calibration.slope, calibration.intercept

    @classmethod
    def load(cls, source: str | Path | None = None, *, table: str = "float32", device: str = "cpu") -> Self:
        """The bundled model, a folder, or "hf://org/name"; the embedding table as float32, bfloat16 or int8.

        Raises ModelError, and UsageError for another type of table.
        """
        model, record, folder = load_network(source, "ctr", _build, BUNDLED_MODEL)
        codebook = load_codebook(folder, record)
        if shapes_of(codebook) != model.config.fields or codebook.rows != model.config.rows:
            raise ModelError(f"{VOCABULARY} does not fit the weights", where=folder, hint=model_folder.COPY_AGAIN)
        return cls(quantised(model, table).to(device), codebook, record)

    def predict(self, row: Row) -> Prediction:
        """One row, a mapping from columns to values."""
        return next(self.predict_many([row]))

    def predict_many(self, rows: Iterable[Row]) -> Iterator[Prediction]:
        """Rows in order, in constant memory; their ids are their numbers from 1, and a bad row has `error`."""
        first, stream = 1, iter(rows)
        while some := list(islice(stream, ROWS_AT_ONCE)):
            problems = [self._problem(row) for row in some]
            encoded = self.codebook.encode(self.frame([r for r, p in zip(some, problems, strict=True) if p is None]))
            p_n = iter(self.probabilities(self.logits(encoded)).tolist())
            unknown = np.array(list(encoded.unknown.values())).T if encoded.unknown else np.zeros((len(some), 0), bool)
            names, good = list(encoded.unknown), 0
            for number, problem in enumerate(problems, first):
                if problem is not None:
                    yield Prediction.failed(str(number), problem, self.record.name)
                    continue
                p = next(p_n)
                flags = tuple(f"unknown {names[k]}" for k in np.flatnonzero(unknown[good]))
                good += 1
                yield Prediction.from_probabilities(
                    str(number), self.labels, [1 - p, p], flags=flags, model=self.record.name
                )
            first += len(some)

    def score(self, user: Row, items: Sequence[Row]) -> np.ndarray:
        """Probabilities (N,) of one user's click on each item; what is the user's is looked up once.

        `user` and `items` together have the model's columns. Raises InputError for a column that neither has.
        """
        if not items:
            return np.zeros(0)
        own = [place for place in self.codebook.places if place.field.column not in user]
        shared = self.codebook.encode(self.frame([{**items[0], **user}]))
        encoded = self.codebook.encode(self.frame(items, partial=user), [place.field.name for place in own])
        ids_nc = np.repeat(shared.ids, len(items), 0)
        numbers_nm = np.repeat(shared.numbers, len(items), 0)
        for place in own:
            target, source = (numbers_nm, encoded.numbers) if place.field.kind == "number" else (ids_nc, encoded.ids)
            columns = slice(place.column, place.column + place.width)
            target[:, columns] = source[:, columns]
        scores: np.ndarray = self.probabilities(self.logits(Encoded(ids_nc, numbers_nm, {})))
        return scores

    def logits(self, encoded: Encoded) -> np.ndarray:
        """Logits (N,) before calibration."""
        device = self.model.out.weight.device
        batch = CACHED if device.type == "cpu" else MANY
        parts = []
        with torch.inference_mode():
            for start in range(0, len(encoded.ids), batch):
                ids_bc = torch.from_numpy(encoded.ids[start : start + batch]).to(device)
                numbers_bm = torch.from_numpy(encoded.numbers[start : start + batch]).to(device)
                parts.append(self.model(ids_bc, numbers_bm).float().cpu())
        return torch.cat(parts).numpy() if parts else np.zeros(0, np.float32)

    def probabilities(self, logits_n: np.ndarray) -> np.ndarray:
        """Calibrated probabilities (N,) float64."""
        return 1 / (1 + np.exp(-(self.slope * logits_n.astype(np.float64) + self.intercept)))

    def open(self, source: str | Path, *, format: str | None = None, also: Sequence[str] = ()) -> Table:
        """A table with the model's columns and those of `also`, read as in training. Raises InputError."""
        text = {one.column for one in self.codebook.fields if one.kind in ("category", "multi")}
        known = self.record.preprocessing.get("columns")
        table = open_table(source, format=format, columns=known, text=text)
        self.codebook.require_columns(table.columns, table.where)
        for name in also:
            if name not in table.columns:
                raise InputError(f"has no column {name!r}", where=table.where)
        return table

    def predict_table(
        self,
        table: Table,
        out: Path | None = None,
        *,
        keep: Sequence[str] | None = None,
        show: Callable[[pl.DataFrame], None] | None = None,
        advance: Callable[[int], None] = lambda rows: None,
    ) -> Unseen:
        """Write `keep` columns (all if None), the probability, flags and the model's name, a batch of rows at a time.

        Raises UsageError for an `out` that cannot be written and a column that is the result's own.
        """
        kept = list(table.columns if keep is None else keep)
        answers = {f"p_{self.label}", "flags", "model"}
        if clash := answers & set(kept):
            raise UsageError(f"the column {min(clash)!r} is one of the result's own", hint="leave it out with --keep")
        unseen = Unseen()
        with nullcontext() if out is None else TableWriter(out) as writer:
            for frame in table.batches(list(dict.fromkeys([*kept, *self.codebook.columns]))):
                encoded = self.codebook.encode(frame)
                unseen.add(encoded)
                answered = frame.select(
                    *kept,
                    pl.Series(f"p_{self.label}", self.probabilities(self.logits(encoded))),
                    _flags(encoded).alias("flags"),
                    pl.lit(self.record.name).alias("model"),
                )
                if writer is not None:
                    writer.write(answered)
                if show is not None:
                    show(answered)
                advance(len(frame))
        return unseen

    def frame(self, rows: Sequence[Row], partial: Row | None = None) -> pl.DataFrame:
        """Rows as a table with the model's columns; those of `partial` stay empty."""
        columns = {}
        for column in self.codebook.columns:
            if partial is not None and column in partial:
                columns[column] = pl.Series(column, [None] * len(rows), pl.String)
                continue
            kinds = {one.kind for one in self.codebook.fields if one.column == column}
            separator = next((one.separator for one in self.codebook.fields if one.column == column), "|")
            try:
                cells = [row[column] for row in rows]
            except KeyError as error:
                raise InputError(
                    f"a row has no {column!r}", hint=f"it needs {', '.join(self.codebook.columns)}"
                ) from error
            if kinds == {"number"}:
                columns[column] = pl.Series(column, [_as_float(cell) for cell in cells], pl.Float64)
            else:
                columns[column] = pl.Series(column, [_as_text(cell, separator) for cell in cells], pl.String)
        return pl.DataFrame(columns)

    def _problem(self, row: Row) -> str | None:
        gone = [column for column in self.codebook.columns if column not in row]
        return f"has no {', '.join(gone[:5])}; a cell may be empty (None), but not absent" if gone else None


def _flags(encoded: Encoded) -> pl.Expr:
    """The unknown fields of each row, as `unknown a;unknown b`."""
    seen = {name: mask for name, mask in encoded.unknown.items() if mask.any()}
    if not seen:
        return pl.lit("")
    parts = [pl.when(pl.Series(mask)).then(pl.lit(f"unknown {name}")) for name, mask in seen.items()]
    return pl.concat_str(parts, separator=";", ignore_nulls=True)


def _as_float(cell: object) -> float | None:
    try:
        return None if cell is None else float(cell)  # type: ignore[arg-type]  # what is no number is missing
    except (TypeError, ValueError):
        return None


def _as_text(cell: object, separator: str) -> str | None:
    if cell is None:
        return None
    if isinstance(cell, list | tuple | set):
        return separator.join(str(part) for part in cell)
    if isinstance(cell, bool | np.bool_):
        return str(int(cell))
    if isinstance(cell, float | np.floating):
        return None if np.isnan(cell) else str(int(cell)) if float(cell).is_integer() else str(cell)
    return str(cell)
