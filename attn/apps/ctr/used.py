"""Which rows of a table a model has used: trained on, validated on, calibrated on, or held out.

The record has a hash of every table of the training, and how the rows of the first were dealt to the parts. A table
with that hash is dealt again, so that its rows need no list.

Shapes: N rows.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import polars as pl

from attn.apps.ctr.split import PARTS, TEST, Split, Whole
from attn.core.errors import AttnError
from attn.data_adapters.tables.open import Table
from attn.data_adapters.tables.survey import PartOf


class TableHash:
    """SHA-256 of the cells of some columns as text, row by row, whatever the format of the file."""

    def __init__(self, columns: Iterable[str]) -> None:
        self.columns, self._digest = sorted({*columns}), hashlib.sha256()

    def add(self, frame: pl.DataFrame) -> None:
        """Count further rows."""
        flat = [name for name in self.columns if not frame.schema[name].is_nested()]
        cells = frame.select(self.columns).with_columns(pl.col(flat).cast(pl.String))
        self._digest.update(cells.hash_rows(0).to_numpy().tobytes())

    def text(self) -> str:
        """In hexadecimal."""
        return self._digest.hexdigest()


class Hashed:
    """The parts that `part_of` gives to rows, and a hash of the rows on the way."""

    def __init__(self, part_of: PartOf, columns: Iterable[str]) -> None:
        self.part_of, self.hash = part_of, TableHash(columns)
        self.columns = getattr(part_of, "columns", ())

    def __call__(self, frame: pl.DataFrame, first: int) -> np.ndarray:
        """Parts (N,)."""
        self.hash.add(frame)
        return self.part_of(frame, first)


def parts_again(data: Mapping[str, Any], table: Table) -> PartOf:
    """How the rows of `table` were dealt if it is the table of the training; a record may come from anybody."""
    split = data.get("split")
    try:
        return Split(**split).part_of(table) if isinstance(split, dict) else Whole(TEST)
    except (AttnError, TypeError, ValueError):
        return Whole(TEST)  # without the column of the split it is another table


def use_of(data: Mapping[str, Any], calibration: Mapping[str, Any], found: str) -> str | None:
    """What the table with the hash `found` was to the training: table, validation, test or calibration; else None."""
    if calibration.get("used") == found:
        return "calibration"
    tables = data.get("tables")
    names = ("table", *PARTS[1:])
    return next((name for name in names if isinstance(tables, dict) and tables.get(name) == found), None)
