"""Predict clicks: a row, many rows, one user with many items, or a table larger than memory.

Shapes: N rows, C columns of ids, M numbers, B batch.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
import torch
from pydantic import BaseModel, Field

from attn.apps.ctr.folder import BUNDLED_MODEL, VOCABULARY, Unseen, load_codebook
from attn.apps.ctr.model import CACHED, AutoInt, AutoIntConfig, quantised, shapes_of
from attn.apps.ctr.serving.score import number_of, text_of
from attn.core.errors import InputError, ModelError, UsageError
from attn.core.models import folder as model_folder
from attn.core.models.device import default_device
from attn.core.models.folder import ModelRecord, load_network
from attn.core.models.stream import predict_stream
from attn.core.results.prediction import Prediction
from attn.core.results.tables import TableWriter, result_frame, result_schema
from attn.core.settings import stored
from attn.data_adapters.tables.codes import Codebook, Encoded
from attn.data_adapters.tables.open import Table, open_table

MANY = 16_384  # rows scored together on a device other than the CPU, whose cache sets no limit
ROWS_AT_ONCE = 1024  # of a stream
ID = "id"  # the column that names the rows, where a table has one

Row = Mapping[str, Any]
NumberedRow = tuple[int, Row]


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
        """One row, a mapping from columns to values. Raises InputError for a row without a column of the model."""
        numbered = (1, row)
        self._check(numbered)
        return self._answer([numbered])[0]

    def predict_many(self, rows: Iterable[Row]) -> Iterator[Prediction]:
        """Rows in order, in constant memory; a row without a column of the model gives a failed prediction.

        The id of a prediction is the row's cell `id`, or the row's number from 1 where there is no such cell.
        """
        return predict_stream(
            enumerate(rows, 1),
            self._check,
            self._answer,
            name=_id,
            model=self.record.name,
            batch_size=ROWS_AT_ONCE,
            readers=0,
        )

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
        keep: Sequence[str] = (),
        show: Callable[[pl.DataFrame], None] | None = None,
        advance: Callable[[int], None] = lambda rows: None,
    ) -> Unseen:
        """Answer a table in batches of rows: write them to `out`, and give each batch to `show`.

        A row of the answer has the columns of `attn.core.results.prediction`, then those of `keep`. Its id is the
        table's column `id`; where there is no such column, or its cell is empty, the row's number from 1.

        Raises UsageError for an `out` that cannot be written, and for a kept column with the name of a column of the
        result.
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
            for frame in table.batches(wanted):
                encoded = self.codebook.encode(frame)
                p_n = self.probabilities(self.logits(encoded))
                first = unseen.rows + 1
                ids = pl.int_range(first, first + len(frame), eager=True).cast(pl.String)
                if named:
                    ids = frame[ID].cast(pl.String).zip_with(frame[ID].is_not_null(), ids)
                answered = result_frame(
                    ids, self.labels, np.stack([1 - p_n, p_n], 1), _flags(encoded), self.record.name
                ).hstack(frame.select(keep))
                unseen.add(encoded)
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
            decimals = {one.decimal for one in self.codebook.fields if one.column == column}
            separator = next(
                (o.separator for o in self.codebook.fields if (o.column, o.kind) == (column, "multi")), "|"
            )
            try:
                cells = [row[column] for row in rows]
            except KeyError as error:
                raise InputError(
                    f"a row has no {column!r}", hint=f"it needs {', '.join(self.codebook.columns)}"
                ) from error
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
        """The same row. Raises InputError when it lacks a column of the model."""
        gone = [column for column in self.codebook.columns if column not in numbered[1]]
        if gone:
            raise InputError(f"the row has no {', '.join(gone[:5])}", hint="a cell may be None, but not absent")
        return numbered

    def _answer(self, numbered: Sequence[NumberedRow]) -> list[Prediction]:
        encoded = self.codebook.encode(self.frame([row for _, row in numbered]))
        p_n = self.probabilities(self.logits(encoded)).tolist()
        return [
            Prediction.from_probabilities(
                _id(row),
                self.labels,
                [1 - p, p],
                flags=tuple(f"unknown {name}" for name, unknown_n in encoded.unknown.items() if unknown_n[place]),
                model=self.record.name,
            )
            for place, (row, p) in enumerate(zip(numbered, p_n, strict=True))
        ]


def _id(numbered: NumberedRow) -> str:
    number, row = numbered
    return str(number if row.get(ID) is None else row[ID])


def _flags(encoded: Encoded) -> pl.Series:
    """The fields of each row whose value is unknown, as `unknown a;unknown b` (N,)."""
    seen = {name: unknown_n for name, unknown_n in encoded.unknown.items() if unknown_n.any()}
    if not seen:
        return pl.repeat("", len(encoded.ids), eager=True)
    parts = [pl.when(pl.Series(unknown_n)).then(pl.lit(f"unknown {name}")) for name, unknown_n in seen.items()]
    return pl.select(pl.concat_str(parts, separator=";", ignore_nulls=True)).to_series()
