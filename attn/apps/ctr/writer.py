"""A table written a batch of rows at a time: .csv, .jsonl or .parquet, whole or not at all."""

import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import polars as pl

from attn.core.errors import UsageError
from attn.core.files import replacing
from attn.core.results.tables import SUFFIXES


class TableWriter:
    """Frames of one schema, in order, to `path`.

    They are spooled beside the target, which appears on leaving the `with` block, or after an exception not at all.
    Raises UsageError for another suffix or a place that cannot be written, before any row is computed.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.suffix = path, path.suffix.lower()
        if self.suffix not in SUFFIXES:
            raise UsageError(
                f"cannot write {path.suffix or 'a file without suffix'}", where=path, hint=f"use {' '.join(SUFFIXES)}"
            )
        if path.is_dir():
            raise UsageError("is a folder, not a table", where=path, hint="give a file name")
        self._spool = path.with_name(f".{path.name}.{os.getpid()}.rows")
        self._file: BinaryIO | None = None
        self._frames = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if self.suffix == ".parquet":
                self._spool.mkdir()
            else:
                self._file = self._spool.open("wb")
        except OSError as error:
            raise UsageError(f"cannot be written: {error.strerror}", where=path) from error

    def __enter__(self) -> "TableWriter":
        return self

    def write(self, frame: pl.DataFrame) -> None:
        """Add rows."""
        if self._file is None:
            frame.write_ipc(self._spool / f"{self._frames:08}.arrow")
        elif self.suffix == ".csv":
            frame.write_csv(self._file, include_header=self._frames == 0)
        else:
            frame.write_ndjson(self._file)
        self._frames += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._file is not None:
                self._file.close()
            if kind is None:
                self._finish()
        finally:
            shutil.rmtree(self._spool, ignore_errors=True) if self._file is None else self._spool.unlink(
                missing_ok=True
            )

    def _finish(self) -> None:
        if self._file is not None:
            self._spool.replace(self.path)
            return
        with replacing(self.path) as part:
            if self._frames:
                pl.scan_ipc(self._spool / "*.arrow").sink_parquet(part)
            else:
                pl.DataFrame().write_parquet(part)
