"""Tables of results in the formats of astronomers, by astropy's own writers: FITS, ECSV, VOTable.

Shapes: N rows.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from attn.core.errors import UsageError

FORMATS = {".fits": "fits", ".ecsv": "ascii.ecsv", ".vot": "votable", ".xml": "votable"}
MOST_COLUMNS = 999  # of a FITS table (FITS 4.0, section 7.3.1)
NULL = np.iinfo(np.int64).min  # the missing whole number; astropy's own, 999999, may be a number of the table


def check_width(columns: int, suffix: str) -> None:
    """Raises UsageError for more columns than a table of this format has."""
    if suffix == ".fits" and columns > MOST_COLUMNS:
        raise UsageError(
            f"a FITS table has at most {MOST_COLUMNS} columns, this one has {columns:,}",
            hint="end the name of --out in .parquet",
        )


def write_sky_table(frame: pl.DataFrame, path: Path, suffix: str) -> None:
    """Write the frame to `path` in the format of `suffix`, a key of FORMATS. The whole table is in memory.

    Missing numbers are NaN or, whole ones, the format's null; missing text is empty. Text is UTF-8, also in FITS, as
    astropy writes it. Control characters are spelt out, and in the names of FITS columns all that is not ASCII.
    """
    from astropy.table import Table

    is_fits = suffix == ".fits"
    names = [_legible(name).encode("ascii", "backslashreplace").decode() if is_fits else name for name in frame.columns]
    table = Table([_column(frame[name], as_bytes=is_fits) for name in frame.columns], names=list(map(_legible, names)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # VOTable: an ID is made of a name; FITS: names that differ in capitals
        table.write(path, format=FORMATS[suffix], overwrite=True)


def _column(values: pl.Series, *, as_bytes: bool) -> Any:
    """The cells (N,) as astropy takes them, the missing ones masked: float, int64, bool, or text."""
    from astropy.table import MaskedColumn

    missing_n, kind = values.is_null().to_numpy(), values.dtype
    some, fill = bool(missing_n.any()), None
    if kind.is_float() or (kind == pl.Boolean and not some):
        cells_n = values.to_numpy()
    elif kind.is_integer() and (whole := values.cast(pl.Int64, strict=False)).null_count() == missing_n.sum():
        cells_n, fill = whole.fill_null(0).to_numpy(), NULL
    else:
        texts = [_legible(text or "") for text in values.cast(pl.String).to_list()]
        if as_bytes:
            return np.array([text.encode() for text in texts], dtype=bytes)
        cells_n = np.array(texts, dtype=str)
    return MaskedColumn(cells_n, mask=missing_n, fill_value=fill) if some else cells_n


def _legible(text: str) -> str:
    """Text without control characters, which neither XML nor a header holds."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
