"""Hashes of rows that stay the same: for every version of polars, every batch size, and numbers of 32 or 64 bits.

Shapes: N rows.
"""

import numpy as np
import polars as pl
from jaxtyping import UInt64

EMPTY, BETWEEN_CELLS, BETWEEN_ITEMS = "\0", "\x1f", "\x1e"  # control characters, which cells of tables do not have
MULTIPLIER = 0x9E3779B97F4A7C15
BLOCK = 1 << 17  # bytes that are hashed together


def row_hashes(frame: pl.DataFrame) -> UInt64[np.ndarray, " N"]:
    """A hash with 64 bits of the text of each row: its cells one after the other (`texts`), each with a mark behind it.

    The bytes are the coefficients of a polynomial at MULTIPLIER, modulo 2^64, whose value is mixed by SplitMix64
    (Steele et al. 2014). It tells rows apart, and is no secret: who wants two rows with one hash can make them.
    """
    cells = [texts(series).fill_null(EMPTY) for series in frame]
    if not cells or not len(frame):
        return np.zeros(0, np.uint64)
    rows = pl.select(pl.concat_str([*cells, pl.lit("")], separator=BETWEEN_CELLS)).to_series()
    bytes_n = rows.str.len_bytes().cast(pl.Int64).to_numpy()
    powers = np.cumprod(np.full(int(bytes_n.max()), MULTIPLIER, np.uint64))
    size = max(1, BLOCK * len(rows) // int(bytes_n.sum()))
    return np.concatenate([_polynomials(rows.slice(first, size), powers) for first in range(0, len(rows), size)])


def _polynomials(rows: pl.Series, powers: UInt64[np.ndarray, " longest"]) -> UInt64[np.ndarray, " N"]:
    bytes_n = rows.str.len_bytes().cast(pl.Int64).to_numpy()
    starts_n = np.cumsum(bytes_n) - bytes_n
    coefficients = np.frombuffer(rows.str.join("").item().encode(), np.uint8)
    places = np.arange(len(coefficients)) - np.repeat(starts_n, bytes_n)
    z_n = np.add.reduceat(coefficients * powers[places], starts_n)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z_n = (z_n ^ (z_n >> np.uint64(shift))) * np.uint64(factor)
    mixed_n: np.ndarray = z_n ^ (z_n >> np.uint64(31))
    return mixed_n


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
