"""Cells of a table as numbers a model takes: rows of one embedding table, and quantities.

Row 0 of the embedding table is padding. Each field has rows of its own after it, in the order of the fields:

    category, time      unknown, missing, then one row a value, the most frequent first
    multi               the same; a cell takes up to `most` columns of ids, padded with 0
    sequence            the rows of its target; a cell takes the ids of its last values, the newest first
    number              missing, then one row a knot ("quantile"), or one row ("standard", "log2")

A number becomes its position among the knots, quantiles of the training rows (from 0 to knots - 1, ends repeated), or
(x - mean) / deviation, or Criteo's log(x)² above 2 and x below (AutoInt, Song et al. 2019, section 5.1.1). Missing
numbers stay NaN.

Shapes: N rows, F fields, C columns of ids, M numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict

from attn.core.errors import InputError
from attn.data_adapters.tables.cells import as_numbers, as_text, canonical, members, unread
from attn.data_adapters.tables.fields import LISTS, Field

MOST_VALUES = 4_000_000  # of one field: beyond it the least frequent are unknown
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
    _alike: dict[str, dict[str, int]] = field(default_factory=dict, repr=False)

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """One for each field, in order; numbers and ids count their columns apart."""
        first, ids, numbers = 1, 0, 0
        places: list[Place] = []
        for one in self.fields:
            if one.kind == "number":
                rows, width = 1 + max(len(self.scales[one.name].knots), 1), 1
                places.append(Place(one, first, rows, numbers, width))
                numbers += 1
            else:
                rows = VALUES + len(self.vocabularies[one.name])
                width = one.room
                places.append(Place(one, first, rows, ids, width))
                ids += width
            first += 0 if one.target is not None else rows
        firsts = {place.field.name: place.first for place in places}
        return tuple(
            replace(place, first=firsts[place.field.target]) if place.field.target is not None else place
            for place in places
        )

    @property
    def rows(self) -> int:
        """Rows of the embedding table."""
        return max(place.first + place.rows for place in self.places)

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
                x_n = as_numbers(cells, place.field.decimal)
                numbers[:, place.column] = self.scaled(place, x_n)
                if cells.dtype == pl.String:
                    unknown[place.field.name] = unread(cells, np.isnan(x_n))
            else:
                categories = pl.Categories.random()
                codes, _held = coded(cells, place.field, categories)
                found = self.lookup(place, categories.to_series())[codes]
                ids[:, place.column : place.column + place.width] = found
                unknown[place.field.name] = (found == place.first + UNKNOWN).any(1)
                if place.field.kind == "time":
                    unknown[place.field.name] |= unread(cells, found[:, 0] == place.first + MISSING)
        return Encoded(ids, numbers, unknown)

    def lookup(self, place: Place, values: pl.Series) -> np.ndarray:
        """(n + 1, width) ids of n distinct cells; the last row is that of an empty cell."""
        single = place.field.kind not in LISTS
        found = self._known(place, values)[:, None] if single else self._sets(place, values)
        empty = np.zeros((1, place.width), np.int32)
        empty[0, 0] = place.first + MISSING
        return np.concatenate([found, empty])

    def scaled(self, place: Place, x_n: np.ndarray) -> np.ndarray:
        """A column of numbers as the model takes them; infinity is the end of the trained range, NaN stays."""
        scale = self.scales[place.field.name]
        x_n = np.where(np.isinf(x_n), np.clip(x_n, scale.low, scale.high), x_n)
        if place.field.transform == "quantile":
            found = np.interp(x_n, scale.knots, np.arange(len(scale.knots), dtype=np.float64))
            return np.where(np.isnan(x_n), np.nan, found)  # with one knot, interp takes NaN for it
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
        """Rows of distinct texts: of the text itself, else of one that means the same (`canonical`)."""
        name = place.field.name
        if name not in self._enums:
            self._enums[name] = pl.Enum(self.vocabularies[name])
        rows = values.cast(self._enums[name], strict=False).to_physical().cast(pl.Int32) + VALUES
        others = (rows.is_null() & values.is_not_null()).arg_true()
        if len(others):
            alike = canonical(values.gather(others), set_of(place.field, self.fields), place.field.keep)
            known = alike.cast(self._enums[name], strict=False).to_physical().cast(pl.Int32) + VALUES
            other = alike.replace_strict(self.alike(place.field), default=None, return_dtype=pl.Int32)
            known = known.zip_with(known.is_not_null(), other)
            rows = rows.scatter(others, known.set(alike.is_null(), MISSING))
        return (rows.fill_null(UNKNOWN) + place.first).to_numpy()

    def alike(self, one: Field) -> dict[str, int]:
        """Texts that stand for a known value without being it, and its row, counted from the field's first."""
        if one.name not in self._alike:
            values = self.vocabularies[one.name]
            frame = pl.DataFrame({"value": values, "alike": canonical(values, set_of(one, self.fields), one.keep)})
            frame = frame.with_row_index("row", VALUES)
            frame = frame.filter(pl.col("alike").is_not_null() & (pl.col("alike") != pl.col("value")))
            self._alike[one.name] = dict(frame.unique("alike", keep="first").select("alike", "row").iter_rows())
        return self._alike[one.name]

    def _sets(self, place: Place, values: pl.Series) -> np.ndarray:
        """Distinct members of each set, the first `most`; of a sequence the newest. Padded with 0."""
        parts = members(values, place.field)
        found = np.zeros((len(values), place.width), np.int32)
        chosen = parts.filter(pl.col("position") < place.width)
        found[chosen["cell"].to_numpy(), chosen["position"].to_numpy()] = self._known(place, chosen["value"])
        found[found[:, 0] == 0, 0] = place.first + MISSING  # a cell of separators alone
        return found


def grown(codebook: Codebook, before: Codebook) -> Codebook:
    """The codebook with the values of an earlier one after its own.

    So the values of a field lie in the order in which they were last met, and of those that were last met in the same
    table the frequent ones come first. Beyond MOST_VALUES, the last ones are forgotten.
    """
    kinds = {one.name: one.kind for one in before.fields}
    vocabularies = dict(codebook.vocabularies)
    for one in codebook.fields:
        if one.kind != "number" and kinds.get(one.name) == one.kind:
            both = pl.concat(
                [
                    values.cast(pl.String).rename(one.name)
                    for values in (codebook.vocabularies[one.name], before.vocabularies[one.name])
                ]
            )
            vocabularies[one.name] = both.unique(maintain_order=True).head(MOST_VALUES)
    rooms = {one.name: one.room for one in before.fields}
    fields = [
        one.model_copy(update={"width": max(one.room, rooms.get(one.name, 1))}) if one.kind in LISTS else one
        for one in codebook.fields
    ]
    vocabularies |= {one.name: vocabularies[one.target] for one in fields if one.target is not None}
    return Codebook(tuple(fields), vocabularies, codebook.scales)


def set_of(one: Field, fields: Sequence[Field]) -> Field | None:
    """The set whose cells the field `one` takes as a whole."""
    if one.kind != "category":
        return None
    return next((each for each in fields if each.column == one.column and each.kind == "multi"), None)


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
