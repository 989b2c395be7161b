"""Predict clicks: a row, many rows, one user with many items, or a table larger than memory.

Shapes: N rows, C columns of ids, M numbers, B batch.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
import torch
from pydantic import BaseModel, Field

from attn.apps.ctr.folder import BUNDLED_MODEL, VOCABULARY, Unseen, load_codebook
from attn.apps.ctr.model import CACHED, AutoInt, AutoIntConfig, quantised, shapes_of
from attn.apps.ctr.serving.score import Encoder, number_of, text_of
from attn.apps.ctr.serving.vocabulary import field_tables
from attn.apps.ctr.workers import scored_in_order
from attn.core.errors import InputError, ModelError, UsageError
from attn.core.models import folder as model_folder
from attn.core.models.device import default_device
from attn.core.models.folder import ModelRecord, load_network
from attn.core.models.stream import predict_stream
from attn.core.models.threads import one_thread
from attn.core.results.prediction import Prediction
from attn.core.results.tables import TableWriter, result_frame, result_schema
from attn.core.settings import stored
from attn.data_adapters.tables.codes import Codebook, Encoded
from attn.data_adapters.tables.fields import LISTS
from attn.data_adapters.tables.open import Table, open_table

MANY = 16_384  # rows scored together on a device other than the CPU, whose cache sets no limit
ROWS_AT_ONCE = 1024  # of a stream
SMALL = 2048  # rows for which threads would wait for one another longer than they work
ID = "id"  # the column that names the rows, where a table has one

Row = Mapping[str, Any]
NumberedRow = tuple[int, Row]


class Calibration(BaseModel):
    """What prediction reads of the record's calibration: slope · logit + intercept is the calibrated logit."""

    slope: float = Field(default=1.0, ge=0, le=1e3)
    intercept: float = Field(default=0.0, ge=-1e3, le=1e3)


@dataclass(frozen=True, eq=False)
class Scored:
    """Calibrated probabilities (N,), flags (N,) and the unseen values of some rows."""

    p_n: np.ndarray
    flags: pl.Series
    unseen: Unseen


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
    def load(
        cls, source: str | Path | None = None, *, table: str = "float32", device: str | torch.device | None = None
    ) -> Self:
        """The bundled model, a folder, or "hf://org/name", on `default_device()` unless `device` is given.

        `table` is the type of the embedding table in memory: float32, bfloat16 or int8. Raises ModelError, and
        UsageError for another type.
        """
        model, record, folder = load_network(source, "ctr", _build, BUNDLED_MODEL)
        codebook = load_codebook(folder, record)
        if shapes_of(codebook) != model.config.fields or codebook.rows != model.config.rows:
            raise ModelError(f"{VOCABULARY} does not fit the weights", where=folder, hint=model_folder.COPY_AGAIN)
        return cls(quantised(model, table).to(device or default_device()), codebook, record)

    def predict(self, row: Row) -> Prediction:
        """One row, a mapping from columns to values; a column that it lacks is missing, and flagged.

        Raises InputError for a row without any column of the model.
        """
        numbered = (1, row)
        self._check(numbered)
        return self._answer([numbered])[0]

    def predict_many(self, rows: Iterable[Row] | pl.DataFrame) -> Iterator[Prediction]:
        """Rows or a frame, in order, in constant memory; one without any column of the model is a failed answer.

        The id of a prediction is the row's cell `id`, or the row's number from 1 where there is no such cell.
        """
        return predict_stream(
            enumerate(_each(rows), 1),
            self._check,
            self._answer,
            name=_id,
            model=self.record.name,
            batch_size=ROWS_AT_ONCE,
            readers=0,
        )

    def score(self, user: Row, items: Sequence[Row]) -> np.ndarray:
        """Probabilities (N,) of one user's click on each item; what is the user's is looked up once.

        `user` and `items` together have the model's columns. A column that an item lacks is missing, as an empty cell
        of a table is; `predict_many` names such columns in its flags. Raises InputError when there is no column of the
        model at all, and for a user or an item that is no row.
        """
        items = list(_each(items))
        for row in (user, *items):
            _require_row(row)
        if not items:
            return np.zeros(0)
        if self.encoder.columns.keys().isdisjoint(user):
            for number, item in enumerate(items, 1):
                self._check((number, item))
        scores: np.ndarray = self.probabilities(self.logits(Encoded(*self.encoder.together(user, items))))
        return scores

    def encode(self, rows: Sequence[Row]) -> Encoded:
        """Rows as the model takes them."""
        return Encoded(*self.encoder(rows))

    @cached_property
    def encoder(self) -> Encoder:
        """What reads rows, as the exported script does."""
        return Encoder(field_tables(self.codebook))

    def logits(self, encoded: Encoded) -> np.ndarray:
        """Logits (N,) before calibration."""
        device = self.model.out.weight.device
        batch = CACHED if device.type == "cpu" else MANY
        parts = []
        small = device.type == "cpu" and len(encoded.ids) <= SMALL
        with torch.inference_mode(), one_thread() if small else nullcontext():
            for start in range(0, len(encoded.ids), batch):
                ids_bc = torch.from_numpy(encoded.ids[start : start + batch]).to(device)
                numbers_bm = torch.from_numpy(encoded.numbers[start : start + batch]).to(device)
                parts.append(self.model(ids_bc, numbers_bm).float().cpu())
        return torch.cat(parts).numpy() if parts else np.zeros(0, np.float32)

    def probabilities(self, logits_n: np.ndarray) -> np.ndarray:
        """Calibrated probabilities (N,) float64."""
        with np.errstate(over="ignore"):  # of a logit below -709 the probability is 0
            return 1 / (1 + np.exp(-(self.slope * logits_n.astype(np.float64) + self.intercept)))

    def open(self, source: str | Path, *, format: str | None = None, also: Sequence[str] = ()) -> Table:
        """A table with the model's columns and those of `also`, read as in training. Raises InputError."""
        text = {one.column for one in self.codebook.fields if one.kind in ("category", *LISTS)}
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
        keep: Sequence[str] = (),
        show: Callable[[pl.DataFrame], None] | None = None,
        advance: Callable[[int], None] = lambda rows: None,
        workers: int = 0,
    ) -> Unseen:
        """Answer a table in batches of rows: write them to `out`, and give each batch to `show`.

        A row of the answer has the columns of `attn.core.results.prediction`, then those of `keep`. Its id is the
        table's column `id`; where there is no such column, or its cell is empty, the row's number from 1.

        workers: processes that score, 0 for this one; a script that asks for some has `if __name__ == "__main__":`.

        Raises UsageError for an `out` that cannot be written, for a kept column with the name of a column of the
        result, and for workers of a model that is not on the CPU.
        """
        schema = result_schema(self.labels)
        if clash := schema.keys() & set(keep):
            raise UsageError(
                f"the column {min(clash)!r} has the name of a column of the result",
                where=table.where,
                hint="leave it out of --keep, or rename it in the table",
            )
        named = [ID] if ID in table.columns else []
        wanted = list(dict.fromkeys([*named, *keep, *self.codebook.columns]))
        unseen = Unseen()
        with nullcontext() if out is None else TableWriter(out, schema) as writer:
            for frame, found in scored_in_order(self, table.batches(wanted), workers):
                p_n = found.p_n
                first = unseen.rows + 1
                ids = pl.int_range(first, first + len(frame), eager=True).cast(pl.String)
                if named:
                    ids = frame[ID].cast(pl.String).zip_with(frame[ID].is_not_null(), ids)
                answered = result_frame(
                    ids, self.labels, np.stack([1 - p_n, p_n], 1), found.flags, self.record.name
                ).hstack(frame.select(keep))
                unseen.merge(found.unseen)
                if writer is not None:
                    writer.write(answered)
                if show is not None:
                    show(answered)
                advance(len(frame))
        return unseen

    def scored(self, frame: pl.DataFrame) -> Scored:
        """The answers for the rows of a table."""
        encoded = self.codebook.encode(frame)
        unseen = Unseen()
        unseen.add(encoded, self.codebook.places)
        return Scored(self.probabilities(self.logits(encoded)), _flags(encoded), unseen)

    def frame(self, rows: Sequence[Row]) -> pl.DataFrame:
        """Rows as a table with the model's columns."""
        columns = {}
        for column in self.codebook.columns:
            kinds = {one.kind for one in self.codebook.fields if one.column == column}
            decimals = {one.decimal for one in self.codebook.fields if one.column == column}
            separator = next((o.separator for o in self.codebook.fields if o.column == column and o.kind in LISTS), "|")
            cells = [row.get(column) for row in rows]
            if kinds == {"number"} and all(cell is None or type(cell) in (int, float) for cell in cells):
                columns[column] = pl.Series(column, [number_of(cell) for cell in cells], pl.Float64)
            else:
                texts = [text_of(cell, separator) for cell in cells]
                if "," in decimals:  # where numbers, unlike texts, have a point
                    pairs = zip(texts, cells, strict=True)
                    texts = [t if t is None or isinstance(cell, str) else t.replace(".", ",") for t, cell in pairs]
                columns[column] = pl.Series(column, texts, pl.String)
        return pl.DataFrame(columns)

    def _check(self, numbered: NumberedRow) -> NumberedRow:
        """The same row. Raises InputError when it has no column of the model, and when it is no row."""
        _require_row(numbered[1])
        try:
            self.encoder.missing(numbered[1])
        except ValueError as error:
            raise InputError(str(error)) from error
        return numbered

    def _answer(self, numbered: Sequence[NumberedRow]) -> list[Prediction]:
        rows = [row for _, row in numbered]
        encoded = self.encode(rows)
        p_n = self.probabilities(self.logits(encoded)).tolist()
        return [
            Prediction.from_probabilities(
                _id((number, row)),
                self.labels,
                [1 - p, p],
                flags=(
                    *(f"unknown {name}" for name, unknown_n in encoded.unknown.items() if unknown_n[place]),
                    *(f"missing {name}" for name in self.encoder.missing(row)),
                ),
                model=self.record.name,
            )
            for place, ((number, row), p) in enumerate(zip(numbered, p_n, strict=True))
        ]


def _each(rows: Any) -> Iterable[Row]:
    """The rows of a polars or pandas frame as mappings; other rows as they are."""
    if isinstance(rows, pl.LazyFrame):
        rows = rows.collect()
    if isinstance(rows, pl.DataFrame):
        return rows.iter_rows(named=True)
    is_frame = hasattr(rows, "columns") and hasattr(rows, "to_dict")
    given: Iterable[Row] = rows.to_dict("records") if is_frame else rows
    return given


def _require_row(row: Any) -> None:
    if not hasattr(row, "get") or hasattr(row, "columns"):
        what = f"a row is a mapping from columns to cells, not a {type(row).__name__}"
        raise InputError(what, hint="give a frame, or a list of rows, to predict_many")


def _id(numbered: NumberedRow) -> str:
    number, row = numbered
    own = row.get(ID) if hasattr(row, "get") else None
    return str(number if own is None else own)


def _flags(encoded: Encoded) -> pl.Series:
    """The fields of each row whose value is unknown, as `unknown a;unknown b` (N,)."""
    seen = {name: unknown_n for name, unknown_n in encoded.unknown.items() if unknown_n.any()}
    if not seen:
        return pl.repeat("", len(encoded.ids), eager=True)
    parts = [pl.when(pl.Series(unknown_n)).then(pl.lit(f"unknown {name}")) for name, unknown_n in seen.items()]
    return pl.select(pl.concat_str(parts, separator=";", ignore_nulls=True)).to_series()
