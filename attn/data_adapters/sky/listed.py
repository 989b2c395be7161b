"""Tables of images to classify: a column of paths, and whatever else is known of each image."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from attn.core.errors import InputError
from attn.data_adapters.tables.small import TABLE_SUFFIXES, read_table, require_column

LISTING_SUFFIXES = (*TABLE_SUFFIXES, ".ecsv", ".vot", ".xml")
PATHS = ("path", "file", "filename", "image")
GIVEN = "given_"  # before the name of a column that is one of the result's own
_LEADING_ZERO = r"^[-+]?0\d"


@dataclass(frozen=True)
class ListedImage:
    """One row of a table: the file, the path as the table has it, and the other cells."""

    path: Path
    id: str
    values: dict[str, float | str | None]


def listed_images(table: Path, own: Collection[str], image: str | None = None) -> Iterator[ListedImage]:
    """The images in the column `image` (None: the first of PATHS) of a table; paths are relative to the table.

    A column with one of the names `own` is called `given_...`. Columns of a text file in which every cell is a number
    are numbers; one with leading zeros is text. InputError: unreadable, without rows, without the column, or a row
    without a path.
    """
    rows = _read(table)
    column = image or next((name for name in PATHS if name in rows.columns), PATHS[0])
    require_column(rows, column, table, "name the column of paths with --image")
    paths = [(cell or "").strip() for cell in rows[column].cast(pl.String).to_list()]
    if not paths:
        raise InputError("the table has no rows", where=table)
    if "" in paths:
        raise InputError(f"row {paths.index('') + 1} has no {column!r}", where=table, hint="fill or remove it")
    others = carried((rows[name] for name in rows.columns if name != column), own)
    for number, path in enumerate(paths):
        yield ListedImage(table.parent / path, path, {name: cells[number] for name, cells in others.items()})


def carried(columns: Iterable[pl.Series], own: Collection[str]) -> dict[str, pl.Series]:
    """Further columns of a table as the result has them: typed, and `given_...` for one with one of the names `own`.

    Capitals are no difference: FITS tables know none.
    """
    taken = {name.lower() for name in own}
    return {GIVEN * (cells.name.lower() in taken) + cells.name: _typed(cells) for cells in columns}


def _read(table: Path) -> pl.DataFrame:
    if table.name.lower().endswith(TABLE_SUFFIXES):
        return read_table(table)
    from attn.data_adapters.sky.catalog_tables import read_columns  # astropy, which pictures do without

    return pl.DataFrame({name: column.cells for name, column in read_columns(table).items()})


def _typed(cells: pl.Series) -> pl.Series:
    """Numbers where all cells are; other than text and numbers becomes text."""
    if cells.dtype.is_numeric():
        return cells
    text = cells.cast(pl.String, strict=False).str.strip_chars()
    text = text.to_frame().select(pl.when(text != "").then(text).alias(cells.name)).to_series()
    if text.null_count() == len(text) or text.str.contains(_LEADING_ZERO).any():
        return text
    for kind in (pl.Int64, pl.Float64):
        numbers = text.cast(kind, strict=False)
        if numbers.null_count() == text.null_count():
            return numbers
    return text
