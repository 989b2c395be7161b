"""Which rows train, which stop the training, which measure: at random, by time, by group, or by file.

A row's part depends on the seed and on its place, time or group alone, so that a second reading splits alike.

Shapes: N rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from attn.core.errors import InputError, UsageError
from attn.data_adapters.tables.cells import as_labels
from attn.data_adapters.tables.open import Table, reading
from attn.data_adapters.tables.row_hashes import row_hashes
from attn.data_adapters.tables.survey import PartOf

PARTS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST, LEFT_OUT = range(4)
DRAWN = 7919  # added to the seed, so that the draw of rows does not depend on that of parts
SORTS_BY_TIME = r"^[0-9]{4}(?:-[0-9]{2}-[0-9]{2}|/[0-9]{2}/[0-9]{2}|[0-9]{4})(?:[^0-9].*)?$"


@dataclass(frozen=True)
class Split:
    """How to split one table.

    shares: of validation and test. time: a column whose latest rows are the test, those before validation. group: a
    column whose values stay together.
    """

    shares: tuple[float, float] = (0.1, 0.1)
    time: str | None = None
    group: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.time and self.group:
            raise UsageError("rows are split by time or by group, not by both")
        if not (min(self.shares) >= 0 and sum(self.shares) < 1):  # so written, NaN is refused too
            raise UsageError(
                f"shares of {self.shares[0]} and {self.shares[1]} leave nothing to train on",
                hint="each is at least 0, and together they are below 1",
            )

    def part_of(self, table: Table) -> PartOf:
        """The parts of this table's rows. Raises InputError for a column that is not there or cannot be ordered."""
        for column in (self.time, self.group):
            if column is not None and column not in table.columns:
                raise InputError(f"has no column {column!r} to split by", where=table.where)
        if self.time is not None:
            return ByTime(self.time, _time_limits(table, self.time, self.shares))
        if self.group is not None:
            return ByGroup(self.group, self.shares, self.seed)
        return AtRandom(self.shares, self.seed)


@dataclass(frozen=True)
class Whole:
    """All rows of a file belong to one part."""

    part: int
    columns: tuple[str, ...] = ()

    def __call__(self, frame: pl.DataFrame, first: int) -> np.ndarray:
        """Parts (N,)."""
        return np.full(len(frame), self.part, np.uint8)


@dataclass(frozen=True)
class AtRandom:
    """By the row's number."""

    shares: tuple[float, float]
    seed: int
    columns: tuple[str, ...] = ()

    def __call__(self, frame: pl.DataFrame, first: int) -> np.ndarray:
        """Parts (N,)."""
        return _dealt(np.arange(first, first + len(frame), dtype=np.uint64), self.shares, self.seed)


class Sampled:
    """As another split, but of the training rows without a click only a share, drawn at random, is in a part."""

    def __init__(self, part_of: PartOf, label: str, share: float, seed: int) -> None:
        self.part_of, self.label, self.share, self.seed = part_of, label, share, seed
        self.columns = (*getattr(part_of, "columns", ()), label)

    def __call__(self, frame: pl.DataFrame, first: int) -> np.ndarray:
        """Parts (N,); LEFT_OUT is none of them."""
        parts_n = self.part_of(frame, first).copy()
        rows_n = np.arange(first, first + len(frame), dtype=np.uint64)
        drawn_n = _dealt(rows_n, (0.0, self.share), self.seed + DRAWN) == TEST
        clicked_n = as_labels(frame[self.label], "the table", first) == 1
        parts_n[(parts_n == TRAIN) & ~drawn_n & ~clicked_n] = LEFT_OUT
        return parts_n


class ByGroup:
    """By the hash of a column's value."""

    def __init__(self, column: str, shares: tuple[float, float], seed: int) -> None:
        self.columns, self.shares, self.seed = (column,), shares, seed

    def __call__(self, frame: pl.DataFrame, first: int) -> np.ndarray:
        """Parts (N,)."""
        return _dealt(row_hashes(frame.select(self.columns)), self.shares, self.seed)


class ByTime:
    """By limits that a column passes: from `limits[0]` on validation, from `limits[1]` on test."""

    def __init__(self, column: str, limits: Sequence[object]) -> None:
        self.columns, self.limits = (column,), limits

    def __call__(self, frame: pl.DataFrame, first: int) -> np.ndarray:
        """Parts (N,)."""
        times = frame[self.columns[0]]
        parts = sum((times >= limit).fill_null(False).cast(pl.UInt8) for limit in self.limits)
        return parts.to_numpy()  # type: ignore[union-attr]  # a series: there are two limits


def _time_limits(table: Table, column: str, shares: tuple[float, float]) -> list[object]:
    with reading(table.where):
        times = table.lazy().select(pl.col(column).drop_nulls().sort()).collect(engine="streaming")[column]
    if not len(times):
        raise InputError(f"the column {column!r} has no time to split by", where=table.where)
    if times.dtype == pl.String and len(odd := times.filter(~times.str.contains(SORTS_BY_TIME))):
        what = f"the column {column!r} is text that does not sort by time, such as {odd[0][:40]!r}"
        raise InputError(what, where=table.where, hint="write times as 2026-01-31 10:00, or as numbers")
    tested = round(len(times) * (1 - shares[1]))
    validated = round(len(times) * (1 - sum(shares)))
    return [times[min(place, len(times) - 1)] for place in (validated, tested)]


def _dealt(keys_n: np.ndarray, shares: tuple[float, float], seed: int) -> np.ndarray:
    """Parts by a well-mixed hash of 64-bit keys (the finaliser of SplitMix64, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        x = keys_n.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15) * np.uint64(seed + 1)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        dice_n = (x ^ (x >> np.uint64(31))).astype(np.float64) / 2.0**64
    validation, test = shares
    parts_n = np.zeros(len(keys_n), np.uint8)
    parts_n[dice_n < validation + test] = VALIDATION
    parts_n[dice_n < test] = TEST
    return parts_n
