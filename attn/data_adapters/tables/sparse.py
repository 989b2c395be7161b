"""Sparse text: libsvm and libFM (`label index:value ...`), libffm (`label field:index:value ...`), as columns.

What the entries of a line mean follows from all of them:

- libffm: one column a field. `value_F`, a number, where the field has one index only; else `field_F`, the index as
  a category (its value is dropped), and several indices of a line as one text, joined by `|`.
- libsvm, the same number of entries in every line, and at each position either all values 1 or one index only (one-hot
  rows, Criteo's libsvm files): `field_J`, the index at position J (from 1) as a category, or `index_I`, a number.
- other libsvm: `index_I`, a number for each index, 0 where a line does not have it; at most MAX_INDICES of them.

Columns that the caller expects decide instead, so that a file of few lines reads as the one the model was trained on.
A label -1 or 1 is 0 or 1. A line may have no label in a file where the first one has none. Frappe's libFM files
(He and Chua 2017) get that table's names.

Shapes: L lines, E entries of a block.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from attn.core.errors import InputError
from attn.data_adapters.tables.layouts import FRAPPE, Layout
from attn.data_adapters.tables.rows import Block, RowReader
from attn.data_adapters.tables.source import reading

MAX_INDICES = 1_000
JOINT = "|"
ENTRY = {"libsvm": "index:value", "libffm": "field:index:value"}
NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
LINE = {
    "libsvm": re.compile(rf"({NUMBER}\s+)?(\d+:{NUMBER})(\s+\d+:{NUMBER})*\s*(#.*)?"),
    "libffm": re.compile(rf"({NUMBER}\s+)?(\d+:\d+:{NUMBER})(\s+\d+:\d+:{NUMBER})*\s*(#.*)?"),
}


def sparse_kind(line: str) -> str | None:
    """The format of a line, libsvm or libffm; None for anything else."""
    return next((kind for kind, pattern in LINE.items() if pattern.fullmatch(line.strip())), None)


ZERO_ONE = ({0.0}, {1.0}, {0.0, 1.0}, {-1.0}, {-1.0, 1.0})  # labels that are classes


@dataclass(frozen=True, eq=False)
class _Entries:
    """A block of lines.

    labels: (L,) or None. counts: (L,) entries of each line. groups: (E,) the field of each entry in libffm, its
    position from 1 in libsvm. index, values: (E,).
    """

    labels: np.ndarray | None
    counts: np.ndarray
    groups: np.ndarray
    index: np.ndarray
    values: np.ndarray

    @property
    def lines(self) -> np.ndarray:
        """(E,) the line of each entry."""
        return np.repeat(np.arange(len(self.counts)), self.counts)


@dataclass
class _Facts:
    """What all lines have in common. index: the only one of each group, or None when it has several."""

    rows: int = 0
    labels: set[float] = field(default_factory=set)
    counts: set[int] = field(default_factory=set)
    index: dict[int, int | None] = field(default_factory=dict)
    ones: dict[int, bool] = field(default_factory=dict)
    repeated: set[int] = field(default_factory=set)
    indices: set[int] = field(default_factory=set)

    def add(self, entries: _Entries) -> None:
        self.rows += len(entries.counts)
        if entries.labels is not None and len(self.labels) <= 2:
            self.labels.update(np.unique(entries.labels).tolist())
        if len(self.counts) <= 1:
            self.counts.update(np.unique(entries.counts).tolist())
        if len(self.indices) <= MAX_INDICES:
            self.indices.update(np.unique(entries.index).tolist())
        for group, at in _runs(entries.groups).items():
            if len(self.index) > MAX_INDICES:
                return
            index, lines = entries.index[at], entries.lines[at]
            only = int(index[0]) if (index == index[0]).all() else None
            self.index[group] = only if self.index.get(group, only) == only else None
            self.ones[group] = self.ones.get(group, True) and bool((entries.values[at] == 1).all())
            if (lines[1:] == lines[:-1]).any():
                self.repeated.add(group)


def _runs(keys: np.ndarray) -> dict[int, np.ndarray]:
    """Where each key is, in order."""
    if not len(keys):
        return {}
    order = np.argsort(keys, kind="stable")
    values, starts = np.unique(keys[order], return_index=True)
    return dict(zip(values.tolist(), np.split(order, starts[1:]), strict=True))


@dataclass(frozen=True)
class _Column:
    """How a column is made. key: a group, or an index of libsvm when `sparse`, whose lines without it are 0."""

    name: str
    key: int
    number: bool = False
    joint: bool = False
    sparse: bool = False

    def of(self, entries: _Entries, at: np.ndarray) -> pl.Series:
        """The column of a block, (L,); `at`: which entries are of the key."""
        lines, rows = entries.lines[at], len(entries.counts)
        if self.joint:
            texts = pl.DataFrame({"line": lines, "text": entries.index[at]}).with_columns(
                pl.col("text").cast(pl.String)
            )
            joined = texts.group_by("line", maintain_order=True).agg(pl.col("text").str.join(JOINT))
            return pl.DataFrame({"line": np.arange(rows)}).join(joined, on="line", how="left", maintain_order="left")[
                "text"
            ]
        out = np.zeros(rows, np.float64 if self.number else np.int64)
        out[lines] = entries.values[at] if self.number else entries.index[at]
        if self.sparse:
            return pl.Series(out)
        there = np.zeros(rows, bool)
        there[lines] = True
        return pl.select(pl.when(pl.Series(there)).then(pl.Series(out))).to_series()


class SparseSource:
    """Sparse text files; schema: the type of each column, layout: what is known of them.

    kind: libsvm or libffm. InputError: a line that is not of the kind, with its number; too many columns.
    """

    def __init__(
        self, paths: Sequence[Path], kind: str, *, expected: Sequence[str] | None = None, layout: Layout | None = None
    ) -> None:
        self._paths, self._kind = paths, kind
        self._labelled: dict[Path, bool] = {}
        self._facts = _Facts()
        for path in paths:
            for entries in self._blocks(path):
                self._facts.add(entries)
        if not self._facts.rows:
            raise InputError("is empty", where=paths[0])
        self._columns = self._plan(expected or (), layout)
        labelled = all(self._labelled.values())
        if labelled != any(self._labelled.values()):
            raise InputError("has no label, but other files have", where=min(paths, key=self._labelled.__getitem__))
        multi = {column.name: JOINT for column in self._columns if column.joint}
        names = tuple(column.name for column in self._columns)
        self.layout = Layout(kind, ("label",) * labelled + names, label="label", multi=multi)
        types = {c.name: pl.String() if c.joint else pl.Float64() if c.number else pl.Int64() for c in self._columns}
        label = {"label": pl.Int8() if self._facts.labels in ZERO_ONE else pl.Float64()} if labelled else {}
        self.schema: dict[str, pl.DataType] = {**label, **types}

    def frames(self, columns: Sequence[str], rows: int) -> Iterator[pl.DataFrame]:
        """A frame for each block."""
        for path in self._paths:
            for entries in self._blocks(path):
                yield self._frame(entries, columns)

    def rows(self) -> int:
        """Counted when the files were opened."""
        return self._facts.rows

    def _plan(self, expected: Sequence[str], layout: Layout | None) -> list[_Column]:
        """One column a field, a position or an index: the three cases of the module's docstring."""
        if (asked := self._asked(expected)) is not None:
            return asked
        if self._kind == "libffm":
            return self._by_field()
        facts = self._facts
        if len(facts.counts) == 1 and all(facts.ones[g] or facts.index[g] is not None for g in facts.index):
            return self._by_position(layout)
        return self._by_index()

    def _by_field(self) -> list[_Column]:
        if len(self._facts.index) > MAX_INDICES:
            raise InputError(f"has more than {MAX_INDICES:,} fields", where=self._paths[0])
        return [self._field(group) for group in sorted(self._facts.index)]

    def _by_position(self, layout: Layout | None) -> list[_Column]:
        facts, where = self._facts, self._paths[0]
        groups = sorted(facts.index)
        context = FRAPPE.without_label()
        if layout is FRAPPE or ("frappe" in where.name.lower() and len(groups) == len(context)):
            if len(groups) != len(context) or not all(facts.ones.values()):
                raise InputError(f"has {len(groups)} entries in a line; Frappe has {len(context)}, all 1", where=where)
            return [_Column(name, group) for name, group in zip(context, groups, strict=True)]
        return [_Column(f"field_{g}", g) if facts.ones[g] else self._index(facts.index[g]) for g in groups]

    def _by_index(self) -> list[_Column]:
        if len(self._facts.indices) > MAX_INDICES:
            message = f"has more than {MAX_INDICES:,} indices, which would each be a column of numbers"
            hint = "write one entry for each field, in the same order, or libffm"
            raise InputError(message, where=self._paths[0], hint=hint)
        return [self._index(index) for index in sorted(self._facts.indices)]

    def _asked(self, expected: Sequence[str]) -> list[_Column] | None:
        """The columns the caller expects, when this module makes columns of such names."""
        context = FRAPPE.without_label()
        if self._kind == "libsvm" and set(context) <= set(expected):
            return [_Column(name, position) for position, name in enumerate(context, 1)]
        named = [match for name in expected if (match := re.fullmatch(r"(field|value|index)_(\d+)", name))]
        columns = []
        for match in named:
            key = int(match[2])
            if match[1] == "index":
                columns.append(self._index(key))
            else:
                joint = self._kind == "libffm" and match[1] == "field" and key in self._facts.repeated
                columns.append(_Column(match[0], key, number=match[1] == "value", joint=joint))
        return columns or None

    def _field(self, group: int) -> _Column:
        if group in self._facts.repeated:
            return _Column(f"field_{group}", group, joint=True)
        if self._facts.index[group] is not None and not self._facts.ones[group]:
            return _Column(f"value_{group}", group, number=True)
        return _Column(f"field_{group}", group)

    @staticmethod
    def _index(index: int | None) -> _Column:
        assert index is not None
        return _Column(f"index_{index}", index, number=True, sparse=True)

    def _frame(self, entries: _Entries, wanted: Sequence[str]) -> pl.DataFrame:
        groups, indices = _runs(entries.groups), _runs(entries.index)
        none = np.zeros(0, np.int64)
        made = {
            column.name: column.of(entries, (indices if column.sparse else groups).get(column.key, none))
            for column in self._columns
            if column.name in wanted
        }
        if "label" in wanted:
            assert entries.labels is not None
            signs = self._facts.labels <= {-1.0, 1.0}
            made["label"] = pl.Series((entries.labels > 0).astype(np.float64) if signs else entries.labels)
        return pl.DataFrame({name: made[name].cast(self.schema[name]) for name in wanted})

    def _blocks(self, path: Path) -> Iterator[_Entries]:
        with reading(path):
            for block in RowReader(path, None):
                yield self._entries(path, block)

    def _entries(self, path: Path, block: Block) -> _Entries:
        text = re.sub(r"[ \t\r]+", " ", block.data.decode())
        lines = pl.Series(text.split("\n")[:-1], dtype=pl.String).str.replace(r"#.*", "").str.strip_chars(" ")
        numbers = (lines != "").arg_true() + block.line
        lines = lines.filter(lines != "")
        cells = lines.str.split(" ")
        if len(lines):
            self._labelled.setdefault(path, ":" not in cells[0][0])
        labelled = self._labelled.get(path, True)
        counts = cells.list.len().to_numpy().astype(np.int64) - labelled
        entries = (cells.list.slice(1) if labelled else cells).explode().drop_nulls()
        names = ENTRY[self._kind].split(":")
        parts = entries.str.splitn(":", len(names)).struct.rename_fields(names).struct.unnest()
        numeric = parts.select(
            pl.all().exclude("value").cast(pl.Int64, strict=False), pl.col("value").cast(pl.Float64, strict=False)
        )
        if labelled and (labels := cells.list.first().cast(pl.Float64, strict=False)).has_nulls():
            at = int(labels.is_null().arg_true()[0])
            raise InputError(f"line {numbers[at]} begins with '{cells[at][0][:40]}', which is no label", where=path)
        if (broken := numeric.select(pl.any_horizontal(pl.all().is_null())).to_series()).any():
            at = int(broken.arg_true()[0])
            number = numbers[int(np.repeat(np.arange(len(counts)), counts)[at])]
            raise InputError(f"line {number} has '{entries[at][:40]}', which is not {ENTRY[self._kind]}", where=path)
        index = numeric["index"].to_numpy()
        starts = np.cumsum(counts) - counts
        groups = (
            numeric["field"].to_numpy()
            if self._kind == "libffm"
            else np.arange(len(index)) - np.repeat(starts, counts) + 1
        )
        return _Entries(labels.to_numpy() if labelled else None, counts, groups, index, numeric["value"].to_numpy())
