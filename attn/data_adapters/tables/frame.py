"""Tables that are in memory already: polars and pandas frames, arrays, anything with named columns.

Shapes: N rows, M columns.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from attn.core.errors import InputError
from attn.data_adapters.tables.open import Table
from attn.data_adapters.tables.source import check_names

SEPARATOR = "|"  # between the values of a list, once it is text


class FrameSource:
    """The rows of one frame."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame

    @property
    def schema(self) -> Mapping[str, pl.DataType]:
        """The type of every column."""
        return self._frame.schema

    def frames(self, columns: Sequence[str], rows: int) -> Iterator[pl.DataFrame]:
        """Slices of `rows` rows; an empty frame gives no slice."""
        if len(self._frame):
            yield from self._frame.select(columns).iter_slices(rows)

    def rows(self) -> int:
        """The number of rows."""
        return len(self._frame)


def frame_table(data: Any, where: str = "the frame") -> Table:
    """A table of a polars or pandas frame, a mapping of columns, or an array (N, M), whose columns are x0, x1, ...

    Lists become text joined by "|", and are known as multi-valued; categories and enumerations become text, decimals
    floats. Raises InputError for a column that no field can be made of (structures, bytes, durations) and for names
    that come twice.
    """
    if isinstance(data, pl.LazyFrame):
        data = data.collect()
    if not isinstance(data, pl.DataFrame):
        data = _from_columns(data, where)
    multi = {name: SEPARATOR for name, dtype in data.schema.items() if isinstance(dtype, pl.List | pl.Array)}
    frame = pl.DataFrame([_plain(cells, where) for cells in data])
    return Table(where, tuple(frame.columns), label=None, multi=multi, dates={}, ids=(), source=FrameSource(frame))


def _from_columns(data: Any, where: str) -> pl.DataFrame:
    if isinstance(data, Mapping):
        names, columns = list(data), list(data.values())
    elif hasattr(data, "columns"):
        names = list(data.columns)
        check_names([str(name) for name in names], where)
        columns = [data[name] for name in names]
    else:
        array_nm = np.asarray(data)
        if array_nm.ndim != 2:
            raise InputError(f"has {array_nm.ndim} dimensions, not rows and columns", where=where)
        names, columns = [f"x{number}" for number in range(array_nm.shape[1])], list(array_nm.T)
    return pl.DataFrame([_series(str(name), cells) for name, cells in zip(names, columns, strict=True)])


def _series(name: str, cells: Any) -> pl.Series:
    """A column by its values alone: pandas' own types differ from version to version."""
    dtype = getattr(cells, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype != np.dtype(object):
        return pl.Series(name, np.ascontiguousarray(cells))
    if dtype is not None and not isinstance(cells, np.ndarray | pl.Series):
        cells = cells.to_numpy(dtype=object, na_value=None)
    return pl.Series(name, list(cells), strict=False)


def _plain(cells: pl.Series, where: str) -> pl.Series:
    dtype = cells.dtype
    if isinstance(dtype, pl.Struct | pl.Object | pl.Binary | pl.Duration | pl.Time):
        raise InputError(f"column {cells.name!r} is {dtype}, which no field is made of", where=where)
    if isinstance(dtype, pl.Array | pl.List):
        return cells.cast(pl.List(pl.String)).list.join(SEPARATOR, ignore_nulls=True)
    if isinstance(dtype, pl.Categorical | pl.Enum | pl.Null):
        return cells.cast(pl.String)
    return cells.cast(pl.Float64) if isinstance(dtype, pl.Decimal) else cells
