"""Tables of results: written row by row in constant memory, whole or not at all."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import polars as pl

from attn.core.errors import UsageError
from attn.core.files import replacing
from attn.core.results.prediction import Cell, Prediction, clean

SUFFIXES = (".csv", ".jsonl", ".parquet")

# What an extra column can hold, from narrow to wide: a column takes the widest kind of its cells.
KINDS = (pl.Int64(), pl.Float64(), pl.String())


class ResultWriter:
    """Write predictions to a table in constant memory: .csv, .jsonl or .parquet by the suffix of `path`.

    Rows are spooled as JSON lines beside the target and turned into the wanted format by a streaming scan on
    leaving the `with` block, so the target appears complete or, after an exception, not at all. Columns of
    `values` need no declaration: the spool is read once all of them are known, and a column is whole numbers,
    numbers or text, whichever holds every value in it. (A .jsonl line has only the extra columns of its own
    prediction.) Embeddings must all have one length.

    Raises UsageError for another suffix, or a place that cannot be written, before any row is computed.
    """

    def __init__(self, path: str | Path, labels: Sequence[str]) -> None:
        self.path = Path(path)
        self.labels = list(labels)
        self.rows = 0
        if self.path.suffix.lower() not in SUFFIXES:
            raise UsageError(
                f"cannot tell the table's format from {self.path.suffix or 'a name without suffix'!r}",
                where=self.path,
                hint=f"end the name in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}",
            )
        if self.path.is_dir():
            raise UsageError("is a folder, not a table", where=self.path, hint="give a file name")
        self._spool_path = self.path.with_name(f".{self.path.name}.{os.getpid()}.rows")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._spool = self._spool_path.open("w", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot be written: {error.strerror}", where=self.path) from error
        self._kinds: dict[str, int] = {}  # extra column -> the widest of KINDS so far
        self._embedding_size = 0

    def __enter__(self) -> "ResultWriter":
        return self

    def write(self, prediction: Prediction) -> None:
        """Add one row."""
        row = prediction.row(self.labels)
        for name in prediction.values:
            self._kinds[name] = max(self._kinds.get(name, 0), _kind(row[name]))
        if prediction.embedding is not None:
            row |= self._embedding_cells(prediction.embedding)
        self._spool.write(json.dumps(row, allow_nan=False) + "\n")
        self.rows += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spool.close()
        try:
            if kind is None:
                self._finish()
        finally:
            self._spool_path.unlink(missing_ok=True)

    def _embedding_cells(self, embedding_e: np.ndarray) -> dict[str, Cell]:
        self._embedding_size = self._embedding_size or len(embedding_e)
        if embedding_e.shape != (self._embedding_size,):
            raise ValueError(f"embedding of shape {embedding_e.shape} among others of length {self._embedding_size}")
        numbers = embedding_e.astype(np.float32).tolist()
        return {f"e{i}": clean(number) for i, number in enumerate(numbers)}

    def _finish(self) -> None:
        if self.path.suffix.lower() == ".jsonl":
            self._spool_path.replace(self.path)
            return
        schema = self._schema()
        # A JSON parser asked for text accepts numbers too, so one scan reads every mixed column.
        table = pl.scan_ndjson(self._spool_path, schema=schema) if self.rows else pl.LazyFrame(schema=schema)
        with replacing(self.path) as part:
            if self.path.suffix.lower() == ".csv":
                table.sink_csv(part)
            else:
                table.sink_parquet(part)

    def _schema(self) -> dict[str, Any]:
        kinds: dict[str, Any] = {"id": pl.String(), "label": pl.String()}
        kinds |= {f"p_{label}": pl.Float64() for label in self.labels}
        kinds |= {
            "uncertainty": pl.Float64(),
            "flags": pl.String(),
            "error": pl.String(),
            "model": pl.String(),
        }
        kinds |= {name: KINDS[kind] for name, kind in self._kinds.items()}
        kinds |= {f"e{i}": pl.Float32() for i in range(self._embedding_size)}
        return kinds


def write_rows(rows: Sequence[Mapping[str, object]], path: Path) -> None:
    """Write a table that is no table of predictions: the columns of the first row; lists are joined by ";".

    Raises UsageError for a suffix other than .csv, .jsonl and .parquet.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"cannot write {path.suffix or 'a file without suffix'}", where=path, hint=f"use {' '.join(SUFFIXES)}"
        )
    plain = [{k: ";".join(map(str, v)) if isinstance(v, list | tuple) else v for k, v in row.items()} for row in rows]
    table = pl.DataFrame(plain, infer_schema_length=None)
    with replacing(path) as part:
        if path.suffix.lower() == ".csv":
            table.write_csv(part)
        elif path.suffix.lower() == ".jsonl":
            table.write_ndjson(part)
        else:
            table.write_parquet(part)


def _kind(cell: Cell) -> int:
    """Index into KINDS; a missing value fits everywhere."""
    if isinstance(cell, str):
        return 2
    return 1 if isinstance(cell, float) else 0
