"""A small table read whole: labels of images, sources of a catalogue."""

from pathlib import Path

import polars as pl

from attn.core.errors import InputError

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")


def read_table(path: Path) -> pl.DataFrame:
    """A .csv, .tsv (every cell as text) or .parquet table. InputError when it cannot be read."""
    try:
        if path.name.lower().endswith(".parquet"):
            return pl.read_parquet(path)
        separator = "\t" if path.name.lower().endswith(".tsv") else ","
        return pl.read_csv(path, separator=separator, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0][:160]
        raise InputError(f"is not a table ({reason})", where=path, hint="check the file") from error


def require_column(table: pl.DataFrame, column: str, source: Path, hint: str) -> None:
    """Raise InputError, which lists the columns, unless the table has this one."""
    if column not in table.columns:
        there = ", ".join(table.columns) or "none"
        raise InputError(f"no column {column!r}; it has {there}", where=source, hint=hint)
