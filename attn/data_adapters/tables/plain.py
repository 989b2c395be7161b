"""Columns of typed tables (Parquet, Arrow, frames) in the few types that fields are made of, and what their types say.

text        text, bytes that are UTF-8, and declared categories (Categorical, Enum)
number      whole, decimal (also Decimal, which keeps its digits) and truth values, durations
time        dates, times of day, and both
lists       text, the members joined by "|"; a field of sets

Files of one table may differ in width, unit and nullness; a column that is numbers or times in one and text in
another is text. What no field is made of (structures, lists of lists, Python objects) stays as it is.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from attn.core.errors import InputError

TIMES = (pl.Date(), *(pl.Datetime(unit) for unit in ("ms", "us", "ns")))  # without a zone, of which the text says less
SEPARATOR = "|"  # between the values of a list, once it is text

Schema = Mapping[str, pl.DataType]


def plain_type(dtype: pl.DataType) -> pl.DataType:
    """The type that a column of `dtype` gets."""
    if isinstance(dtype, pl.List | pl.Array):
        return dtype if dtype.inner.is_nested() or isinstance(dtype.inner, pl.Object) else pl.String()
    if isinstance(dtype, pl.Categorical | pl.Enum | pl.Null | pl.Binary):
        return pl.String()
    return dtype


def declared(schema: Schema) -> dict[str, str]:
    """The columns whose type says that they are categories."""
    return {name: "category" for name, dtype in schema.items() if isinstance(dtype, pl.Categorical | pl.Enum)}


def lists(schema: Schema) -> dict[str, str]:
    """The columns of lists, and the separator of their text."""
    found = {name for name, dtype in schema.items() if isinstance(dtype, pl.List | pl.Array)}
    return {name: SEPARATOR for name in schema if name in found and plain_type(schema[name]) == pl.String}


def common(schemas: Sequence[Schema], paths: Sequence[Path]) -> dict[str, pl.DataType]:
    """The plain types that hold the columns of all files. InputError: a column whose types have nothing in common."""
    found: dict[str, pl.DataType] = {}
    for name in schemas[0]:
        for schema, path in zip(schemas, paths, strict=True):
            dtype, before = plain_type(schema[name]), found.get(name)
            wider = dtype if before is None else _wider(before, dtype, empty=isinstance(schema[name], pl.Null))
            if wider is None:
                raise InputError(f"column '{name}' is {schema[name]}, but {schemas[0][name]} in {paths[0]}", where=path)
            found[name] = dtype if isinstance(schemas[0][name], pl.Null) and found.get(name) == pl.String else wider
    return found


def plain(cells: pl.Series, dtype: pl.DataType, where: object) -> pl.Series:
    """A column in its plain type. Raises InputError for bytes that are no text."""
    if cells.dtype == dtype:
        return cells
    if isinstance(cells.dtype, pl.Array | pl.List):
        return joined(cells, SEPARATOR)
    if isinstance(cells.dtype, pl.Binary):
        texts: list[str | None] = []
        for row, cell in enumerate(cells, 1):
            try:
                texts.append(None if cell is None else cell.decode())
            except UnicodeDecodeError as error:
                what = f"column {cells.name!r} holds bytes that are not text, as in row {row}"
                raise InputError(what, where=str(where), hint="cast it to text, for example hexadecimal") from error
        return pl.Series(cells.name, texts, pl.String)
    if dtype == pl.String:
        return cells.to_frame().select(_text(pl.all(), cells.dtype)).to_series()
    return cells.cast(dtype)


def joined(cells: pl.Series, separator: str) -> pl.Series:
    """A column of lists as text, its members as they would be in a column of their own; null where there is none."""
    lists = cells.arr.to_list() if isinstance(cells.dtype, pl.Array) else cells
    assert isinstance(lists.dtype, pl.List)
    text = lists.list.eval(_text(pl.element(), lists.dtype.inner)).list.join(separator, ignore_nulls=True)
    return text.set(text == "", None)


def _text(cells: pl.Expr, dtype: Any) -> pl.Expr:
    """Whole numbers in a column with gaps come as floats. Each alone: a code must not depend on its neighbours."""
    if dtype.is_decimal():  # never by way of a float, which has fewer digits than long ids
        text = cells.cast(pl.String)
        return text.str.strip_chars_end("0").str.strip_chars_end(".") if dtype.scale else text
    if dtype == pl.Boolean:
        cells = cells.cast(pl.Int8)
    if not dtype.is_float():
        return cells.cast(pl.String)
    cells = cells.fill_nan(None)
    whole = (cells == cells.floor()) & (cells.abs() < 2.0**53)
    return pl.when(whole).then(cells.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(cells.cast(pl.String))


def _wider(a: pl.DataType, b: pl.DataType, *, empty: bool) -> pl.DataType | None:
    if a == b or empty:
        return a
    if a.is_numeric() and b.is_numeric():
        if a.is_float() or b.is_float():
            return pl.Float64()
        if scales := [each.scale for each in (a, b) if isinstance(each, pl.Decimal)]:
            return pl.Decimal(None, max(scales))
        return pl.Int128() if pl.UInt64() in (a, b) else pl.Int64()
    if isinstance(a, pl.Datetime) and isinstance(b, pl.Datetime):
        return pl.Datetime("us", a.time_zone) if a.time_zone == b.time_zone else None
    if isinstance(a, pl.Duration) and isinstance(b, pl.Duration):
        return pl.Duration("us")
    if {type(a), type(b)} == {pl.Date, pl.Datetime}:
        return a if isinstance(a, pl.Datetime) else b
    simple = all(each.is_numeric() or each in (pl.String(), pl.Boolean(), *TIMES) for each in (a, b))
    simple &= pl.String() in (a, b) or not (a in TIMES or b in TIMES)  # a number is no time
    return pl.String() if simple else None
