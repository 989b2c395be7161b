"""Values as text: the cells of tables, one line of a terminal, and JSON."""

import json
import math
import os
from collections.abc import Mapping
from typing import Any

from attn.core.files import legible


def cell(value: object) -> str:
    """A table cell: nothing for None, six digits of a number, three where it has an interval, text on one line."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping) and value.keys() == {"value", "low", "high"}:
        estimate, *limits = ("" if number is None else f"{number:.3g}" for number in value.values())
        return f"{estimate} ({' to '.join(limits)})" if all(limits) else estimate
    return printable(", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value))


def printable(text: str) -> str:
    """Control characters, with which a file name could change the terminal, become visible."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shortened(text: str, width: int) -> str:
    """Shorten a long path near its beginning: its end says most."""
    if len(text) <= width:
        return text
    head = width // 4
    return f"{text[:head]}…{text[head + 1 - width :]}"


def jsonable(value: Any) -> Any:
    """What JSON can hold: arrays become lists, paths text, and what is not finite null."""
    if isinstance(value, Mapping):
        return {jsonable(str(name)): jsonable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if hasattr(value, "tolist"):  # arrays and scalars of numpy and torch
        return jsonable(value.tolist())
    if isinstance(value, str | os.PathLike):  # a file name need not be UTF-8
        return legible(os.fspath(value))
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_text(value: object) -> str:
    """Indented JSON of any value."""
    return json.dumps(jsonable(value), indent=2, ensure_ascii=False, allow_nan=False)
