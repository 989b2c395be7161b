"""What every table format offers, and what goes wrong while it is read."""

import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

import polars as pl
from polars.io.plugins import register_io_source

from attn.core.errors import InputError
from attn.data_adapters.boundary import boundary, reason

MAX_COLUMNS = 10_000
SPAN_CELLS = 10_000_000  # of one slice of a file
SPAN_ROWS = 1_000_000


class Source(Protocol):
    """A table in one format: its types, and its rows in file order."""

    @property
    def schema(self) -> Mapping[str, pl.DataType]:
        """The type of every column, which all frames have."""

    def frames(self, columns: Sequence[str], rows: int) -> Iterator[pl.DataFrame]:
        """All rows of these columns in frames of whatever size is cheap; slices of a file take `rows`."""

    def rows(self) -> int:
        """The number of rows."""


@contextmanager
def reading(where: object) -> Iterator[None]:
    """The boundary of the tables: what polars, a decompressor or the system raises becomes one InputError.

    where: a table, a path or any text that names what is read.
    """
    place = str(getattr(where, "where", where))
    with boundary(place, "cannot be read as a table"):
        try:
            yield
        except EOFError as error:
            raise InputError("is cut off: its compressed data ends early", where=place) from error
        except zlib.error as error:
            raise InputError(f"is damaged: its compressed data cannot be read ({error})", where=place) from error
        except FileNotFoundError as error:
            raise InputError("is not there", where=place) from error
        except OSError as error:
            raise InputError(f"cannot be read ({reason(error)})", where=place) from error


@contextmanager
def openable(path: Path) -> Iterator[Path | BinaryIO]:
    """What polars can open: the path or, as polars refuses a name that is not UTF-8, the open file."""
    if str(path).isascii() or not any("\ud800" <= character <= "\udfff" for character in str(path)):
        yield path
    else:
        with path.open("rb") as file:
            yield file


def span(columns: Sequence[str]) -> int:
    """Rows of a slice that fits in memory many times."""
    return max(1, min(SPAN_ROWS, SPAN_CELLS // max(1, len(columns))))


def query(source: Source) -> pl.LazyFrame:
    """A lazy table whose rows come from `frames`.

    Also of formats that polars scans itself, as it decodes much of a wide file ahead of what a query consumes.
    """

    def read(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _: int | None
    ) -> Iterator[pl.DataFrame]:
        left = n_rows
        columns = with_columns or list(source.schema)
        for frame in source.frames(columns, n_rows if predicate is None and n_rows else span(columns)):
            kept = frame if predicate is None else frame.filter(predicate)
            if left is not None:
                kept = kept.head(left)
                left -= kept.height
            yield kept
            if left == 0:
                return

    return register_io_source(read, schema=dict(source.schema))


def rebatch(frames: Iterator[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """The same rows in frames of `rows`, the last one shorter."""
    held: list[pl.DataFrame] = []
    have = 0
    for frame in frames:
        held.append(frame)
        have += frame.height
        if have < rows:
            continue
        whole = pl.concat(held)
        for start in range(0, have - rows + 1, rows):
            yield whole.slice(start, rows)
        have %= rows
        held = [whole.tail(have)] if have else []
    if have:
        yield pl.concat(held)


def check_names(names: Sequence[str], where: str | Path) -> None:
    """InputError: a name that comes twice, or too many columns."""
    if len(names) > MAX_COLUMNS:
        raise InputError(f"has {len(names):,} columns; at most {MAX_COLUMNS:,} are read", where=where)
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        listed = ", ".join(f"'{name}'" for name in twice[:5])
        raise InputError(f"has more than one column named {listed}", where=where, hint="rename one of them")


def check_same(names: Sequence[str], first: Sequence[str], where: str | Path, first_where: str | Path) -> None:
    """InputError when a file does not have the columns of the first file; their order does not matter."""
    for name in first:
        if name not in names:
            raise InputError(f"has no column '{name}', which {first_where} has", where=where)
    for name in names:
        if name not in first:
            raise InputError(f"has a column '{name}', which {first_where} has not", where=where)
