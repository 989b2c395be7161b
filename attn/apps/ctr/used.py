"""Which rows of a table a model has used: trained on, validated on, calibrated on, or held out.

The record has a hash of every table of the training, and how the rows of the first were dealt to the parts. A table
with that hash is dealt again, so that its rows need no list. For other tables the record has the hashes of a sample of
the rows that were used, which tells how many rows of a table the model has seen, but not which.

Shapes: N rows, S sample.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import UInt64

from attn.apps.ctr.split import PARTS, TEST, Split, Whole
from attn.core.errors import AttnError
from attn.core.models.used import USES, texts
from attn.data_adapters.tables.open import Table
from attn.data_adapters.tables.row_hashes import row_hashes
from attn.data_adapters.tables.survey import PartOf

HASH = "rows:"  # a table's hash without it is of an earlier attn
SAMPLE = 1024

Hashes = UInt64[np.ndarray, " N"]
Sample = UInt64[np.ndarray, " S"]


class Hashed:
    """The parts that `part_of` gives to rows, and on the way a hash of the cells of some columns, row by row.

    `samples` are those of the rows used and of the rows for the test; `last` the hashes of the rows of the last call.
    """

    def __init__(self, part_of: PartOf, columns: Iterable[str]) -> None:
        self.part_of, self.hashed, self._digest = part_of, sorted({*columns}), hashlib.blake2b(digest_size=16)
        self.columns = getattr(part_of, "columns", ())
        self.last: Hashes = np.zeros(0, np.uint64)
        self.rows, self._sum = 0, 0
        self.samples: tuple[Sample, Sample] = self.last, self.last

    def __call__(self, frame: pl.DataFrame, first: int) -> np.ndarray:
        """Parts (N,)."""
        parts_n, self.last = self.part_of(frame, first), row_hashes(frame.select(self.hashed))
        self._digest.update(self.last.astype("<u8").tobytes())
        self.rows, self._sum = self.rows + len(self.last), (self._sum + int(self.last.sum(dtype=np.uint64))) % 2**64
        used, tested = self.samples
        self.samples = _more(used, self.last[parts_n != TEST]), _more(tested, self.last[parts_n == TEST])
        return parts_n

    def text(self) -> str:
        """The hash of all rows, in their order."""
        return HASH + self._digest.hexdigest()

    def same_rows(self, other: "Hashed") -> bool:
        """Whether another table has the same rows, each as often, in whatever order."""
        return (self.rows, self._sum) == (other.rows, other._sum)


def sampled(*hashes: Hashes) -> Sample:
    """The least hashes: a sample of the different rows, the same wherever those rows are (Cohen and Kaplan 2007)."""
    return np.unique(np.concatenate(hashes))[:SAMPLE]


def _more(sample_s: Sample, hashes_n: Hashes) -> Sample:
    """The sample of further rows as well; most are above a full one, and need no sorting."""
    return sampled(sample_s, hashes_n if len(sample_s) < SAMPLE else hashes_n[hashes_n < sample_s[-1]])


def overlap(hashes_n: Hashes, sample_s: Sample) -> tuple[int, int]:
    """How many of the rows are in a sample of used rows, and how many there would be if all of them had been used."""
    drawn = hashes_n if len(sample_s) < SAMPLE else hashes_n[hashes_n <= sample_s[-1]]
    return int(np.isin(drawn, sample_s).sum()), len(drawn)


def written(sample_s: Sample) -> list[str]:
    """A sample as a record keeps it."""
    return [f"{value:016x}" for value in sample_s.tolist()]


def sample_in(values: Any, name: str) -> Sample:
    """The inverse of `written`; of a record that anybody may have written, empty where it is no sample."""
    try:
        return sampled(np.array([int(text, 16) for text in texts(values, name)], np.uint64))
    except (ValueError, OverflowError):
        return np.zeros(0, np.uint64)


def shared_rows(hashes_n: Hashes, samples: Mapping[str, Sample]) -> str:
    """A clause for `measured_on` about those of the rows (N,) that equal used rows; `samples` are of keys of USES."""
    counted = [(*overlap(hashes_n, sample_s), USES[use]) for use, sample_s in samples.items()]
    return "".join(f"; {seen} of {of} sampled rows equal rows {words}" for seen, of, words in counted if seen)


def parts_again(data: Mapping[str, Any], table: Table) -> PartOf:
    """How the rows of `table` were dealt if it is the table of the training; a record may come from anybody."""
    split = data.get("split")
    try:
        return Split(**split).part_of(table) if isinstance(split, dict) else Whole(TEST)
    except (AttnError, TypeError, ValueError):
        return Whole(TEST)  # without the column of the split it is another table


def use_of(data: Mapping[str, Any], calibration: Mapping[str, Any], found: str) -> str | None:
    """What the table with the hash `found` was to the training: table, validation, test or calibration; else None.

    A table that the model was both trained and calibrated on is "table".
    """
    tables = data.get("tables")
    names = ("table", *PARTS[1:])
    known = next((name for name in names if isinstance(tables, dict) and tables.get(name) == found), None)
    return "calibration" if calibration.get("used") == found and known != "table" else known


def is_told(data: Mapping[str, Any]) -> bool:
    """Whether a record tells which table its model was trained on, in hashes of today."""
    tables = data.get("tables")
    return isinstance(tables, dict) and str(tables.get("table")).startswith(HASH)
