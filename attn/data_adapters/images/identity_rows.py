"""Pictures of individuals as rows: what every layout of them is brought to."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from attn.core.errors import InputError
from attn.data_adapters.images.boxes import Box

# Words that people write for an individual they do not know. NA, None, nan, null, True and - may be names.
NOBODY = frozenset({
    "unknown", "unidentified", "unk", "unk.", "unid", "?", "??", "???", "not identified", "unidentifiable",
    "unknown individual", "n/a", "tbd", "to be identified", "undetermined",
})  # fmt: skip


@dataclass(frozen=True)
class Rows:
    """One row per picture, or per box of a picture; each list has one text per row, "" where it is not known.

    paths: relative to `root`. cameras, encounters, times, within, splits: None where nothing says so. table: the same
    rows with all columns there are; empty for a layout without columns. problems: why a row cannot be used. notices:
    what people should know.
    """

    root: Path
    paths: list[str]
    identities: list[str]
    table: pl.DataFrame
    boxes: list[Box | None]
    cameras: list[str] | None = None
    encounters: list[str] | None = None
    times: list[str] | None = None
    within: list[str] | None = None
    splits: list[str] | None = None
    problems: dict[int, InputError] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: Sequence[int]) -> "Rows":
        """These rows, in this order."""
        lists = ("paths", "identities", "boxes", "cameras", "encounters", "times", "within", "splits")
        taken: dict[str, Any] = {}
        for name in lists:
            old = getattr(self, name)
            taken[name] = None if old is None else [old[i] for i in rows]
        problems = {new: self.problems[old] for new, old in enumerate(rows) if old in self.problems}
        table = self.table[list(rows)] if len(self.table) else self.table
        return replace(self, **taken, table=table, problems=problems)


def unlabelled(rows: Rows, unknown: Iterable[str], source: Path) -> Rows:
    """Rows whose identity is one of the words `unknown` become unlabelled.

    InputError: words for nobody that are not in `unknown`. They would be one individual.
    """
    words = set(unknown)
    left = Counter(name for name in rows.identities if name not in words and name.strip().casefold() in NOBODY)
    if left:
        named = ", ".join(f"{word!r} ({count})" for word, count in sorted(left.items()))
        flags = " ".join(f"--unknown {word!r}" for word in sorted({*left, *words}))
        raise InputError(
            f"{sum(left.values())} pictures have an identity that reads like nobody: {named}",
            where=source,
            hint=f"say {flags}, or leave the field empty; an individual of such a name needs another one",
        )
    identities = ["" if identity in words else identity for identity in rows.identities]
    notices = list(rows.notices)
    if taken := sum(identity in words for identity in rows.identities):
        notices.append(f"{taken} pictures count as unlabelled by --unknown")
    return replace(rows, identities=identities, notices=notices)


def each_once(rows: Rows, line: int | None = 2) -> Rows:
    """Rows without repetitions; rows that give one picture, or one box of it, to two individuals have a problem.

    line: where the first row stands in its file; None where rows have no lines.
    """
    first: dict[tuple[str, Box | None], list[int]] = defaultdict(list)
    for i, key in enumerate(zip(rows.paths, rows.boxes, strict=True)):
        first[key].append(i)
    kept: list[int] = []
    problems = dict(rows.problems)
    for (path, _), same in first.items():
        by_name = {rows.identities[i]: i for i in reversed(same)}
        kept += by_name.values()
        if len(by_name) > 1:
            named = sorted((i, name) for name, i in by_name.items())
            said = " and ".join(f"{name or 'nobody'!r}" + (f" (line {i + line})" if line else "") for i, name in named)
            for i in by_name.values():
                problems[i] = InputError(
                    f"is listed as {said}, without a box to tell them apart", where=path, hint="correct the table"
                )
    notices = list(rows.notices)
    if repeated := len(rows) - len(kept):
        notices.append(f"{repeated} repeated rows count once")
    if conflicts := len(problems) - len(rows.problems):
        notices.append(f"{conflicts} rows give one picture to several individuals")
    if lookalikes := _lookalikes(rows.identities):
        notices.append("individuals whose names differ in case or blanks only: " + "; ".join(lookalikes[:5]))
    return replace(replace(rows, problems=problems).take(sorted(kept)), notices=notices)


def _lookalikes(identities: Iterable[str]) -> list[str]:
    plain: dict[str, list[str]] = defaultdict(list)
    for name in sorted({*identities} - {""}):
        plain[" ".join(name.split()).casefold()].append(name)
    return [" and ".join(map(repr, names)) for names in plain.values() if len(names) > 1]
