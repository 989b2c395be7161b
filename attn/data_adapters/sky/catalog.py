"""Catalogues of sources: which objects to cut from a survey image, and where they are in it.

Columns are found whatever their capitals, by the names catalogues use:

- `id` (or name, objid, object_id, source_id, number): else rows are numbered from 1;
- `ra` and `dec` in degrees, ICRS (or ra_deg, raj2000, alpha_j2000, ra_icrs and their counterparts);
- `x` and `y` in pixels, 0 at the middle of the first pixel, x along the rows (or xcentroid, x_peak;
  x_image of SExtractor counts from 1 and is taken so). Used where the row has no ra, dec or the image no
  WCS;
- `size`, the side of the cut-out in pixels (or size_pix, side), or `size_arcsec`: optional.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from attn.core.errors import InputError
from attn.data_adapters.sky.file import complaints, open_fits
from attn.data_adapters.tables.small import read_table

Column = NDArray[np.float64]

_IDS = ("id", "name", "objid", "object_id", "objectid", "source_id", "number", "target")
_RA = ("ra", "ra_deg", "raj2000", "_raj2000", "ra_icrs", "alpha_j2000", "alphawin_j2000", "right_ascension")
_DEC = (
    *("dec", "decl", "dec_deg", "dej2000", "_dej2000", "decj2000", "de_icrs", "dec_icrs", "delta_j2000"),
    *("deltawin_j2000", "declination"),
)
_X = ("x", "x_pix", "x_pixel", "xcentroid", "x_centroid", "xcen", "x_peak", "x_0")
_Y = ("y", "y_pix", "y_pixel", "ycentroid", "y_centroid", "ycen", "y_peak", "y_0")
_X_FROM_ONE = ("x_image", "xwin_image", "xpeak_image")
_Y_FROM_ONE = ("y_image", "ywin_image", "ypeak_image")
_SIZE = ("size", "size_pix", "size_px", "side")
_SIZE_ARCSEC = ("size_arcsec",)


@dataclass(frozen=True)
class Catalog:
    """Columns of one length; NaN where a cell is empty or not a number. x, y count from 0."""

    ids: Sequence[str]
    ra: Column
    dec: Column
    x: Column
    y: Column
    size: Column  # pixels
    size_arcsec: Column

    def __len__(self) -> int:
        return len(self.ids)


def read_catalog(path: str | Path) -> Catalog:
    """A .csv, .tsv, .parquet or FITS table of sources.

    InputError: unreadable, without rows, or without ra, dec or x, y (it lists the columns there are).
    """
    path = Path(path)
    name = path.name.lower()
    if not path.exists():
        raise InputError("no such file", where=path, hint="check the path of the catalogue")
    table = read_table(path) if name.endswith((".csv", ".tsv", ".parquet")) else _fits_table(path)
    if table.is_empty():
        raise InputError("the catalogue has no rows", where=path)
    ra, dec, x, y = _positions(table, path)
    missing = np.full(len(table), np.nan)
    size, size_arcsec = _numbers(table, _SIZE), _numbers(table, _SIZE_ARCSEC)
    columns = (missing if column is None else column for column in (ra, dec, x, y, size, size_arcsec))
    return Catalog(_ids(table), *columns)


def _positions(table: pl.DataFrame, path: Path) -> tuple[Column | None, ...]:
    """Columns ra, dec, x and y, each None where the table has no such column; InputError without either pair."""
    ra, dec = _numbers(table, _RA), _numbers(table, _DEC)
    x, y = _numbers(table, _X), _numbers(table, _Y)
    if x is None or y is None:
        x, y = _numbers(table, _X_FROM_ONE), _numbers(table, _Y_FROM_ONE)
        x, y = (None, None) if x is None or y is None else (x - 1, y - 1)
    if (ra is None or dec is None) and (x is None or y is None):
        raise InputError(
            f"no columns ra and dec, or x and y; it has {', '.join(table.columns)}",
            where=path,
            hint="rename the columns with the positions",
        )
    return ra, dec, x, y


def _ids(table: pl.DataFrame) -> list[str]:
    """The names of the sources; a row without a name has its number, from 1."""
    numbers = [str(k + 1) for k in range(len(table))]
    name = _column_called(table, _IDS)
    if name is None:
        return numbers
    cells = table[name].cast(pl.String, strict=False).to_list()
    return [(cell or "").strip() or number for cell, number in zip(cells, numbers, strict=True)]


def _numbers(table: pl.DataFrame, aliases: Sequence[str]) -> Column | None:
    name = _column_called(table, aliases)
    if name is None:
        return None
    return table[name].cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy().astype(np.float64)


def _column_called(table: pl.DataFrame, aliases: Sequence[str]) -> str | None:
    """The table's column with the first of these names that it has, whatever its capitals."""
    found = {column.lower().strip(): column for column in table.columns}
    return next((found[alias] for alias in aliases if alias in found), None)


def _fits_table(path: Path) -> pl.DataFrame:
    """The first table in a FITS file; columns with several values per row are left out."""
    with open_fits(path) as file, complaints(file, "its table cannot be read"):
        for unit in file.hdus:
            if getattr(unit, "columns", None) is None or unit.is_image:
                continue
            if (rows := int(unit.header["NAXIS2"])) > file.size:
                raise InputError(f"declares {rows:,} rows in {file.size:,} bytes", where=path, hint="get it again")
            data = unit.data
            columns = {}
            for name in unit.columns.names:
                cells = np.asarray(data[name])
                if cells.ndim == 1 and cells.dtype.kind in "iufUS":
                    text = cells.dtype.kind in "US"
                    columns[name] = cells.astype(str) if text else cells.astype(cells.dtype.newbyteorder("="))
            return pl.DataFrame(columns)
    raise InputError("no table in it", where=path, hint="give the catalogue as .csv, .parquet or a FITS table")
