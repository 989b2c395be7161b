"""How a delimited text file is laid out: its separator, and whether its first line is a header.

A first line is a header, in this order:

1. when at least half of its cells are columns that the caller or the known layout expects;
2. never, when the rows fit a layout that is published without a header (Criteo, Avazu's parts);
3. when its cells differ and one of them is a name, and all rows below have numbers there;
4. never, when one of its cells is a number;
5. when a later row has a number in some column;
6. when all its cells differ and no cell comes again below in its own column.

Without a header the names are the layout's, or the expected ones when it is another table of the same width; a file
with neither is refused.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from attn.core.errors import InputError
from attn.data_adapters.tables.layouts import LAYOUTS, Layout, layout_of

NAME = re.compile(r"(?!(?:NA|NULL|null|None|NaN|na|none)$)[^\W\d]\w+")
SEPARATORS = (",", "\t", ";", "|")


@dataclass(frozen=True)
class Header:
    """names: of the columns. present: whether the first line of the file holds them. layout: the one that is known."""

    names: tuple[str, ...]
    present: bool
    layout: Layout | None


def separator_of(head: str, *, tabs: bool) -> str:
    """The character between cells, from the first lines of a file.

    The first of comma (tab when `tabs`), tab, semicolon and bar that the first two lines have equally often; else the
    one that the first line has most often.
    """
    lines = [_unquoted(line) for line in head.splitlines() if line.strip()][:2]
    if not lines:
        return ","
    order = ("\t", *SEPARATORS) if tabs else SEPARATORS
    for separator in order:
        counts = {line.count(separator) for line in lines}
        if len(counts) == 1 and counts != {0}:
            return separator
    return max(order, key=lines[0].count)


def _unquoted(line: str) -> str:
    return "".join(line.split('"')[::2])


def header_of(
    rows: Sequence[Sequence[str | None]], where: str | Path, *, expected: Sequence[str] | None, layout: Layout | None
) -> Header:
    """The names of the columns.

    rows: the first rows as text, None where a cell is empty. expected: columns that the caller knows. layout: the one
    asked for, or None to find it. InputError: no header and no names to take instead.
    """
    first, below = rows[0], rows[1:]
    names = tuple((cell or "").strip() or f"column_{i}" for i, cell in enumerate(first, 1))
    known = set(expected or ()) | set(layout.columns if layout else ())
    if known and 2 * len(known & set(names)) >= min(len(names), len(known)):
        return Header(names, True, layout or layout_of(names))
    bare = layout or next((each for each in LAYOUTS.values() if each.fits(rows)), None)
    if bare is None and _is_header(first, below):
        return Header(names, True, layout_of(names))
    taken = _names(len(first), expected, bare)
    if taken is None:
        raise InputError(_refusal(first, expected, bare), where=where, hint="add a line with the names of the columns")
    return Header(taken, False, bare or layout_of(taken))


def _is_header(first: Sequence[str | None], below: Sequence[Sequence[str | None]]) -> bool:
    if len(set(first)) == len(first) and len(below) > 1:
        named = [place for place, cell in enumerate(first) if cell and NAME.fullmatch(cell) and not _number(cell)]
        if any(all(_number(row[place]) for row in below) for place in named):
            return True
    if any(_number(cell) for cell in first):
        return False
    if any(_number(cell) for row in below for cell in row):
        return True
    columns = list(zip(*below, strict=True)) or [()] * len(first)
    return len(set(first)) == len(first) and not any(c in column for c, column in zip(first, columns, strict=True))


def _number(cell: str | None) -> bool:
    try:
        float(cell or "")
    except ValueError:
        return False
    return True


def _names(width: int, expected: Sequence[str] | None, layout: Layout | None) -> tuple[str, ...] | None:
    published = layout.names(width) if layout else None
    if expected is not None and len(expected) == width and set(expected).isdisjoint(published or ()):
        return tuple(expected)
    return published


def _refusal(first: Sequence[str | None], expected: Sequence[str] | None, layout: Layout | None) -> str:
    shown = ",".join(cell or "" for cell in first)
    line = f"line 1 looks like data, not like a header ({shown[:60]}{'...' * (len(shown) > 60)})"
    if layout is not None:
        sizes = f"{len(layout.columns)} columns, or {len(layout.without_label())} without the label"
        return f"{line}, and has {len(first)} cells; {layout.name} has {sizes}"
    if expected is not None:
        return f"{line}, and has {len(first)} cells where {len(expected)} columns are expected"
    return line
