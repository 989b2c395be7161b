"""Hashes of rows that stay the same: for every version of polars, every batch size, and numbers of 32 or 64 bits.

Shapes: N rows.
"""

from hashlib import blake2b

import numpy as np
import polars as pl
from jaxtyping import UInt64

EMPTY, BETWEEN_CELLS, BETWEEN_ITEMS = "\0", "\x1f", "\x1e"  # control characters, which cells of tables do not have


def row_hashes(frame: pl.DataFrame) -> UInt64[np.ndarray, " N"]:
    """BLAKE2b (RFC 7693) with 64 bits of the text of each row: its cells one after the other (`texts`)."""
    cells = [texts(series).fill_null(EMPTY) for series in frame]
    if not cells:
        return np.zeros(0, np.uint64)
    rows = pl.select(pl.concat_str(cells, separator=BETWEEN_CELLS)).to_series()
    digests = b"".join(blake2b(row.encode(), digest_size=8).digest() for row in rows)
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def texts(series: pl.Series) -> pl.Series:
    """The cells (N,) as text that does not depend on how polars prints a number or a time.

    A decimal number is written as the bits of its float32, so that 0.1 is the same in files of 32 and of 64 bits. NaN
    is empty. A time is a number of microseconds, a date one of days.
    """
    dtype = series.dtype
    if dtype.is_decimal() or dtype.is_float():
        x_n = series.cast(pl.Float32).to_numpy() + np.float32(0)  # + 0 makes -0 and 0 the same
        bits = pl.Series(series.name, x_n.view(np.uint32)).cast(pl.String)
        return bits.set(pl.Series(np.isnan(x_n)), None)
    if dtype.is_temporal():
        if isinstance(dtype, pl.Datetime | pl.Duration):
            series = series.dt.cast_time_unit("us")
        return series.to_physical().cast(pl.String)
    if isinstance(dtype, pl.Array):
        series, dtype = series.arr.to_list(), pl.List(dtype.inner)
    if isinstance(dtype, pl.List):
        return series.cast(pl.List(pl.String)).list.join(BETWEEN_ITEMS)
    return series.cast(pl.String)
