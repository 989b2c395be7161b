"""What the columns of a table mean: numbers, categories, sets, sequences, times. Guessed (`guess`), overridden in TOML.

[price]                      # a field called as its column
kind = "number"
transform = "log2"

["tags as a whole"]          # or one of its own, from a column
column = "tags"
kind = "category"

[history]                    # what came before, the newest last
kind = "sequence"
target = "item"              # the field whose values these are

[row_id]
kind = "ignore"
"""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic import Field as PydanticField

from attn.core.errors import InputError
from attn.data_adapters.boundary import boundary

Kind = Literal["number", "category", "multi", "sequence", "time", "ignore"]
Transform = Literal["quantile", "standard", "log2"]
TimePart = Literal["hour", "weekday"]

MAX_BYTES = 1 << 20  # of a TOML file
LONGEST = 1024  # values of a sequence: each row has room for as many
LISTS = ("multi", "sequence")  # kinds whose cells have several values


class Field(BaseModel):
    """One field of a row.

    name: unique; column: where it is read from. transform: of a number, see `codes`; decimal: its decimal mark in text.
    separator: between the values of a set or a sequence; around: characters to take off them; most: values kept of
    one cell, of a sequence the last ones; width: room for them that the rows of training needed. target: of a sequence,
    the category that its values are of. part: of a time; format: as in `strptime`, of a time that is text or a number.
    keep: texts that mean a missing cell elsewhere and are values here, as NA for Namibia.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    column: str
    kind: Kind
    transform: Transform = "quantile"
    separator: str = PydanticField(default="|", min_length=1)
    around: str = ""
    most: int = PydanticField(default=16, ge=1, le=65_536)
    width: int | None = PydanticField(default=None, ge=1, le=65_536)
    target: str | None = None
    keep: tuple[str, ...] = ()
    decimal: Literal[".", ","] = "."
    part: TimePart = "hour"
    format: str | None = None

    @property
    def room(self) -> int:
        """Columns of ids that a cell takes."""
        if self.kind not in LISTS:
            return 1
        return self.most if self.width is None else self.width

    def describe(self) -> str:
        """The kind with what qualifies it, for people."""
        detail = {"number": self.transform, "multi": f"separated by {self.separator!r}", "time": self.part}
        detail["sequence"] = f"of {self.target}"
        more = detail.get(self.kind)
        return f"{self.kind} ({more})" if more else self.kind


def section(name: str) -> str:
    """The line that begins a field's section in TOML, whose bare names have no blanks."""
    return f"[{name}]" if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f"[{json.dumps(name, ensure_ascii=False)}]"


def override(fields: Sequence[Field], path: Path, columns: Sequence[str]) -> list[Field]:
    """The fields with what the TOML file says of them. Raises InputError for what it cannot mean."""
    with boundary(path, "cannot be read"):
        if (size := path.stat().st_size) > MAX_BYTES:
            raise InputError(f"has {size:,} bytes, more than the {MAX_BYTES:,} read", where=path)
        text = path.read_text(encoding="utf-8")
    with boundary(path, "is not TOML"):
        overrides = tomllib.loads(text)
    return overridden(fields, overrides, path, columns)


def overridden(
    fields: Sequence[Field], overrides: Mapping[str, Any], path: str | Path, columns: Sequence[str]
) -> list[Field]:
    """The same of sections that are read; `path` says where they are. Raises InputError."""
    known = {field.name: field for field in fields}
    for name, values in overrides.items():
        if not isinstance(values, dict):
            raise InputError(
                f"{name} is not a section", where=path, hint=f'write {section(name)} and kind = "category" below'
            )
        before = known[name].model_dump() if name in known else {"column": name, "kind": "category"}
        if values.get("kind", before["kind"]) != "sequence" and "target" not in values:
            before = before | {"target": None}
        try:
            field = Field.model_validate(before | values | {"name": name})
        except ValidationError as error:
            first = error.errors()[0]
            raise InputError(f"[{name}] {'.'.join(map(str, first['loc']))}: {first['msg']}", where=path) from error
        if field.column not in columns:
            hint = f"there are {', '.join(columns[:20])}"
            raise InputError(f"[{name}] is of column {field.column!r}, which is not there", where=path, hint=hint)
        known[name] = field
        if field.kind == "ignore" and name in columns:  # and the fields that were guessed from it
            gone = [each for each, one in known.items() if one.column == name and each not in overrides]
            known = {each: one for each, one in known.items() if each not in gone}
    found = [field for field in known.values() if field.kind != "ignore"]
    categories = [field.name for field in found if field.kind == "category"]
    for field in found:
        if field.kind != "sequence" and field.target is not None:
            raise InputError(
                f"[{field.name}] has a target, but is a {field.kind}",
                where=path,
                hint='only a sequence has one: remove it, or write kind = "sequence"',
            )
        if field.kind == "sequence" and (field.target not in categories or field.most > LONGEST):
            what = f"has most = {field.most}, more than {LONGEST}"
            hint = "keep the last ones"
            if field.target not in categories:
                what = "has no target" if field.target is None else f"has the target {field.target!r}, which is none"
                hint = f'write target = "..." with a category: {", ".join(categories[:20])}'
            raise InputError(f"[{field.name}] {what}", where=path, hint=hint)
    return found
