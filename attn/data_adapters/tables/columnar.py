"""Parquet and Arrow (Feather) files as one table.

Rows come in slices, whatever the row groups of the files are: polars' own stream of a wide file decodes many row
groups ahead.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from attn.core.errors import InputError
from attn.data_adapters.library_warnings import caught_panics
from attn.data_adapters.tables.pages import check_pages
from attn.data_adapters.tables.plain import common, declared, lists, plain
from attn.data_adapters.tables.rows import MAX_CELL
from attn.data_adapters.tables.source import check_names, check_same, openable, reading

MAGIC = {"parquet": b"PAR1", "arrow": b"ARROW1"}
STREAM = b"\xff\xff\xff\xff"  # of Arrow's streaming format


class ColumnarSource:
    """Files of one format with the same columns.

    keys: for each file, columns of text with one value, from the names of its folders. Attributes: `schema`, the plain
    type of each column; `declared` and `multi`, what the types in the first file say.
    InputError: a file that is not of the format, is cut off, or has other columns than the first, or types that have
    nothing in common with its types.
    """

    def __init__(
        self, paths: Sequence[Path], kind: str, keys: Sequence[Mapping[str, str | None]] | None = None
    ) -> None:
        self._paths, self._kind = paths, kind
        self._keys = dict(zip(paths, keys or [{}] * len(paths), strict=True))
        schemas: list[dict[str, pl.DataType]] = []
        for path in paths:
            with reading(path):
                self._check_file(path)
                with self._scan(path) as scan:
                    schemas.append(dict(scan.collect_schema()))
            check_names(list(schemas[-1]), path)
            check_same(list(schemas[-1]), list(schemas[0]), path, paths[0])
        self.schema = common(schemas, paths)
        self.declared, self.multi = declared(schemas[0]), lists(schemas[0])

    def frames(self, columns: Sequence[str], rows: int) -> Iterator[pl.DataFrame]:
        """Slices in file order."""
        for path in self._paths:
            with reading(path):
                for start in range(0, self._height(path), rows):
                    with self._scan(path) as scan:
                        frame = scan.select(columns).slice(start, rows).collect()
                    frame = pl.DataFrame([plain(cells, self.schema[cells.name], path) for cells in frame])
                    _check_cells(frame, start, path)
                    yield frame

    def rows(self) -> int:
        """The number of rows, from the files' footers."""
        total = 0
        for path in self._paths:
            with reading(path):
                total += self._height(path)
        return total

    def _height(self, path: Path) -> int:
        with self._scan(path) as scan:
            return int(scan.select(pl.len()).collect().item())

    @contextmanager
    def _scan(self, path: Path) -> Iterator[pl.LazyFrame]:
        """The file and its keys as a query, to collect within the block."""
        scan = pl.scan_parquet if self._kind == "parquet" else pl.scan_ipc
        with openable(path) as source, caught_panics():
            rows = scan(source, glob=False, hive_partitioning=False)
            yield rows.with_columns(pl.lit(value, pl.String).alias(name) for name, value in self._keys[path].items())

    def _check_file(self, path: Path) -> None:
        magic = MAGIC[self._kind]
        with path.open("rb") as file:
            head = file.read(len(magic))
            file.seek(max(0, path.stat().st_size - len(magic)))
            tail = file.read()
        if not head:
            raise InputError("is empty", where=path)
        if self._kind == "arrow" and head.startswith(STREAM):
            raise InputError("is an Arrow stream", where=path, hint="write it as an Arrow file (Feather)")
        if head != magic:
            raise InputError(f"does not begin as {self._kind.capitalize()} files do", where=path)
        if tail != magic:
            raise InputError("is cut off: the end of the file, with its table of contents, is missing", where=path)
        if self._kind == "parquet":
            check_pages(path)


def _check_cells(frame: pl.DataFrame, start: int, path: Path) -> None:
    for cells in frame.select(pl.col(pl.String)):
        if (cells.str.len_bytes() > MAX_CELL).any() and len(long := (cells.str.len_chars() > MAX_CELL).arg_true()):
            what = f"row {start + long[0] + 1} has a cell of more than {MAX_CELL:,} characters in column '{cells.name}'"
            raise InputError(what, where=path)
