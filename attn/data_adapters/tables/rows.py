"""Rows of delimited text: where they end, and what is wrong with them (RFC 4180).

A file is read in blocks of whole rows. Cells and rows are found from the bytes alone, so that every fault has its line
number before anything is parsed: a quote may only be around a whole cell, `""` inside one is a quote, and
a quoted cell may hold separators and line ends.

Shapes: R rows, S separators of a block.
"""

import gzip
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import numpy as np
import polars as pl

from attn.core.errors import InputError
from attn.data_adapters.tables.source import openable

BLOCK = 1 << 21  # bytes
MAX_CELL = 1_000_000  # characters
MAX_ROW = 1 << 24  # bytes
NEWLINE, QUOTE, RETURN = b'\n"\r'
PACKED = (".gz", ".zst")
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
BOM = b"\xef\xbb\xbf"


class Bytes(Protocol):
    """Something to read bytes from, front to back."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; no bytes at the end."""


@contextmanager
def opened(path: Path) -> Iterator[Bytes]:
    """The bytes of a text file, unpacked when it is gzip or zstd, without the byte order mark."""
    with path.open("rb") as plain:
        magic = plain.read(len(ZSTD))
    if magic == ZSTD:
        with openable(path) as source:
            yield _ZstdLines(source)
        return
    with gzip.open(path) if magic.startswith(GZIP) else path.open("rb") as file:
        if file.read(len(BOM)) != BOM:
            file.seek(0)
        yield cast(BinaryIO, file)


class _ZstdLines:
    """Bytes of a .zst text file. Python 3.11 cannot unpack zstd, so polars reads its lines."""

    def __init__(self, source: Path | BinaryIO) -> None:
        self._frames = iter(pl.scan_lines(source, glob=False).collect_batches(chunk_size=10_000, lazy=True))
        self._rest = b""
        self._rest = self.read(len(BOM)).removeprefix(BOM) + self._rest

    def read(self, size: int, /) -> bytes:
        while len(self._rest) < size and (frame := next(self._frames, None)) is not None:
            self._rest += b"".join(line.encode() + b"\n" for line in frame["line"])
        out, self._rest = self._rest[:size], self._rest[size:]
        return out


@dataclass(frozen=True, eq=False)
class Block:
    """Whole rows of a file.

    data: their bytes, each row ended by a newline, blank lines left out. ends: (R,) where each row's newline is. cuts:
    (S,) where the separators between cells are. line: the number of the first line, from 1. size, lines: bytes and
    lines of the file that the block was made of. blank: whether lines were left out.
    """

    data: bytes
    ends: np.ndarray
    cuts: np.ndarray
    line: int
    size: int
    lines: int
    blank: bool = False

    @property
    def rows(self) -> int:
        """R."""
        return len(self.ends)

    def without_first(self) -> "Block":
        """The block without its first row; `size` and `lines` still count the first row."""
        start = int(self.ends[0]) + 1
        cuts = self.cuts[np.searchsorted(self.cuts, start) :] - start
        return Block(self.data[start:], self.ends[1:] - start, cuts, self.line, self.size, self.lines, self.blank)

    def head(self, rows: int) -> bytes:
        """The bytes of the first rows."""
        return self.data[: self.ends[min(rows, self.rows) - 1] + 1]

    def row(self, index: int) -> bytes:
        """The bytes of one row, without its line end."""
        start = self.ends[index - 1] + 1 if index else 0
        return self.data[start : self.ends[index]].removesuffix(b"\r")


class RowReader:
    """The rows of one file, block by block.

    separator: None reads lines as they are, without quotes. `width`, the cells of a row, is that of the first row.
    `names`, once the caller has set it, is used in messages.

    Iterating raises InputError, with the line, for broken quotes, a row with another number of cells, a cell of more
    than MAX_CELL characters, and bytes that are not UTF-8.
    """

    def __init__(self, path: Path, separator: str | None) -> None:
        self.path = path
        self.separator = separator
        self.width: int | None = None
        self.names: Sequence[str] | None = None

    def __iter__(self) -> Iterator[Block]:
        line, rest = 1, b""
        with opened(self.path) as file:
            while True:
                chunk = file.read(max(BLOCK, len(rest)))  # twice as much each time for a long row
                if not chunk and not rest:
                    return
                added = b"\n" if not chunk and not rest.endswith(b"\n") else b""
                block = self.block(rest + chunk + added, line, last=not chunk)
                if block.rows:
                    yield block
                if not chunk:
                    return
                rest = (rest + chunk)[block.size :]
                line += block.lines
                self._check_rest(rest, line)

    def block(self, data: bytes, line: int, *, last: bool) -> Block:
        """The whole rows at the beginning of `data`, checked."""
        ends, cuts, quotes = marks(data, self.separator)
        self._check_text(data, line, last=last)
        self._check_quotes(data, line, quotes, last=last)
        size = int(ends[-1]) + 1 if len(ends) else 0
        if last and size < len(data):
            self._refuse(f"the quote opened in line {line + data.count(NEWLINE, 0, int(quotes[-1]))} is never closed")
        lines = data.count(NEWLINE, 0, size) if len(quotes) else len(ends)
        block = Block(data[:size], ends, cuts[: np.searchsorted(cuts, size)], line, size, lines)
        if not block.rows:
            return block
        if self.width is None:
            first = next((row for row in range(block.rows) if block.row(row)), 0)
            self.width = int(np.diff(np.searchsorted(block.cuts, ends[: first + 1]), prepend=0)[-1]) + 1
        self._check_cells(block)
        return self._shaped(block)

    def _shaped(self, block: Block) -> Block:
        """The block when each of its rows has `width` cells; blank lines between rows are left out."""
        assert self.width is not None
        between = self.width - 1
        if between and len(block.cuts) == between * block.rows:
            grid = block.cuts.reshape(block.rows, between)
            if (grid[:, -1] < block.ends).all() and (grid[1:, 0] > block.ends[:-1]).all():
                return block
        elif not between and not len(block.cuts):
            return block
        cells = np.diff(np.searchsorted(block.cuts, block.ends), prepend=0)
        starts, blank = _blank(block.data, block.ends)
        wrong = np.flatnonzero((cells != between) & ~blank)
        if len(wrong):
            has, line = int(cells[wrong[0]]) + 1, block.line + block.data.count(NEWLINE, 0, int(starts[wrong[0]]))
            counted = f"{has} cell{'s' * (has != 1)} instead of {self.width}"
            self._refuse(f"line {line} has {counted}", hint="put quotes around cells with separators in them")
        kept = without_blank_lines(block.data, block.ends)
        ends, cuts, _ = marks(kept, self.separator)
        return Block(kept, ends, cuts, block.line, block.size, block.lines, blank=True)

    def _check_text(self, data: bytes, line: int, *, last: bool) -> None:
        if data.isascii():
            return
        try:
            data.decode()
        except UnicodeDecodeError as error:
            if not last and error.start > len(data) - 4 and error.reason == "unexpected end of data":
                return  # a character cut in two by the block's end
            number = line + data.count(NEWLINE, 0, error.start)
            self._refuse(f"line {number} is not UTF-8 (byte 0x{data[error.start]:02x})", hint="save the file as UTF-8")

    def _check_quotes(self, data: bytes, line: int, quotes: np.ndarray, *, last: bool) -> None:
        """Quotes open at a cell's beginning and close at its end; the first quote that does not is an InputError."""
        if not len(quotes) or self.separator is None:
            return
        around = np.frombuffer(b"\n" + data + (b"\n" if last else b'"'), np.uint8)  # what follows a block is unknown
        opening, closing = quotes[::2], quotes[1::2]
        allowed = (NEWLINE, ord(self.separator), QUOTE)
        opens = np.isin(around[opening], allowed)
        opens[1:] &= (around[opening[1:]] != QUOTE) | (closing[: len(opening) - 1] == opening[1:] - 1)
        closes = np.isin(around[closing + 2], (*allowed, RETURN))
        wrong_open = int(opening[~opens][0]) if not opens.all() else len(data)
        wrong_close = int(closing[~closes][0]) if not closes.all() else len(data)
        if wrong_open < wrong_close:
            self._refuse(
                f"line {line + data.count(NEWLINE, 0, wrong_open)} has a quote in the middle of a cell",
                hint='put the cell in quotes and write "" for a quote inside it',
            )
        if wrong_close < len(data):
            begun = opening[opening < wrong_close]
            first = np.flatnonzero(np.concatenate(([True], begun[1:] - 1 != closing[: len(begun) - 1])))[-1]
            number = line + data.count(NEWLINE, 0, int(begun[first]))
            self._refuse(f"the quote opened in line {number} is not closed at the end of its cell")

    def _check_cells(self, block: Block) -> None:
        lengths = np.diff(block.ends, prepend=-1)
        if lengths.max() <= MAX_CELL:
            return
        for row in np.flatnonzero(lengths > MAX_CELL):
            start, end = int(block.ends[row - 1]) + 1 if row else 0, int(block.ends[row])
            first, stop = np.searchsorted(block.cuts, (start, end))
            self._check_row(block.data, block.line, start, block.cuts[first:stop], end)

    def _check_rest(self, data: bytes, line: int) -> None:
        """A row that has not ended yet: refused as soon as it cannot become a good one."""
        if len(data) > MAX_CELL:
            self._check_row(data, line, 0, marks(data, self.separator)[1], len(data))
        if len(data) > MAX_ROW:
            self._refuse(f"the row that begins in line {line} is longer than {MAX_ROW >> 20} MB")

    def _check_row(self, data: bytes, line: int, start: int, cuts: np.ndarray, end: int) -> None:
        bounds = np.concatenate(([start - 1], cuts, [end]))
        for cell in np.flatnonzero(np.diff(bounds) > MAX_CELL).tolist():
            begin, stop = int(bounds[cell]) + 1, int(bounds[cell + 1])
            text = data[begin:stop].decode(errors="ignore")
            if text.startswith('"'):
                text = text[1:].removesuffix('"').replace('""', '"')
            if len(text) <= MAX_CELL:
                continue
            number = line + data.count(NEWLINE, 0, begin)
            column = f"column '{self.names[cell]}'" if self.names and cell < len(self.names) else f"column {cell + 1}"
            if data[begin] == QUOTE and stop == len(data):
                self._refuse(
                    f"the quote opened in line {number}, {column}, is not closed within {MAX_CELL:,} characters"
                )
            self._refuse(f"line {number} has a cell of more than {MAX_CELL:,} characters in {column}")

    def _refuse(self, what: str, hint: str | None = None) -> None:
        raise InputError(what, where=self.path, hint=hint)


def marks(data: bytes, separator: str | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where rows end (R,), where cells end before that (S,), both outside quotes, and where the quotes are."""
    array = np.frombuffer(data, np.uint8)
    ends, none = np.flatnonzero(array == NEWLINE), np.zeros(0, np.int64)
    if separator is None:
        return ends, none, none
    cuts = np.flatnonzero(array == ord(separator))
    if QUOTE not in data:
        return ends, cuts, none
    quote = array == QUOTE
    inside = np.bitwise_xor.accumulate(quote)  # a doubled quote leaves and enters again
    return ends[~inside[ends]], cuts[~inside[cuts]], np.flatnonzero(quote)


def without_blank_lines(data: bytes, ends: np.ndarray) -> bytes:
    """The same rows; `ends` is where each ends, blank ones too."""
    starts, blank = _blank(data, ends)
    rows = zip(starts[~blank].tolist(), ends[~blank].tolist(), strict=True)
    return b"".join(data[start : end + 1] for start, end in rows)


def _blank(data: bytes, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each row begins, and whether it is a blank line."""
    starts = np.concatenate(([0], ends[:-1] + 1))
    first = np.frombuffer(data, np.uint8)[starts]
    return starts, (ends == starts) | ((ends == starts + 1) & (first == RETURN))
