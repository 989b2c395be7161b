"""A small click log with a field of every kind, for the tests of fields and of codes."""

from pathlib import Path

import numpy as np
import polars as pl

from attn.data_adapters.tables.fields import Field
from attn.data_adapters.tables.open import Table, open_table

FIELDS = (
    Field(name="site", column="site", kind="category"),
    Field(name="tags", column="tags", kind="multi", separator="|"),
    Field(name="price", column="price", kind="number"),
    Field(name="size", column="size", kind="number", transform="standard"),
    Field(name="hits", column="hits", kind="number", transform="log2"),
    Field(name="at: hour", column="at", kind="time", part="hour"),
    Field(name="at: weekday", column="at", kind="time", part="weekday"),
)


def log(rows: int = 500) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    hours = rng.integers(0, 240, rows)
    return pl.DataFrame(
        {
            "click": rng.integers(0, 2, rows),
            "site": [None if n == 9 else f"s{n}" for n in rng.integers(0, 10, rows)],
            "tags": ["|".join(rng.choice(list("abcd"), rng.integers(0, 4), replace=False)) for _ in range(rows)],
            "price": [None if rng.random() < 0.1 else round(rng.lognormal(), 3) for _ in range(rows)],
            "size": rng.normal(5, 2, rows),
            "hits": rng.integers(0, 1000, rows).astype(float),
            "at": [f"2026-03-{1 + n // 24:02} {n % 24:02}:30:00" for n in hours],
        }
    )


def table_of(frame: pl.DataFrame, folder: Path, name: str = "t.parquet") -> Table:
    frame.write_parquet(folder / name)
    return open_table(folder / name)
