"""From tables to rows on disk: which columns, what they mean, which part each row belongs to.

with prepare(open_clicks("clicks.parquet", label="click"), folder) as data:
    data.codebook, data.train, data.validation, data.test
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from attn.apps.ctr.rows import Lookup, RowSet
from attn.apps.ctr.split import PARTS, TEST, TRAIN, VALIDATION, Sampled, Split, Whole
from attn.apps.ctr.used import Hashed, Sample, sampled
from attn.core.errors import InputError, TrainingError, UsageError
from attn.core.files import scratch
from attn.data_adapters.tables.codes import Codebook, grown
from attn.data_adapters.tables.fields import LISTS, Field, override
from attn.data_adapters.tables.files import files_of
from attn.data_adapters.tables.guess import infer_fields, is_whole, require_readable
from attn.data_adapters.tables.open import Table, open_table
from attn.data_adapters.tables.row_hashes import row_hashes
from attn.data_adapters.tables.survey import CodedRows, PartOf, Survey, survey

INFERRED_ROWS = 100_000
ROWS_A_COPY = 3_000_000  # a value is kept if it occurs at least twice, and at least once in this many rows


@dataclass(frozen=True)
class Clicks:
    """A table to learn from: its label, what its columns mean, and tables apart for validation and test.

    notes: a sentence about each column whose meaning was in doubt.
    weight: a column that says what a row counts for. sampled: the share of training rows without a click to learn from.
    """

    table: Table
    label: str
    fields: tuple[Field, ...]
    validation: Table | None = None
    test: Table | None = None
    split: Split = field(default_factory=Split)
    notes: tuple[str, ...] = ()
    weight: str | None = None
    sampled: float = 1.0

    def own_split(self) -> Split | None:
        """How the rows of `table` are dealt to the parts; None when all of them train."""
        shares = list(self.split.shares)
        others = [(self.validation, VALIDATION), (self.test, TEST)]
        for number, (table, _) in enumerate(others):
            if table is not None:
                shares[number] = 0.0
        if self.validation is not None and self.test is None:
            shares[1] = 0.0  # a caller who gives a validation table is expected to test elsewhere
        return replace(self.split, shares=(shares[0], shares[1])) if any(shares) else None

    def parts(self) -> dict[str, tuple[Table, PartOf]]:
        """Each table, called "table", "validation" or "test", with the parts of its rows."""
        split = self.own_split()
        part_of: PartOf = Whole(TRAIN) if split is None else split.part_of(self.table)
        if self.sampled < 1:
            part_of = Sampled(part_of, self.label, self.sampled, self.split.seed)
        found: dict[str, tuple[Table, PartOf]] = {"table": (self.table, part_of)}
        for part, table in ((VALIDATION, self.validation), (TEST, self.test)):
            if table is not None:
                found[PARTS[part]] = table, Whole(part)
        return found


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a training needs: the table's columns in file order, and rows, which are on disk until `prepare` ends.

    `used` and `tested` are samples of the hashes of rows that are used, and that are kept for the test.
    """

    columns: tuple[str, ...]
    codebook: Codebook
    train: RowSet
    validation: RowSet
    test: RowSet
    fingerprint: dict[str, Any]
    used: Sample
    tested: Sample


def open_clicks(
    source: str | Path,
    *,
    label: str | None = None,
    format: str | None = None,
    fields: Path | None = None,
    validation: str | Path | None = None,
    test: str | Path | None = None,
    split: Split | None = None,
    weight: str | None = None,
    sampled: float = 1.0,
    known: Sequence[Field] = (),
) -> Clicks:
    """Open a table with its label, and guess its fields; `fields` is a TOML file that corrects the guess.

    weight, sampled: as of `Clicks`; the column of weights is no field. known: fields of an earlier model, which stand
    for the guess where the table has all columns of theirs.

    Raises InputError for a label or column that is not there, and for a table that cannot be read; UsageError for one
    file in two of the tables.
    """
    _require_different(table=source, validation=validation, test=test)
    table = open_table(source, format=format)
    label = label or table.label
    if label is None or label not in table.columns:
        what = "needs a label column" if label is None else f"has no column {label!r}"
        raise InputError(
            what, where=table.where, hint=f"name it with --label; there are {', '.join(table.columns[:20])}"
        )
    sample, notes = table.head(INFERRED_ROWS), list[str]()
    found = infer_fields(table, label, sample, notes.append, _training(table, sample, split or Split(), test))
    same = [one for one in known if one.column in table.columns and one.column != label]
    found = same + [one for one in found if one.column not in {each.column for each in same}]
    if weight is not None:
        require(table, [weight])
        found = [one for one in found if one.column != weight]
    if fields is not None:
        found = override(found, fields, [column for column in table.columns if column != label])
    if not found:
        raise InputError(f"has no column besides {label!r}", where=table.where)
    require_readable(found, sample, table.where)
    text = text_columns(found)
    if any(table.schema[column].is_float() and not is_whole(sample[column]) for column in text):  # 1.10 is not 1.1
        table = open_table(source, format=format, text=text)
    others = []
    for each in (validation, test):
        other = None if each is None else open_table(each, format=format, columns=table.columns, text=text)
        if other is not None:
            require(other, [label, *(one.column for one in found), *([weight] if weight else [])])
        others.append(other)
    return Clicks(table, label, tuple(found), others[0], others[1], split or Split(), tuple(notes), weight, sampled)


def _training(table: Table, sample: pl.DataFrame, split: Split, test: object) -> np.ndarray | None:
    """Which rows of the sample train (N,); None for all of them, also where a pass over the table would tell."""
    if test is not None or split.time is not None or not len(sample):
        return None
    part_n: np.ndarray = split.part_of(table)(sample, 0)
    return np.asarray(part_n == TRAIN)


def _require_different(**sources: str | Path | None) -> None:
    """Raises UsageError where two of the tables have a file in common."""
    files: dict[Path, str] = {}
    for name, source in sources.items():
        for path in [] if source is None else _files(source):
            first = files.setdefault(path.resolve(), name)
            if first != name:
                raise _used_twice(str(path), first, name)


def _files(source: str | Path) -> list[Path]:
    try:
        return files_of(source)
    except InputError:  # which the reader says better; some layouts are a folder without a table's suffix
        return []


def _used_twice(where: str, one: str, other: str) -> UsageError:
    what = {"table": "to train on", "validation": "to choose the best epoch by", "test": "to measure on"}
    return UsageError(f"has the rows {what[one]} and those {what[other]}", where=where, hint="give each a table")


def text_columns(fields: list[Field] | tuple[Field, ...]) -> set[str]:
    """Columns to read as they are written, whatever they look like."""
    return {one.column for one in fields if one.kind in ("category", *LISTS)}


def require(table: Table, columns: list[str]) -> None:
    """Raises InputError that names the columns which are not there."""
    if gone := [name for name in dict.fromkeys(columns) if name not in table.columns]:
        raise InputError(
            f"has no column {', '.join(gone[:5])}",
            where=table.where,
            hint=f"it has {', '.join(table.columns[:20])}",
        )


@contextmanager
def prepare(
    clicks: Clicks,
    folder: Path,
    *,
    least: int | None = None,
    before: Codebook | None = None,
    advance: Callable[[int], None] = lambda rows: None,
) -> Iterator[Prepared]:
    """Read all tables once and keep their coded rows in a new folder inside `folder`, which is removed at the end.

    least: copies of a value in training that give it a vector of its own; by the size of the table if None. before: an
    earlier vocabulary, whose values stay known. Raises InputError for what cannot be read or labelled, UsageError for
    two tables with the same rows, TrainingError when there is nothing to train or to validate on.
    """
    with scratch(folder, "rows") as place, ExitStack() as open_rows:
        rows = [CodedRows(place / name, clicks.fields, weighted=clicks.weight is not None) for name in PARTS]
        for part in rows:
            open_rows.callback(part.close)
        taken = Survey(clicks.fields)
        hashed = {}
        for name, (table, part_of) in clicks.parts().items():
            hashed[name] = Hashed(part_of, [clicks.label, *(one.column for one in clicks.fields)])
            survey(table, clicks.fields, clicks.label, hashed[name], rows, taken, advance, clicks.weight)
        for one, other in combinations(hashed, 2):
            if hashed[one].same_rows(hashed[other]):
                raise _used_twice(clicks.parts()[other][0].where, one, other)
        _require_learnable(rows, clicks)
        codebook = taken.codebook(least or max(2, len(rows[TRAIN]) // ROWS_A_COPY))
        if before is not None:
            codebook = grown(codebook, before)
        lookup = Lookup(codebook, taken.values)
        del taken  # all values of the table, rare ones too
        train, validation, test = (RowSet(part, lookup) for part in rows)
        fingerprint = _fingerprint(clicks, codebook, rows, {name: each.text() for name, each in hashed.items()})
        used, tested = (sampled(*samples) for samples in zip(*(each.samples for each in hashed.values()), strict=True))
        yield Prepared(clicks.table.columns, codebook, train, validation, test, fingerprint, used, tested)


def _require_learnable(rows: list[CodedRows], clicks: Clicks) -> None:
    for part in (TRAIN, VALIDATION):
        if len(rows[part]) == 0:
            raise TrainingError(
                f"has no {PARTS[part]} rows", where=clicks.table.where, hint="it takes a few dozen rows"
            )
        if rows[part].positives in (0, len(rows[part])):
            value = 1 if rows[part].positives else 0
            raise TrainingError(
                f"the label {clicks.label!r} is {value} in all {len(rows[part])} {PARTS[part]} rows",
                where=clicks.table.where,
                hint="there is nothing to tell apart",
            )


def _fingerprint(clicks: Clicks, codebook: Codebook, rows: list[CodedRows], hashes: dict[str, str]) -> dict[str, Any]:
    split = clicks.own_split()
    digest = hashlib.sha256()
    vocabulary: pl.DataFrame = codebook.table()
    digest.update(repr(codebook.described()).encode())
    digest.update(row_hashes(vocabulary).astype("<u8").tobytes())
    return {
        "source": clicks.table.where,
        "sha256": digest.hexdigest(),
        "tables": hashes,
        "split": {"shares": [0.0, 0.0]} if split is None else asdict(split) | {"shares": list(split.shares)},
        **({} if clicks.weight is None else {"weight": clicks.weight}),
        **({} if clicks.sampled == 1 else {"sampled": clicks.sampled}),
        "rows": {name: len(part) for name, part in zip(PARTS, rows, strict=True)},
        "clicks": {name: part.positives for name, part in zip(PARTS, rows, strict=True)},
    }
