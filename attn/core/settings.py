"""A settings model from the values it is given, or one sentence that says which value is wrong and why."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from attn.core.errors import InputError, ModelError, UsageError
from attn.core.outline import outline

S = TypeVar("S", bound=BaseModel)

MOST_BYTES = 2**20  # of a file that `read_made` reads
LONGEST = 60  # characters of a value that a message repeats
SHOULD, MUST = "Input should be ", "must be "  # pydantic's words and ours: "must be greater than 0"
PLAIN = {  # for kinds of faults that pydantic words otherwise, or at length
    "int_type": "must be an integer",
    "int_parsing": "must be an integer",
    "int_from_float": "must be an integer",
    "int_parsing_size": "must be an integer of fewer digits",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "tuple_type": "must be a list",
    "string_type": "must be text",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "string_too_long": "must have at most {max_length} characters",
    "too_long": "must have at most {max_length} items",
    "too_short": "must have at least {min_length} items",
}


def checked(settings: type[S], **values: Any) -> S:
    """Settings that a person chose. Raises UsageError that names the first wrong value."""
    try:
        return settings.model_validate(values)
    except ValidationError as error:
        raise UsageError(fault(error)) from error


def buildable(config: S, network: Callable[[S], object]) -> S:
    """`config`, with which `network` can be built: it is, without memory, before a training reads its data.

    Raises the UsageError of a mixer or a layer that does not take the settings.
    """
    with outline():
        network(config)
    return config


def stored(settings: type[S], values: Mapping[str, Any], where: str | Path | None = None) -> S:
    """Settings that a file holds. Raises ModelError that names the first wrong value; `where` is the file or a part."""
    try:
        return settings.model_validate(values)
    except ValidationError as error:
        raise ModelError(fault(error), where=where) from error


def fault(error: ValidationError) -> str:
    """The first fault: field, what is wrong with it, and value."""
    first = error.errors(include_url=False)[0]
    kind, what = first["type"], first["msg"].removeprefix("Value error, ")
    field = ".".join(map(str, first["loc"]))
    if kind in ("missing", "extra_forbidden"):
        return f"{field}: {what}"
    if not field:
        return what
    value = ascii(first["input"])
    value = value if len(value) <= LONGEST else value[:LONGEST] + "..."
    if kind in PLAIN:
        return f"{field} {PLAIN[kind].format(**first.get('ctx', {}))}, not {value}"
    if what.startswith(SHOULD):
        return f"{field} {MUST}{what.removeprefix(SHOULD)}, not {value}"
    return f"{field} = {value}: {what}"


def read_made(path: Path, settings: type[S], kind: str, hint: str) -> S:
    """What a JSON file of `kind` holds that a command of attn wrote. Raises InputError.

    hint: which command writes one.
    """
    if not path.exists():
        raise InputError("there is no such file", where=path, hint=hint)
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=path, hint=hint) from error
    if len(text) > MOST_BYTES:
        raise InputError(f"is larger than {MOST_BYTES} bytes, too large for a {kind}", where=path, hint=hint)
    try:
        return settings.model_validate_json(text)
    except ValidationError as error:
        raise InputError(f"is no {kind} ({fault(error)})", where=path, hint=hint) from error
