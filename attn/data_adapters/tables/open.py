"""Click logs and other tables: CSV, TSV, Parquet, Arrow, libsvm, and layouts that are published.

A table is read front to back in batches, in file order, in bounded memory, as often as needed. Its types hold for
every row (`delimited`, `columnar`), and what is wrong with a file is one InputError with its place.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from attn.core.errors import InputError, UsageError
from attn.data_adapters.tables.columnar import MAGIC, ColumnarSource
from attn.data_adapters.tables.delimited import CsvSource
from attn.data_adapters.tables.files import SUFFIXES, files_of, keys_of, kind_of
from attn.data_adapters.tables.layouts import CRITEO, FRAPPE, LAYOUTS, MOVIELENS, Layout, layout_of
from attn.data_adapters.tables.movielens import MovieLensSource, movielens_folder
from attn.data_adapters.tables.source import Source, query, reading, rebatch, span
from attn.data_adapters.tables.sparse import LINE, SparseSource

__all__ = ["Table", "open_table", "reading"]

FORMATS = (*dict.fromkeys(SUFFIXES.values()), *LAYOUTS)


@dataclass(frozen=True)
class Table:
    """A table that can be read many times.

    where: what it was opened from, for messages. columns: in file order. label: the label column that a known layout
    has. multi: columns known to be multi-valued, and their separator. dates: columns known to be timestamps, and their
    strptime format. ids: columns that name the row and do not describe it. declared: the kinds of columns whose type
    says one.
    """

    where: str
    columns: tuple[str, ...]
    label: str | None
    multi: Mapping[str, str]
    dates: Mapping[str, str]
    ids: tuple[str, ...]
    source: Source = field(repr=False, compare=False)
    declared: Mapping[str, str] = field(default_factory=dict)

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """The type of every column."""
        return dict(self.source.schema)

    def batches(self, columns: Sequence[str] | None = None, rows: int = 250_000) -> Iterator[pl.DataFrame]:
        """All rows in file order, `rows` at a time. InputError: a fault in a file, an unknown column."""
        wanted = list(self.columns if columns is None else columns)
        for name in wanted:
            if name not in self.columns:
                raise InputError(f"has no column '{name}'", where=self.where)
        with reading(self):
            yield from rebatch(self.source.frames(wanted, max(rows, span(wanted))), rows)

    def lazy(self) -> pl.LazyFrame:
        """The table for a query; collect it within `reading(table)`."""
        return query(self.source)

    def head(self, rows: int) -> pl.DataFrame:
        """The first rows."""
        with reading(self):
            frames = rebatch(self.source.frames(self.columns, max(1, rows)), max(1, rows))
            return next(frames, pl.DataFrame(schema=self.schema)).head(rows)

    def rows(self) -> int:
        """The number of rows."""
        with reading(self):
            return self.source.rows()


def open_table(
    source: str | Path | Sequence[str | Path],
    *,
    format: str | None = None,
    columns: Sequence[str] | None = None,
    text: Collection[str] = (),
) -> Table:
    """A table from a file, a folder, a glob, or several of them with the same columns.

    format: one of FORMATS, instead of what suffix and content say. columns: names that are known already (a model's);
    a file without a header gets them when their number agrees. text: columns to leave as they are written even when
    they look like numbers.

    InputError: nothing there, files that differ, and the faults of a file that are found before a row is asked for
    (every fault of a text file, and of a Parquet file what its headers show). UsageError: an unknown format.
    """
    if format is not None and format not in FORMATS:
        raise UsageError(f"there is no table format '{format}'", hint=f"one of {', '.join(FORMATS)}")
    sources = [source] if isinstance(source, str | Path) else list(source)
    where = ", ".join(map(str, sources[:3])) + (f" and {len(sources) - 3} more" if len(sources) > 3 else "")
    with reading(where):
        folder = movielens_folder(sources, asked=format == MOVIELENS.name) if format in (None, MOVIELENS.name) else None
        if folder is not None:
            return _table(where, MovieLensSource(folder), MOVIELENS)
        found = [(path, keys_of(path, each, columns or ())) for each in sources for path in files_of(each)]
        paths = [path for path, _ in found]
        kinds = [kind_of(path, format if format in SUFFIXES.values() else None) for path in paths]
    for path, kind in zip(paths, kinds, strict=True):
        if kind != kinds[0]:
            raise InputError(f"is {kind}, but {paths[0]} is {kinds[0]}", where=path)
    layout = LAYOUTS.get(format or "")
    if kinds[0] in MAGIC:
        return _table(where, ColumnarSource(paths, kinds[0], [keys for _, keys in found]), layout)
    if kinds[0] in LINE:
        sparse = SparseSource(paths, kinds[0], expected=columns, layout=layout)
        return _table(where, sparse, sparse.layout)
    tabs = kinds[0] == "tsv" or layout in (CRITEO, FRAPPE)
    delimited = CsvSource(paths, expected=columns, layout=layout, text=text, tabs=tabs)
    return _table(where, delimited, delimited.layout)


def _table(where: str, source: Source, layout: Layout | None) -> Table:
    columns = tuple(source.schema)
    layout = layout or layout_of(columns) or Layout("", ())
    return Table(
        where,
        columns,
        label=layout.label if layout.label in columns else None,
        multi=getattr(source, "multi", {}) | {name: each for name, each in layout.multi.items() if name in columns},
        dates={name: form for name, form in layout.dates.items() if name in columns},
        ids=tuple(name for name in layout.ids if name in columns),
        source=source,
        declared=getattr(source, "declared", {}),
    )
