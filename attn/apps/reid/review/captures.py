"""Who was seen when, for other programs: a capture history.

It is a row per individual and a column per occasion, 1 where it was seen. `ch` is the row as one word, as RMark and
MARK read it; the columns are what secr and others make their `capthist` of.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from attn.apps.reid.gallery import Gallery
from attn.core.errors import InputError, UsageError
from attn.core.files import replacing

OCCASIONS = ("day", "month", "year", "encounter", "camera")
_LENGTHS = {"day": 10, "month": 7, "year": 4}
_TIME = re.compile(r"(\d{4})[-:/.](\d{2})[-:/.](\d{2})([ T].*)?", re.DOTALL)


def capture_history(gallery: Gallery, occasion: str | None = None) -> tuple[pl.DataFrame, int]:
    """The table (`individual`, `ch`, and 0 or 1 for each occasion), and how many pictures of somebody known lack one.

    occasion: one of OCCASIONS; None takes the day where there are times, else the encounter. Occasions come in their
    order: of time, or of numbers, or of letters.
    UsageError: another word. InputError: no picture has both an individual and an occasion.
    """
    if occasion not in (None, *OCCASIONS):
        raise UsageError(f"--occasion is {', '.join(OCCASIONS)}, not {occasion!r}")
    rows = gallery.rows.filter(pl.col("identity") != "")
    if occasion is None:
        occasion = "day" if (rows["time"] != "").any() else "encounter"
    if occasion in _LENGTHS:
        values = [moment(text)[: _LENGTHS[occasion]] for text in rows["time"]]
    else:
        values = rows[occasion].to_list()
    seen = {(who, value) for who, value in zip(rows["identity"], values, strict=True) if value}
    if not seen:
        column = "time" if occasion in _LENGTHS else occasion
        what = f"every picture of somebody known has an empty {column}"
        raise InputError(what, where=gallery.folder, hint="name --occasion")
    occasions = sorted({value for _, value in seen}, key=_in_order)
    table = []
    for who in sorted({who for who, _ in seen}):
        marks = [int((who, value) in seen) for value in occasions]
        table.append((who, "".join(map(str, marks)), *marks))
    columns = ["individual", "ch", *_apart(occasions)]
    return pl.DataFrame(table, columns, orient="row"), sum(not value for value in values)


def write_table(path: Path, table: pl.DataFrame) -> None:
    """Write a .csv, whole or not at all. UsageError: another suffix, a folder."""
    if path.suffix.lower() != ".csv":
        raise UsageError("a capture history is a table", where=path, hint="end its name in .csv")
    with replacing(path) as part:
        table.write_csv(part, quote_style="non_numeric")  # so that 0010 stays a word


def moment(text: str) -> str:
    """A time as ISO 8601; EXIF's colons become hyphens. "" for one that begins with no date."""
    found = _TIME.fullmatch(text.strip())
    return "" if found is None else "-".join(found.groups()[:3]) + (found[4] or "")


def _in_order(text: str) -> list[tuple[int, int, str]]:
    """2 before 10, also within words."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.findall(r"[0-9]+|[^0-9]+", text)]


def _apart(occasions: Sequence[str]) -> list[str]:
    """Names of columns that are not those of the first two."""
    return [f"{name}." if name in ("individual", "ch") else name for name in occasions]
