"""A model's vocabulary as JSON: the tables by which `score.py` turns rows into ids and numbers."""

import re
from typing import Any

from attn.core.errors import UsageError
from attn.data_adapters.tables.cells import SINCE_1970
from attn.data_adapters.tables.codes import Codebook, set_of
from attn.data_adapters.tables.fields import LISTS

SPECIFIERS = {"%F": "%Y-%m-%d", "%T": "%H:%M:%S", "%R": "%H:%M", "%D": "%m/%d/%y", "%e": "%d", "%k": "%H", "%l": "%I"}


def field_tables(codebook: Codebook) -> list[dict[str, Any]]:
    """The fields, one after the other. Raises UsageError for a format of times that Python cannot read."""
    fields = []
    for place in codebook.places:
        one = place.field
        entry: dict[str, Any] = {"name": one.name, "column": one.column, "kind": one.kind}
        entry |= {"first": place.first, "place": place.column, "width": place.width}
        if one.kind == "number":
            entry |= {"transform": one.transform, "decimal": one.decimal, **codebook.scales[one.name].model_dump()}
        else:
            entry |= {"keep": list(one.keep)} if one.keep else {}
            entry["values"] = codebook.vocabularies[one.name].to_list()
        if one.kind in LISTS:
            entry |= {"separator": one.separator, "around": one.around}
        if (members := set_of(one, codebook.fields)) is not None:
            entry |= {"separator": members.separator, "around": members.around, "whole": members.separator}
        if one.kind == "time":
            entry |= {"part": one.part, "format": python_format(one.format)}
        fields.append(entry)
    return fields


def python_format(format: str | None) -> str | None:
    """The format of a time as Python's strptime has it. Raises UsageError for one that it cannot read."""
    if format in (None, SINCE_1970):
        return format
    text = re.sub(r"%\.?[369]?f", "%f", format)
    for ours, pythons in SPECIFIERS.items():
        text = text.replace(ours, pythons)
    if unknown := set(re.findall(r"%(.)", text)) - set("aAbBdHIjmMpSyYzf%"):
        what = f"the time format {format!r} has %{min(unknown)}, which Python's strptime does not read"
        raise UsageError(what, hint="write the format with others")
    return text
