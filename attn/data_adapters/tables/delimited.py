"""Delimited text (CSV, TSV; plain, .gz, .zst) as a table whose types hold for every row.

Opening a file reads it once: faults are found then, with their line, before anything is made of the rows; the type
of a column holds for all rows. A column is Int64, Float64 (with nan and inf), Boolean (true, false) or else String.
Whole numbers with leading zeros or beyond 64 bits are codes: their column is String, and so is an empty column.
A table of up to HELD_BYTES is kept from that pass; a larger one is read again in blocks.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from attn.core.errors import InputError
from attn.data_adapters.tables.header import Header, header_of, separator_of
from attn.data_adapters.tables.layouts import Layout
from attn.data_adapters.tables.rows import QUOTE, Block, RowReader, marks, opened, without_blank_lines
from attn.data_adapters.tables.source import check_names, check_same, reading

HELD_BYTES = 160 << 20
SAMPLE_CELLS = 20_000  # to recognise a header in
HEAD = 1 << 16  # bytes to recognise a separator in
ZERO = ord("0")
PARSED = (pl.Int64, pl.Float64, pl.Boolean)  # types that are not the text as it is written

Types = dict[str, pl.DataType | None]  # None: nothing but empty cells so far


@dataclass(frozen=True)
class _Piece:
    """One block as the second pass finds it again: bytes of the file, rows, and whether blank lines are left out."""

    size: int
    rows: int
    blank: bool


@dataclass
class _File:
    """One file after the first pass."""

    path: Path
    separator: str
    header: Header
    pieces: list[_Piece] = field(default_factory=list)


class CsvSource:
    """Delimited text files with the same columns.

    expected: columns that the caller knows, for files without a header. layout: the published layout that the caller
    names. text: columns to leave as they are written. tabs: tabs are likelier than commas.
    Attributes: `schema`, the type of each column; `layout`, the published layout that was found.
    InputError: any fault of any file, with its line.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        expected: Sequence[str] | None = None,
        layout: Layout | None = None,
        text: Collection[str] = (),
        tabs: bool = False,
    ) -> None:
        self._expected, self._layout, self._text, self._tabs = expected, layout, frozenset(text), tabs
        self._files: list[_File] = []
        self._held: list[pl.DataFrame] | None = []
        self._held_bytes = 0
        self._types: Types = {}
        full = [
            path for path in paths if path.stat().st_size
        ] or paths  # a writer with nothing to say leaves an empty file
        for path in full:
            with reading(path):
                self._survey(path)
        self.layout = self._files[0].header.layout
        self.schema: dict[str, pl.DataType] = {name: kind or pl.String() for name, kind in self._types.items()}
        if self._held is not None:
            self._held = [frame.select(list(self.schema)).cast(pl.Schema(self.schema)) for frame in self._held]

    def frames(self, columns: Sequence[str], rows: int) -> Iterator[pl.DataFrame]:
        """A frame for each block of the files, or the held ones."""
        if self._held is not None:
            yield from (frame.select(columns) for frame in self._held)
            return
        for file in self._files:
            with reading(file.path), opened(file.path) as opening:
                for index, piece in enumerate(file.pieces):
                    data = opening.read(piece.size)
                    if piece.blank:
                        data = without_blank_lines(data, marks(data, file.separator)[0])
                    frame = self._parse(data, file, self._types, columns, header=file.header.present and index == 0)
                    if frame.height != piece.rows:
                        raise InputError("was changed while it was read", where=file.path)
                    yield frame

    def rows(self) -> int:
        """Counted in the first pass."""
        return sum(piece.rows for file in self._files for piece in file.pieces)

    def _survey(self, path: Path) -> None:
        """The first pass over a file: its faults, its header, its blocks, and types that all its rows fit."""
        with opened(path) as opening:
            head = opening.read(HEAD).decode(errors="replace")
        separator = separator_of(head, tabs=self._tabs)
        reader = RowReader(path, separator)
        file: _File | None = None
        for block in reader:
            if file is None:
                header = self._header(path, _sample(block, separator, reader.width or 1))
                reader.names = header.names
                file = _File(path, separator, header)
                self._files.append(file)
                block = block.without_first() if header.present else block
            self._add(file, block)
        if file is None:
            raise InputError("is empty", where=path)

    def _header(self, path: Path, sample: pl.DataFrame) -> Header:
        if sample.width == 1 and not sample.to_series().count():
            raise InputError("is empty", where=path)
        known = self._files[0].header.names if self._files else self._expected
        header = header_of(sample.rows(), path, expected=known, layout=self._layout)
        check_names(header.names, path)
        if self._files:
            check_same(header.names, self._files[0].header.names, path, self._files[0].path)
        else:
            codes = self._text | (header.layout.text if header.layout else frozenset())
            self._types = {name: pl.String() if name in codes else None for name in header.names}
        return header

    def _add(self, file: _File, block: Block) -> None:
        """Note a block: its place in the file, the types that its rows need, and its rows while they are held."""
        file.pieces.append(_Piece(block.size, block.rows, block.blank))
        if not block.rows:
            return
        types, frame = self._widened(file, block)
        became_text = [name for name in types if types[name] == pl.String and self._types[name] in PARSED]
        self._types = types
        if became_text:
            self._held = None  # the frames held so far do not say how their numbers were written
        if self._held is not None:
            self._held.append(frame)
            self._held_bytes += _bytes(frame)
            if self._held_bytes > HELD_BYTES:
                self._held = None

    def _widened(self, file: _File, block: Block) -> tuple[Types, pl.DataFrame]:
        """The narrowest types that hold all rows up to this block, and the block's rows in them."""
        types: Types = {**self._types, **dict.fromkeys(_padded(block, file.header.names, self._types), pl.String())}
        frame = self._fitting(block, file, types)
        if frame is not None and not any(types[name] is None and frame[name].count() for name in types):
            return types, frame
        texts = _read(block.data, file.separator, dict.fromkeys(file.header.names, pl.String()))
        for name in types:
            types[name] = _wider(types[name], texts[name])
            if types[name] == pl.String and self._types[name] in PARSED:
                self._check_header_again(file, block, texts, name)
        return types, self._parse(block.data, file, types)

    def _fitting(self, block: Block, file: _File, types: Types) -> pl.DataFrame | None:
        try:
            return self._parse(block.data, file, types)
        except pl.exceptions.ComputeError:
            return None

    def _parse(
        self, data: bytes, file: _File, types: Types, columns: Sequence[str] | None = None, *, header: bool = False
    ) -> pl.DataFrame:
        names = file.header.names
        wanted = None if columns is None else sorted(names.index(name) for name in columns)
        schema = {name: types[name] or pl.String() for name in names}
        return _read(data, file.separator, schema, wanted, skip=int(header)).select(columns or list(types))

    def _check_header_again(self, file: _File, block: Block, texts: pl.DataFrame, name: str) -> None:
        row = texts[name].index_of(name)
        if row is not None and texts.row(row) == file.header.names:
            line = block.line + block.lines - block.rows + row
            raise InputError(f"line {line} repeats the header", where=file.path, hint="take out that line")


def _sample(block: Block, separator: str, width: int) -> pl.DataFrame:
    schema: dict[str, pl.DataType] = {str(column): pl.String() for column in range(width)}
    return _read(block.head(2 + SAMPLE_CELLS // width), separator, schema)


def _read(
    data: bytes, separator: str, schema: dict[str, pl.DataType], columns: list[int] | None = None, *, skip: int = 0
) -> pl.DataFrame:
    """Rows that are known to be whole. An empty cell is null, also in quotes."""
    return pl.read_csv(
        data,
        has_header=False,
        skip_rows=skip,
        schema=schema,
        columns=columns,
        separator=separator,
        quote_char='"' if QUOTE in data else None,
        null_values="" if b'""' in data else None,
        raise_if_empty=False,
    )


def _bytes(frame: pl.DataFrame) -> int:
    """Memory of a frame; polars counts of a text its characters, not the 16 bytes that point to them."""
    return int(frame.estimated_size()) + 16 * frame.height * sum(kind == pl.String for kind in frame.dtypes)


def _wider(kind: pl.DataType | None, texts: pl.Series) -> pl.DataType | None:
    """The narrowest type that holds all there was before and these texts."""
    found = None if kind == pl.String else _narrowest(texts)
    if kind is None or found is None or kind == found:
        return kind or found
    return pl.Float64() if {kind, found} == {pl.Int64(), pl.Float64()} else pl.String()


def _narrowest(texts: pl.Series) -> pl.DataType | None:
    texts = texts.drop_nulls()
    if not len(texts):
        return None
    if texts.is_in(["true", "false", "True", "False"]).all():
        return pl.Boolean()
    if not texts.cast(pl.Int64, strict=False).has_nulls():
        return pl.Int64()
    if texts.cast(pl.Float64, strict=False).has_nulls() or texts.str.contains(r"^[+-]?\d+$").all():
        return pl.String()
    return pl.Float64()


def _padded(block: Block, names: Sequence[str], types: Types) -> list[str]:
    """The columns with a number that has leading zeros, except columns that are text already."""
    data = np.frombuffer(block.data, np.uint8)
    quoted = QUOTE in block.data
    padded = []
    for column, name in enumerate(names):
        if types[name] == pl.String:
            continue
        starts = block.cuts[column - 1 :: len(names) - 1] + 1 if column else np.append(0, block.ends[:-1] + 1)
        if quoted:
            starts += data[starts] == QUOTE
        zero = starts[data[starts] == ZERO]
        if (data[zero + 1] - ZERO < 10).any():  # uint8 wraps around below "0"
            padded.append(name)
    return padded
