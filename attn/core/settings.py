"""A settings model from the values it is given, or one sentence that says which value is wrong and why."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from attn.core.errors import ModelError, UsageError

S = TypeVar("S", bound=BaseModel)

LONGEST = 60  # characters of a value that a message repeats


def checked(settings: type[S], **values: Any) -> S:
    """Settings that a person chose. Raises UsageError that names the first wrong value."""
    try:
        return settings.model_validate(values)
    except ValidationError as error:
        raise UsageError(fault(error)) from error


def stored(settings: type[S], values: Mapping[str, Any], where: str | Path | None = None) -> S:
    """Settings that a file holds. Raises ModelError that names the first wrong value; `where` is the file or a part."""
    try:
        return settings.model_validate(values)
    except ValidationError as error:
        raise ModelError(fault(error), where=where) from error


def fault(error: ValidationError) -> str:
    """The first fault: field, value and what is wrong with it."""
    first = error.errors(include_url=False)[0]
    what = first["msg"].removeprefix("Value error, ")
    field = ".".join(map(str, first["loc"]))
    if first["type"] in ("missing", "extra_forbidden"):
        return f"{field}: {what}"
    if not field:
        return what
    value = ascii(first["input"])
    return f"{field} = {value if len(value) <= LONGEST else value[:LONGEST] + '...'}: {what}"
