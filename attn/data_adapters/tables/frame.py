"""Tables that are in memory already: polars and pandas frames, arrays, anything with named columns.

Shapes: N rows, M columns.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from attn.core.errors import InputError
from attn.data_adapters.tables.open import Table
from attn.data_adapters.tables.plain import declared, lists, plain, plain_type
from attn.data_adapters.tables.source import check_names


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

    Types become plain (`plain`): lists are text joined by "|" and known as multi-valued; categories, enumerations and
    pandas' intervals are text and known as categories; periods are times. Raises InputError for names that come twice,
    and for bytes that are no text.
    """
    if isinstance(data, pl.LazyFrame):
        data = data.collect()
    if not isinstance(data, pl.DataFrame):
        data = _from_columns(data, where)
    schema = dict(data.schema)
    frame = pl.DataFrame([plain(cells, plain_type(cells.dtype), where) for cells in data])
    return Table(
        where,
        tuple(frame.columns),
        label=None,
        multi=lists(schema),
        dates={},
        ids=(),
        source=FrameSource(frame),
        declared=declared(schema),
    )


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
    dtype: Any = getattr(cells, "dtype", None)
    kind = type(dtype).__name__
    if kind == "CategoricalDtype":
        distinct = _series(name, np.asarray(dtype.categories, object))
        if distinct.dtype == pl.Object:  # pandas' intervals
            distinct = pl.Series(name, [str(cell) for cell in dtype.categories])
        texts = plain(distinct, pl.String(), name)
        codes_n = np.asarray(cells.cat.codes if hasattr(cells, "cat") else cells.codes, np.int64)
        chosen = pl.Series(codes_n).set(pl.Series(codes_n < 0), None)
        return texts.gather(chosen).cast(pl.Categorical)
    if kind == "IntervalDtype":
        return pl.Series(name, [None if cell != cell else str(cell) for cell in cells]).cast(pl.Categorical)
    if kind == "PeriodDtype":
        cells = cells.dt.to_timestamp()
        dtype = cells.dtype
    if isinstance(dtype, np.dtype) and dtype != np.dtype(object):
        return pl.Series(name, np.ascontiguousarray(cells))
    if dtype is not None and not isinstance(cells, np.ndarray | pl.Series):
        cells = cells.to_numpy(dtype=object, na_value=None)
    cells = [sorted(cell, key=str) if isinstance(cell, set | frozenset) else cell for cell in cells]
    values = [None if type(cell).__name__ in ("NAType", "NaTType") else cell for cell in cells]
    return pl.Series(name, values, strict=False)
