"""A small table read whole: labels of images, sources of a catalogue."""

from pathlib import Path

import polars as pl

from attn.core.errors import InputError
from attn.data_adapters.boundary import boundary
from attn.data_adapters.library_warnings import caught_panics
from attn.data_adapters.tables.header import separator_of
from attn.data_adapters.tables.pages import check_pages

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
MAX_BYTES = 1 << 30
LISTED = 1000  # characters of the names of columns in a message
HEAD = 1 << 16  # bytes that tell the separator


def read_table(path: Path) -> pl.DataFrame:
    """A .csv, .tsv (every cell as text; commas, tabs, semicolons or bars) or .parquet table. InputError: unreadable."""
    with boundary(path, "is not a table", "check the file"):
        if (size := path.stat().st_size) > MAX_BYTES:
            raise InputError(f"has {size:,} bytes; tables of up to {MAX_BYTES:,} are read whole", where=path)
        content = path.read_bytes()  # polars cannot open a file whose name is not UTF-8
        if path.name.lower().endswith(".parquet"):
            check_pages(path)
            with caught_panics():
                return pl.read_parquet(content)
        head = content[:HEAD].decode("utf-8-sig", "replace")
        separator = separator_of(head, tabs=path.name.lower().endswith(".tsv"))
        return pl.read_csv(content, separator=separator, infer_schema=False)


def require_column(table: pl.DataFrame, column: str, source: Path, hint: str) -> None:
    """Raise InputError, which lists the columns, unless the table has this one."""
    if column not in table.columns:
        there = ", ".join(table.columns) or "none"
        there = there if len(there) <= LISTED else f"{there[:LISTED]}..."
        raise InputError(f"no column {column!r}; it has {there}", where=source, hint=hint)
