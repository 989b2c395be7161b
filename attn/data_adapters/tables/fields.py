"""What the columns of a table mean: numbers, categories, sets of values, times. Guessed from rows, overridden in TOML.

[price]                      # a field called as its column
kind = "number"
transform = "log2"

["tags as a whole"]          # or one of its own, from a column
column = "tags"
kind = "category"

[row_id]
kind = "ignore"
"""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic import Field as PydanticField

from attn.core.errors import InputError
from attn.data_adapters.boundary import boundary
from attn.data_adapters.tables.open import Table

Kind = Literal["number", "category", "multi", "time", "ignore"]
Transform = Literal["quantile", "standard", "log2"]
TimePart = Literal["hour", "weekday"]

SEPARATORS = ("|", ";", ",")
MAX_BYTES = 1 << 20  # of a TOML file
MANY_WHOLE_NUMBERS = (
    1000  # an integer column with more distinct values in the sample counts something, unless named an id
)
ID_ENDINGS = ("id", "code", "zip", "key", "hash")
COUNTED = {f"I{n}" for n in range(1, 14)}  # Criteo's


class Field(BaseModel):
    """One field of a row.

    name: unique; column: where it is read from. transform: of a number, see `codes`; decimal: its decimal mark in text.
    separator: between the values of a multi-valued cell; around: characters to take off them; most: values kept of
    one cell. part: of a time; format: as in `strptime`, of a time that is text or a number.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    column: str
    kind: Kind
    transform: Transform = "quantile"
    separator: str = PydanticField(default="|", min_length=1)
    around: str = ""
    most: int = PydanticField(default=16, ge=1, le=65_536)
    decimal: Literal[".", ","] = "."
    part: TimePart = "hour"
    format: str | None = None

    def describe(self) -> str:
        """The kind with what qualifies it, for people."""
        detail = {"number": self.transform, "multi": f"separated by {self.separator!r}", "time": self.part}
        more = detail.get(self.kind)
        return f"{self.kind} ({more})" if more else self.kind


def infer_fields(table: Table, label: str | None, sample: pl.DataFrame) -> list[Field]:
    """A field for each column, except the label and columns that only name rows; a time gives hour and weekday.

    A set of values is one field by its members, and another as a whole where the same sets come again.
    """
    fields: list[Field] = []
    for column in table.columns:
        if column == label or column in table.ids:
            continue
        cells = sample[column]
        if column in table.dates or cells.dtype.is_temporal() or _is_time(cells):
            parts: tuple[TimePart, ...] = ("weekday",) if cells.dtype == pl.Date else ("hour", "weekday")
            for part in parts:
                fields.append(
                    Field(
                        name=f"{column}: {part}", column=column, kind="time", part=part, format=table.dates.get(column)
                    )
                )
        elif column in table.multi or (cells.dtype == pl.String and _separator(cells)):
            separator = table.multi.get(column) or _separator(cells) or SEPARATORS[0]
            fields.append(Field(name=column, column=column, kind="multi", separator=separator))
            if cells.n_unique() <= max(len(cells) // 10, 2):
                fields.append(Field(name=f"{column} as a whole", column=column, kind="category"))
        elif _is_number(column, cells, table):
            fields.append(Field(name=column, column=column, kind="number"))
        else:
            fields.append(Field(name=column, column=column, kind="category"))
    return fields


def override(fields: Sequence[Field], path: Path, columns: Sequence[str]) -> list[Field]:
    """The fields with what the TOML file says of them. Raises InputError for what it cannot mean."""
    with boundary(path, "cannot be read"):
        if (size := path.stat().st_size) > MAX_BYTES:
            raise InputError(f"has {size:,} bytes, more than the {MAX_BYTES:,} read", where=path)
        text = path.read_text(encoding="utf-8")
    with boundary(path, "is not TOML"):
        overrides = tomllib.loads(text)
    known = {field.name: field for field in fields}
    for name, values in overrides.items():
        if not isinstance(values, dict):
            raise InputError(f"{name} is not a section", where=path, hint=f'write [{name}] and kind = "category" below')
        before = known[name].model_dump() if name in known else {"column": name, "kind": "category"}
        try:
            field = Field.model_validate(before | values | {"name": name})
        except ValidationError as error:
            first = error.errors()[0]
            raise InputError(f"[{name}] {'.'.join(map(str, first['loc']))}: {first['msg']}", where=path) from error
        if field.column not in columns:
            hint = f"there are {', '.join(columns[:20])}"
            raise InputError(f"[{name}] is of column {field.column!r}, which is not there", where=path, hint=hint)
        known[name] = field
    return [field for field in known.values() if field.kind != "ignore"]


def _is_time(cells: pl.Series) -> bool:
    """Text that says a date and a time of day, in every cell that says anything."""
    if cells.dtype != pl.String or not (present := cells.drop_nulls().head(1000)).len():
        return False
    if not present.str.contains(r"^\d{4}-\d\d-\d\d[ T]\d\d:\d\d").all():
        return False
    return present.str.to_datetime(strict=False).null_count() == 0


def _is_number(column: str, cells: pl.Series, table: Table) -> bool:
    if column in COUNTED and table.label == "label":
        return True
    if cells.dtype.is_float():
        return True
    if not cells.dtype.is_integer() or table.label == "click" or column.lower().endswith(ID_ENDINGS):
        return False
    return cells.n_unique() > MANY_WHOLE_NUMBERS


def _separator(cells: pl.Series) -> str | None:
    """The separator of a column of sets: in many cells, and its parts are far fewer than the cells."""
    present = cells.drop_nulls()
    whole = present.n_unique()
    for separator in SEPARATORS:
        split = present.filter(present.str.contains(separator, literal=True))
        if len(split) * 5 > len(present) > 0:
            parts = split.unique().str.split(separator).explode().n_unique()
            if parts * 2 < whole:
                return separator
    return None
