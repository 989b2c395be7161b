"""One pass over a table: rows are coded onto disk while values are counted and numbers measured.

A value's code is provisional: the order in which it was met. After the pass, each field's codes are looked up among the
values that are frequent enough in the training rows (`Codebook`), when rows are read back. So text is hashed once, and
what the disk holds is read without it.

Shapes: N rows, F fields with codes, M numbers, C columns of ids.
"""

from collections.abc import Callable, Sequence
from io import BufferedRandom
from pathlib import Path

import numpy as np
import polars as pl

from attn.core.errors import InputError
from attn.data_adapters.tables.cells import as_labels, as_numbers, canonical, members
from attn.data_adapters.tables.codes import MOST_VALUES, Codebook, Scale, coded, set_of
from attn.data_adapters.tables.fields import LISTS, Field
from attn.data_adapters.tables.knots import knots_of
from attn.data_adapters.tables.open import Table

SAMPLED = 200_000  # training rows whose numbers are kept for knots

PartOf = Callable[[pl.DataFrame, int], np.ndarray]
"""Rows of a table, and how many came before them, to the part that each belongs to (N,); part 0 trains."""


class CodedRows:
    """Rows on disk as codes int32 (N, F), numbers float32 (N, M) and labels uint8 (N,), read by position.

    With `weighted`, also what each row counts for, float32 (N,).
    """

    def __init__(self, folder: Path, fields: Sequence[Field], *, weighted: bool = False) -> None:
        numbers = sum(one.kind == "number" for one in fields)
        shapes = {"codes": (np.int32, len(fields) - numbers), "numbers": (np.float32, numbers), "labels": (np.uint8, 1)}
        shapes["weights"] = (np.float32, int(weighted))
        self.weighted = weighted
        self.weight = 0.0  # of all rows
        self._shapes = {name: shape for name, shape in shapes.items() if shape[1]}
        self.folder = folder
        self.positives = 0
        self._rows = 0
        self._files: dict[str, BufferedRandom] = {}

    def __len__(self) -> int:
        return self._rows

    def append(
        self, codes_nf: np.ndarray, numbers_nm: np.ndarray, labels_n: np.ndarray, weights_n: np.ndarray | None = None
    ) -> None:
        """Add rows at the end."""
        self.folder.mkdir(parents=True, exist_ok=True)
        weights_n = np.ones(len(labels_n), np.float32) if weights_n is None else weights_n
        self.weight += float(weights_n.sum())
        arrays = {"codes": codes_nf, "numbers": numbers_nm, "labels": labels_n, "weights": weights_n}
        for name, array in arrays.items():
            if name in self._shapes:
                if name not in self._files:
                    self._files[name] = (self.folder / name).open("w+b")
                self._files[name].write(np.ascontiguousarray(array, self._shapes[name][0]).data)
        self._rows += len(labels_n)
        self.positives += int(labels_n.sum())

    def close(self) -> None:
        """Let go of the files."""
        for file in self._files.values():
            file.close()

    def read(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Codes, numbers and labels of the rows start to stop - 1."""
        codes_nf, numbers_nm, labels_n1 = (self._read(name, start, stop) for name in ("codes", "numbers", "labels"))
        return codes_nf, numbers_nm, labels_n1[:, 0]

    def weights(self, start: int, stop: int) -> np.ndarray:
        """What the rows count for (stop - start,), so that they count for one in the mean."""
        found: np.ndarray = self._read("weights", start, stop)[:, 0] * np.float32(len(self) / self.weight)
        return found

    def _read(self, name: str, start: int, stop: int) -> np.ndarray:
        dtype, width = self._shapes.get(name, (np.float32, 0))
        found = np.empty((stop - start, width), dtype)
        if width:
            file = self._files[name]
            file.flush()
            file.seek(start * width * np.dtype(dtype).itemsize)
            file.readinto(found.data)
        return found


class Survey:
    """Values met so far with their counts in training rows, and numbers measured."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self.fields = tuple(fields)
        self.coded = [one for one in self.fields if one.kind != "number"]
        self.measured = [one for one in self.fields if one.kind == "number"]
        self._categories = [pl.Categories.random() for _ in self.coded]
        # Categories forget what no series holds any more.
        self._holding = [pl.Series(dtype=pl.Categorical(categories)) for categories in self._categories]
        self._counts = [np.zeros(0, np.int64) for _ in self.coded]
        self._sample: list[np.ndarray] = []  # numbers, and the label as the last column
        self._every, self._seen = 1, 0
        self._moments = np.zeros((3, len(self.measured)))  # how many, sum, sum of squares
        self._range = np.array([[np.inf], [-np.inf]]) * np.ones(len(self.measured))

    def take(self, frame: pl.DataFrame, training_n: np.ndarray, labels_n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Codes (N, F), -1 where empty, and numbers (N, M) of rows; the values of training rows are counted."""
        codes_nf = np.empty((len(frame), len(self.coded)), np.int32)
        for number, one in enumerate(self.coded):
            codes_n, _ = coded(frame[one.column], one, self._categories[number])
            codes_nf[:, number] = codes_n
            self._counts[number] = _added(self._counts[number], codes_n[training_n])
        numbers_nm = np.empty((len(frame), len(self.measured)), np.float64)
        for number, one in enumerate(self.measured):
            numbers_nm[:, number] = as_numbers(frame[one.column], one.decimal)
        numbers_nm = numbers_nm.astype(np.float32)
        self._measure(numbers_nm[training_n].astype(np.float64), labels_n[training_n])
        return codes_nf, numbers_nm

    @property
    def values(self) -> list[pl.Series]:
        """The distinct cells of each coded field by their codes."""
        return [categories.to_series() for categories in self._categories]

    def codebook(self, least: int) -> Codebook:
        """Values that training rows have at least `least` times, and the scales of numbers."""
        vocabularies = {
            one.name: self._frequent(values, _added(counts, np.zeros(0, np.int64), len(values)), one, least)
            for one, values, counts in zip(self.coded, self.values, self._counts, strict=True)
            if one.target is None
        }
        vocabularies |= {one.name: vocabularies[one.target] for one in self.coded if one.target is not None}
        scales = {one.name: self._scale(number, one) for number, one in enumerate(self.measured)}
        longest = {
            one.name: max(1, int(members(values, one)["position"].max() or 0) + 1)  # type: ignore[arg-type]
            for one, values in zip(self.coded, self.values, strict=True)
            if one.kind in LISTS
        }
        fields = [
            one.model_copy(update={"width": min(one.most, longest[one.name])}) if one.name in longest else one
            for one in self.fields
        ]
        return Codebook(tuple(fields), vocabularies, scales)

    def _measure(self, x_nm: np.ndarray, labels_n: np.ndarray) -> None:
        known = np.isfinite(x_nm)
        finite = np.where(known, x_nm, 0.0)
        self._moments += np.stack([known.sum(0), finite.sum(0), (finite**2).sum(0)])
        if len(x_nm):
            self._range[0] = np.minimum(self._range[0], np.where(known, x_nm, np.inf).min(0))
            self._range[1] = np.maximum(self._range[1], np.where(known, x_nm, -np.inf).max(0))
        kept = slice((-self._seen) % self._every, None, self._every)
        self._sample.append(np.column_stack([x_nm[kept], labels_n[kept]]))
        self._seen += len(x_nm)
        if sum(map(len, self._sample)) > SAMPLED:  # every second of those kept, and of those to come
            self._sample = [np.concatenate(self._sample)[::2]]
            self._every *= 2

    def _frequent(self, values: pl.Series, counts_n: np.ndarray, one: Field, least: int) -> pl.Series:
        if one.kind in LISTS:
            each = members(values, one)
            values, counts_n = each["value"], counts_n[each["cell"].to_numpy()]
        table = pl.DataFrame({"value": canonical(values, set_of(one, self.fields), one.keep), "count": counts_n})
        table = table.drop_nulls().group_by("value").agg(pl.col("count").sum())
        table = table.filter(pl.col("count") >= least).sort("count", "value", descending=[True, False])
        return table["value"].head(MOST_VALUES)

    def _scale(self, number: int, one: Field) -> Scale:
        count, total, squares = self._moments[:, number]
        if not count:
            return Scale(low=0, high=0, knots=(0.0,) if one.transform == "quantile" else ())
        mean = total / count
        deviation = max(squares / count - mean**2, 0) ** 0.5 or 1.0
        knots: tuple[float, ...] = ()
        if one.transform == "quantile":
            sample = np.concatenate(self._sample)
            known_n = np.isfinite(sample[:, number])
            knots = knots_of(sample[known_n, number], sample[known_n, -1])
        low, high = self._range[:, number]
        return Scale(low=low, high=high, mean=mean, deviation=deviation, knots=knots)


def _added(counts: np.ndarray, codes_n: np.ndarray, least: int = 0) -> np.ndarray:
    """Counts by code, the codes of further rows added, for `least` codes or more; empty cells are not counted."""
    added = np.bincount(codes_n[codes_n >= 0], minlength=max(len(counts), least))
    added[: len(counts)] += counts
    return added


def survey(
    table: Table,
    fields: Sequence[Field],
    label: str,
    part_of: PartOf,
    parts: Sequence[CodedRows],
    taken: Survey,
    advance: Callable[[int], None] = lambda rows: None,
    weight: str | None = None,
) -> None:
    """Read the table once into `parts`, counting training rows in `taken`; `weight` is a column with their weights.

    Raises InputError for labels other than 0 and 1, for weights that are no number above 0, and for what the table's
    reader cannot read.
    """
    columns = list(dict.fromkeys([label, *(one.column for one in fields), *([weight] if weight else [])]))
    extra = getattr(part_of, "columns", ())  # what the split is made by
    first = 0
    for frame in table.batches([*columns, *(name for name in extra if name not in columns)]):
        labels_n = as_labels(frame[label], table.where, first)
        weights_n = None if weight is None else as_weights(frame[weight], table.where, first)
        part_n = part_of(frame, first)
        codes_nf, numbers_nm = taken.take(frame, part_n == 0, labels_n)
        for number, part in enumerate(parts):
            mine_n = part_n == number
            if mine_n.any():
                own_n = None if weights_n is None else weights_n[mine_n]
                part.append(codes_nf[mine_n], numbers_nm[mine_n], labels_n[mine_n], own_n)
        first += len(frame)
        advance(len(frame))
    if not first:
        raise InputError("has no rows", where=table.where)


def as_weights(cells: pl.Series, where: str, first: int) -> np.ndarray:
    """Weights (N,) float32 above 0. Raises InputError that names the first row, counted from 1, without one."""
    weights_n = as_numbers(cells)
    bad_n = ~(np.isfinite(weights_n) & (weights_n > 0))
    if bad_n.any():
        row = int(bad_n.argmax())
        what = f"the weight {cells.name!r} is {str(cells[row])[:40]!r} in row {first + row + 1}"
        raise InputError(what, where=where, hint="weights are numbers above 0; drop rows that are not to count")
    return weights_n.astype(np.float32)
