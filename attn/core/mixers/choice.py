"""Mixers as people type them, and as a model's record keeps them.

    neighborhood                            a mechanism with its defaults
    neighborhood:kernel=5,dilation=2        with options
    softmax,static,softmax                  one mechanism for each layer, the first layer first
    halo:block=4,masked=false,softmax       the same with options: what has no "=" names the next layer's mechanism

A value is a number, true, false or none. A "+" parts layers as well, as attn 0.1 wrote it, and alone does so where
commas part whole choices (`attn mixers compare --mixers`).
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from attn.core.errors import UsageError

_OPTION = re.compile(r"[^:=]*=")
_WORD = re.compile(r"[a-z_][a-z0-9_]*", re.IGNORECASE)
_WORDS = {"true": True, "false": False, "none": None}


class Choice(NamedTuple):
    """A mechanism and its options."""

    name: str
    options: Mapping[str, Any] = {}

    def __str__(self) -> str:
        """As it is typed."""
        parts = [f"{key}={_text(value)}" for key, value in self.options.items()]
        return f"{self.name}:{','.join(parts)}" if parts else self.name


def parse(text: str) -> Choice:
    """One mechanism of "name" or "name:option=value,option=value". Raises UsageError for another form."""
    name, colon, rest = text.partition(":")
    options: dict[str, Any] = {}
    for part in rest.split(",") if colon else []:
        key, equals, value = part.partition("=")
        if not (equals and value and _WORD.fullmatch(key)) or key in options:
            raise _misspelt(text, f"{part!r} is not an option and its value" if key not in options else f"{key} twice")
        options[key] = _value(value)
    if not _WORD.fullmatch(name):
        raise _misspelt(text, f"{name!r} is not a name")
    return Choice(name, options)


def split(text: str) -> list[str]:
    """The mechanisms of a list, each with its options."""
    found: list[str] = []
    for part in text.split(","):
        if found and _OPTION.match(part):
            found[-1] += f",{part}"
        else:
            found.append(part)
    return found


def per_layer(text: str, layers: int) -> list[Choice]:
    """The mechanism of each of `layers` layers: one for all of them, or as many as there are layers.

    Raises UsageError for another number.
    """
    choices = [parse(part) for layer in text.split("+") for part in split(layer)]
    if len(choices) == 1:
        choices *= layers
    if len(choices) != layers:
        raise UsageError(f"{len(choices)} mixers for {layers} layers", hint="name one for all layers, or one for each")
    return choices


def with_options(settings: Mapping[str, Any], default: str) -> dict[str, Any]:
    """Settings of a record of attn 0.1, which has `mixer_options` beside `mixer` (or its default), in today's form."""
    folded = dict(settings)
    options = folded.pop("mixer_options", None)
    if options and isinstance(options, Mapping):
        folded["mixer"] = str(Choice(str(folded.get("mixer", default)), options))
    return folded


def _text(value: Any) -> str:
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _value(text: str) -> Any:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _misspelt(text: str, why: str) -> UsageError:
    return UsageError(f"{text[:80]!r} names no mixer: {why}", hint="write name:option=value,option=value")
