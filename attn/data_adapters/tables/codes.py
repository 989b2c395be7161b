"""Cells of a table as numbers a model takes: rows of one embedding table, and quantities.

Row 0 of the embedding table is padding. Each field has rows of its own after it, in the order of the fields:

    category, time      unknown, missing, then one row a value, the most frequent first
    multi               the same; a cell takes up to `most` columns of ids, padded with 0
    number              missing, then one row a knot ("quantile"), or one row ("standard", "log2")

A number becomes its position among the knots, quantiles of the training rows (from 0 to knots - 1, ends repeated), or
(x - mean) / deviation, or Criteo's log(x)² above 2 and x below (AutoInt, Song et al. 2019, section 5.1.1). Missing
numbers stay NaN.

Shapes: N rows, F fields, C columns of ids, M numbers.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict

from attn.core.errors import InputError
from attn.data_adapters.tables.fields import Field

UNKNOWN, MISSING, VALUES = 0, 1, 2  # rows of a category, counted from its first


class Scale(BaseModel):
    """How a number is scaled: knots, increasing, or mean and deviation; and the training rows' range."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: float
    high: float
    mean: float = 0.0
    deviation: float = 1.0
    knots: tuple[float, ...] = ()


@dataclass(frozen=True)
class Place:
    """Where a field's rows (`first` of `rows`) and columns (`column` of `width` ids, or of a number) are."""

    field: Field
    first: int
    rows: int
    column: int
    width: int


@dataclass(frozen=True, eq=False)
class Encoded:
    """Ids (N, C) int32, numbers (N, M) float32, and for each field with a vocabulary whether a cell is unknown (N,)."""

    ids: np.ndarray
    numbers: np.ndarray
    unknown: Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Codebook:
    """Fields, the vocabularies of categories, times and sets, and the scales of numbers; all from training rows."""

    fields: tuple[Field, ...]
    vocabularies: Mapping[str, pl.Series]
    scales: Mapping[str, Scale]
    _enums: dict[str, pl.Enum] = field(default_factory=dict, repr=False)

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """One for each field, in order; numbers and ids count their columns apart."""
        first, ids, numbers = 1, 0, 0
        places = []
        for one in self.fields:
            if one.kind == "number":
                rows, width = 1 + max(len(self.scales[one.name].knots), 1), 1
                places.append(Place(one, first, rows, numbers, width))
                numbers += 1
            else:
                rows = VALUES + len(self.vocabularies[one.name])
                width = one.most if one.kind == "multi" else 1
                places.append(Place(one, first, rows, ids, width))
                ids += width
            first += rows
        return tuple(places)

    @property
    def rows(self) -> int:
        """Rows of the embedding table."""
        return self.places[-1].first + self.places[-1].rows

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a table that are read."""
        return tuple(dict.fromkeys(one.column for one in self.fields))

    def require_columns(self, present: Sequence[str], where: str) -> None:
        """Raises InputError that names the columns which are not there."""
        if gone := [name for name in self.columns if name not in present]:
            more = f" and {len(gone) - 5} more" if len(gone) > 5 else ""
            raise InputError(
                f"has no column {', '.join(gone[:5])}{more}, which the model was trained on",
                where=where,
                hint=f"it has {', '.join(list(present)[:12])}",
            )

    def encode(self, frame: pl.DataFrame, only: Sequence[str] | None = None) -> Encoded:
        """Rows as ids and numbers; a value without a row of its own is unknown, whatever its type.

        With `only`, the columns of all other fields are left uninitialised.
        """
        ids = np.empty((len(frame), sum(p.width for p in self.places if p.field.kind != "number")), np.int32)
        numbers = np.empty((len(frame), sum(p.field.kind == "number" for p in self.places)), np.float32)
        unknown = {}
        for place in self.places:
            if only is not None and place.field.name not in only:
                continue
            cells = frame[place.field.column]
            if place.field.kind == "number":
                numbers[:, place.column] = self.scaled(place, as_numbers(cells))
            else:
                categories = pl.Categories.random()
                codes, _held = coded(cells, place.field, categories)
                found = self.lookup(place, categories.to_series())[codes]
                ids[:, place.column : place.column + place.width] = found
                unknown[place.field.name] = (found == place.first + UNKNOWN).any(1)
        return Encoded(ids, numbers, unknown)

    def lookup(self, place: Place, values: pl.Series) -> np.ndarray:
        """(n + 1, width) ids of n distinct cells; the last row is that of an empty cell."""
        single = place.field.kind != "multi"
        found = self._known(place, values)[:, None] if single else self._sets(place, values)
        empty = np.zeros((1, place.width), np.int32)
        empty[0, 0] = place.first + MISSING
        return np.concatenate([found, empty])

    def scaled(self, place: Place, x_n: np.ndarray) -> np.ndarray:
        """A column of numbers as the model takes them; infinity is the end of the trained range, NaN stays."""
        scale = self.scales[place.field.name]
        x_n = np.where(np.isinf(x_n), np.clip(x_n, scale.low, scale.high), x_n)
        if place.field.transform == "quantile":
            return np.asarray(np.interp(x_n, scale.knots, np.arange(len(scale.knots), dtype=np.float64)))
        if place.field.transform == "log2":
            return np.where(x_n > 2, np.log(np.maximum(x_n, 1)) ** 2, x_n)
        return (x_n - scale.mean) / scale.deviation

    def described(self) -> dict[str, Any]:
        """What a model's record keeps; the vocabularies are a table of their own."""
        return {
            "fields": [one.model_dump() for one in self.fields],
            "scales": {name: scale.model_dump() for name, scale in self.scales.items()},
            "values": {name: len(values) for name, values in self.vocabularies.items()},
        }

    def table(self) -> pl.DataFrame:
        """All vocabularies, columns field and value."""
        parts = [
            pl.DataFrame({"field": pl.repeat(name, len(values), eager=True), "value": values.rename("value")})
            for name, values in self.vocabularies.items()
        ]
        return pl.concat(parts) if parts else pl.DataFrame(schema={"field": pl.String, "value": pl.String})

    @classmethod
    def from_described(cls, described: Mapping[str, Any], table: pl.DataFrame) -> "Codebook":
        """The inverse of `described` and `table`. Raises ValueError where the two disagree."""
        fields = tuple(Field.model_validate(one) for one in described["fields"])
        vocabularies = {
            name: table.filter(pl.col("field") == name)["value"].rename(name) for name in described["values"]
        }
        for name, values in vocabularies.items():
            if len(values) != described["values"][name] or values.n_unique() != len(values):
                raise ValueError(
                    f"field {name!r} has {len(values)} values, not {described['values'][name]} distinct ones"
                )
        scales = {name: Scale.model_validate(scale) for name, scale in described["scales"].items()}
        return cls(fields, vocabularies, scales)

    def _known(self, place: Place, values: pl.Series) -> np.ndarray:
        name = place.field.name
        if name not in self._enums:
            self._enums[name] = pl.Enum(self.vocabularies[name])
        rows = values.cast(self._enums[name], strict=False).to_physical().cast(pl.Int32) + (place.first + VALUES)
        return rows.fill_null(place.first + UNKNOWN).to_numpy()

    def _sets(self, place: Place, values: pl.Series) -> np.ndarray:
        """Distinct members of each set, the first `most`, padded with 0."""
        parts = members(values, place.field)
        found = np.zeros((len(values), place.width), np.int32)
        chosen = parts.filter(pl.col("position") < place.width)
        found[chosen["cell"].to_numpy(), chosen["position"].to_numpy()] = self._known(place, chosen["value"])
        found[found[:, 0] == 0, 0] = place.first + MISSING  # a cell of separators alone
        return found


def members(values: pl.Series, one: Field) -> pl.DataFrame:
    """The distinct members of each cell: columns cell, value, position."""
    frame = pl.DataFrame({"value": values.str.split(one.separator)}).with_row_index("cell").explode("value")
    frame = frame.with_columns(pl.col("value").str.strip_chars()).filter(pl.col("value") != "")
    frame = frame.unique(["cell", "value"], maintain_order=True)
    return frame.with_columns(position=pl.int_range(pl.len()).over("cell"))


def coded(cells: pl.Series, one: Field, categories: pl.Categories) -> tuple[np.ndarray, pl.Series]:
    """Codes (N,) of cells in a growing set of categories, -1 where empty; and the series that keeps the set alive."""
    distinct, which_n = _distinct(cells)
    held = as_text(distinct, one).cast(pl.Categorical(categories))
    codes = held.to_physical().cast(pl.Int64).fill_null(-1).to_numpy()
    return codes if which_n is None else codes[which_n], held


def _distinct(cells: pl.Series) -> tuple[pl.Series, np.ndarray | None]:
    """Whole numbers that lie close together, each once, and for every row which it is (N,); others as they are, None.

    To make a text of every row would take far longer.
    """
    if not cells.dtype.is_integer() or cells.null_count() or not len(cells):
        return cells, None
    whole = cells.cast(pl.Int64, strict=False)
    if whole.null_count():
        return cells, None
    numbers_n = whole.to_numpy()
    low, high = int(numbers_n.min()), int(numbers_n.max())
    if high - low >= len(numbers_n):
        return cells, None
    there = np.bincount(numbers_n - low) > 0
    return pl.Series(cells.name, np.flatnonzero(there) + low), (there.cumsum() - 1)[numbers_n - low]


def as_text(cells: pl.Series, one: Field) -> pl.Series:
    """The cells of a category as text, the same for 7, 7.0 and "7"; of a time, its part."""
    if one.kind == "time":
        return _part_of_time(cells, one)
    if cells.dtype.is_float():
        # Whole numbers in a column with gaps come as floats. Cell by cell: a code must not depend on its neighbours.
        cells = cells.fill_nan(None)
        whole = (cells == cells.floor()) & (cells.abs() < 2.0**53)
        integers = cells.cast(pl.Int64, strict=False).cast(pl.String)
        return integers.zip_with(whole.fill_null(True), cells.cast(pl.String))
    if cells.dtype == pl.Boolean:
        return cells.cast(pl.Int8).cast(pl.String)
    if cells.dtype == pl.List:
        return cells.cast(pl.List(pl.String)).list.join(one.separator)
    text = cells.cast(pl.String)
    return text.set(text == "", None) if (text == "").any() else text


def as_numbers(cells: pl.Series) -> np.ndarray:
    """The cells of a number as floats, NaN for every other cell: numbers, text of numbers, truth values."""
    return cells.cast(pl.Float64, strict=False).fill_null(math.nan).to_numpy()


def as_labels(cells: pl.Series, where: str, first: int) -> np.ndarray:
    """Labels (N,) of 0 and 1. Raises InputError that names the first row, counted from 1, without one."""
    numbers = cells.cast(pl.Float64, strict=False)
    bad = numbers.is_null() | ~numbers.fill_null(-1).is_in([0.0, 1.0])
    if bad.any():
        row = int(bad.arg_max() or 0)
        value = cells[row]
        found = "is empty" if value is None else f"is {str(value)[:40]!r}"
        raise InputError(
            f"the label {cells.name!r} {found} in row {first + row + 1}",
            where=where,
            hint="labels are 0 and 1; drop or mend the other rows",
        )
    return numbers.cast(pl.UInt8).to_numpy()


def _part_of_time(cells: pl.Series, one: Field) -> pl.Series:
    times = cells
    if not cells.dtype.is_temporal():
        text, form = cells.cast(pl.String), one.format
        if form and "%H" in form and "%M" not in form:
            text, form = text + "00", form + "%M"  # hours alone are no time to the parser
        times = text.str.to_datetime(form, strict=False)
    return (times.dt.hour() if one.part == "hour" else times.dt.weekday()).cast(pl.String)
