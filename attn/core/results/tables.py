"""Tables of results: written in constant memory, whole or not at all.

`TableWriter` takes frames, `ResultWriter` predictions, `result_frame` makes the frame of many predictions at once.
"""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float
from polars import selectors
from polars.io.plugins import register_io_source

from attn.core.errors import UsageError
from attn.core.files import legible, replacing, sweep, table_suffix
from attn.core.results.partial import PartialTable
from attn.core.results.prediction import NOT_FINITE, Prediction, clean, normalised_entropy
from attn.core.results.sky_tables import FORMATS as SKY_FORMATS
from attn.core.results.sky_tables import check_width, write_sky_table

ROWS_AT_ONCE = 1024


class TableWriter:
    """Write frames to one table, in the format that the suffix of `path` names: one of `files.TABLE_SUFFIXES`.

    Frames need not have the same columns. The table has every column of every frame, in the order in which they first
    came, and a column takes the widest type of its frames: whole numbers, numbers, text. NaN and infinity become null.
    Only .jsonl and .parquet have lists: elsewhere their items are joined by ";".

    Frames wait on disk beside the target. On leaving the `with` block they are written to the target, which appears
    complete or, after an exception, not at all. One frame at a time is in memory, and all for the formats of
    `sky_tables`.

    Raises UsageError for another suffix, or a place that cannot be written, before any row is computed, and for more
    columns than the format has.
    """

    def __init__(self, path: str | Path, schema: Mapping[str, Any] | None = None) -> None:
        """`schema`: columns that the table has even without rows."""
        self.path = Path(path)
        self.suffix = table_suffix(self.path)
        self.rows = 0
        if self.path.is_dir():
            raise UsageError("is a folder, not a table", where=self.path, hint="give a file name")
        self._empty = pl.DataFrame(schema=schema)
        self._frames = 0
        self._spool = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            sweep(self.path.parent, self.path.stem)
            self._spool.mkdir()
        except OSError as error:
            raise UsageError(f"cannot be written: {error.strerror}", where=self.path) from error

    def __enter__(self) -> "TableWriter":
        return self

    def write(self, rows: pl.DataFrame | Sequence[Mapping[str, object]]) -> None:
        """Add rows: a frame, or a mapping from columns to cells for each row."""
        frame = rows if isinstance(rows, pl.DataFrame) else _frame(rows)
        # A frame without rows carries the names and types so far; polars knows how to widen types.
        self._empty = pl.concat([self._empty, frame.clear()], how="diagonal_relaxed")
        check_width(self._empty.width, self.suffix)
        with self._named():
            frame.write_ipc(self._file(self._frames))
        self._frames += 1
        self.rows += len(frame)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                with self._named():
                    self._finish()
        finally:
            shutil.rmtree(self._spool, ignore_errors=True)

    def _finish(self) -> None:
        with replacing(self.path) as part:
            if self.suffix == ".parquet":
                self.written().sink_parquet(part)
                return
            if self.suffix in SKY_FORMATS:
                write_sky_table(pl.concat(self._read()), part, self.suffix)
                return
            # The streaming sinks of polars for text formats keep most of the table in memory.
            with part.open("wb") as file:
                for number, frame in enumerate(self._read()):
                    if self.suffix == ".csv":
                        frame.write_csv(file, include_header=number == 0)
                    else:
                        frame.write_ndjson(file)

    def written(self) -> pl.LazyFrame:
        """The rows so far, read from disk when they are asked for."""
        return register_io_source(lambda *_: self._read(), schema=self._empty.schema)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """What polars raises of a full disk, with the table's name."""
        try:
            yield
        except (OSError, pl.exceptions.ComputeError) as error:
            if isinstance(error, OSError) and error.filename is not None:
                raise
            reason, of_the_system, _ = str(error).partition(" (os error")
            reason = reason.rpartition(": ")[2] if of_the_system else reason
            raise OSError(None, reason, str(self.path)) from error

    def _read(self) -> Iterator[pl.DataFrame]:
        """The frames with all columns, without what the format cannot hold; first one without rows."""
        yield _storable(self._empty, self.suffix)
        for number in range(self._frames):
            frame = pl.concat([self._empty, pl.read_ipc(self._file(number))], how="diagonal_relaxed")
            yield _storable(frame, self.suffix)

    def _file(self, number: int) -> Path:
        return self._spool / f"{number:08}.arrow"


class ResultWriter:
    """Write predictions, one a row, with the columns of `attn.core.results.prediction`; otherwise a `TableWriter`.

    Columns of `values` need no declaration. Embeddings must all have one length: they become `e0`, `e1`, ..., and
    one list `embedding` in .jsonl. With `partial`, its rows come first, and an interruption keeps the rows in it.

    Raises UsageError as `TableWriter` does, and for an extra column that has the name of one of the result's own.
    """

    def __init__(self, path: str | Path, labels: Sequence[str], partial: PartialTable | None = None) -> None:
        self.labels = list(labels)
        self._table = TableWriter(path, result_schema(labels))
        self._partial = partial
        self._waiting: list[dict[str, Any]] = []
        self._extra: set[str] = set()
        self._embedding_size = 0
        self._embedding: dict[str, Any] = {}  # column -> type

    def __enter__(self) -> "ResultWriter":
        return self

    def resume(self) -> int:
        """Begin with the rows of `partial`; how many of them failed."""
        failed = 0
        for frame in self._partial.frames() if self._partial is not None else ():
            self._table.write(frame)
            failed += len(frame) - int(frame["error"].null_count())
        return failed

    @property
    def rows(self) -> int:
        """How many rows there are so far."""
        return self._table.rows + len(self._waiting)

    def write(self, prediction: Prediction) -> None:
        """Add one row."""
        row: dict[str, Any] = dict(prediction.row(self.labels))
        self._extra |= prediction.values.keys()
        if prediction.embedding is not None:
            row |= self._embedding_cells(prediction.embedding)
        if clash := self._extra & self._embedding.keys():
            raise UsageError(
                f"the extra column {min(clash)!r} is one of the embedding's", hint="rename it in the catalogue"
            )
        self._waiting.append(row)
        if len(self._waiting) == ROWS_AT_ONCE:
            self._flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            try:
                if self._partial is not None and issubclass(kind, KeyboardInterrupt) and self.rows:
                    self._flush()
                    self._partial.keep(self._table.written())
            finally:
                self._table.__exit__(kind, error, trace)
            return
        with self._table:
            self._flush()
        if self._partial is not None:
            self._partial.remove()

    def _flush(self) -> None:
        if self._waiting:
            self._table.write(_frame(self._waiting, self._embedding))
        self._waiting = []

    def _embedding_cells(self, embedding_e: np.ndarray) -> dict[str, Any]:
        self._embedding_size = size = self._embedding_size or len(embedding_e)
        if embedding_e.shape != (size,):
            raise ValueError(f"embedding of shape {embedding_e.shape} among others of length {size}")
        numbers = [clean(number) for number in embedding_e.astype(np.float32).tolist()]
        if self._table.suffix == ".jsonl":
            self._embedding = {"embedding": pl.List(pl.Float32)}
            return {"embedding": numbers}
        self._embedding = {f"e{i}": pl.Float32() for i in range(size)}
        return dict(zip(self._embedding, numbers, strict=True))


def result_schema(labels: Sequence[str]) -> dict[str, Any]:
    """The columns of every table of results, and their types."""
    text, number = pl.String(), pl.Float64()
    probabilities = {f"p_{label}": number for label in labels}
    about = {"uncertainty": number, "flags": text, "error": text, "model": text}
    return {"id": text, "label": text, **probabilities, **about}


def result_frame(
    ids: pl.Series, labels: Sequence[str], p_nk: Float[np.ndarray, "N K"], flags: pl.Series, model: str
) -> pl.DataFrame:
    """`Prediction.from_probabilities(...).row(labels)` of N rows at once; `ids` and `flags` are texts (N,)."""
    failed_n = ~np.isfinite(p_nk).all(1)
    p_nk = np.where(failed_n[:, None], np.nan, p_nk)
    likeliest = pl.Series(labels, dtype=pl.String)[np.nan_to_num(p_nk).argmax(1)]
    columns = {"id": ids, "label": likeliest}
    columns |= {f"p_{label}": pl.Series(p_n) for label, p_n in zip(labels, p_nk.T, strict=True)}
    columns |= {"uncertainty": pl.Series(normalised_entropy(p_nk)), "flags": flags}
    failed, schema = pl.Series(failed_n), result_schema(labels)
    frame = pl.DataFrame(columns).with_columns(
        pl.when(~failed).then(pl.col("label")).alias("label"),
        selectors.float().fill_nan(None),
        pl.when(failed).then(pl.lit(NOT_FINITE)).alias("error"),
        pl.lit(model).alias("model"),
    )
    return frame.cast(pl.Schema(schema)).select(schema.keys())


def _frame(rows: Sequence[Mapping[str, object]], types: Mapping[str, Any] | None = None) -> pl.DataFrame:
    rows = [{name: legible(cell) if isinstance(cell, str) else cell for name, cell in row.items()} for row in rows]
    return pl.DataFrame(rows, infer_schema_length=None, strict=False, schema_overrides=types)


def _storable(table: pl.DataFrame, suffix: str) -> pl.DataFrame:
    """The same table without what the format cannot hold."""
    numbers = selectors.float()
    table = table.with_columns(pl.when(numbers.is_finite()).then(numbers))
    if suffix not in (".csv", ".parquet"):  # elsewhere decimals are text, which whole ones stay: they may be long ids
        broken = [name for name, kind in table.schema.items() if isinstance(kind, pl.Decimal) and kind.scale]
        table = table.with_columns(
            pl.col(broken).cast(pl.Float64), (selectors.decimal() - selectors.by_name(broken)).cast(pl.String)
        )
    if suffix in (".jsonl", ".parquet"):
        return table
    listed = selectors.list() | selectors.array()
    return table.with_columns(listed.cast(pl.List(pl.String)).list.join(";"))
