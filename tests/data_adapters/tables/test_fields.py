"""Fields are guessed from a sample, and corrected in TOML."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from attn.core.errors import InputError
from attn.data_adapters.tables.fields import Field, infer_fields, override
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


def test_fields_are_guessed(tmp_path: Path):
    frame = log().with_columns(user_id=pl.int_range(pl.len()), many=pl.Series(np.arange(500) * 7 % 1501))
    big = pl.concat([frame.with_columns(many=pl.col("many") + 500 * n) for n in range(4)])
    table = table_of(big, tmp_path)
    kinds = {one.name: one.kind for one in infer_fields(table, "click", table.head(10_000))}
    assert kinds == {
        "site": "category",
        "tags": "multi",
        "tags as a whole": "category",
        "price": "number",
        "size": "number",
        "hits": "number",
        "at: hour": "time",
        "at: weekday": "time",
        "user_id": "category",
        "many": "number",
    }


def test_a_toml_file_corrects_the_guess(tmp_path: Path):
    path = tmp_path / "fields.toml"
    path.write_text('[price]\ntransform = "log2"\n["site too"]\ncolumn = "site"\n[size]\nkind = "ignore"\n')
    found = {one.name: one for one in override(FIELDS, path, ["site", "tags", "price", "size", "hits", "at"])}
    assert found["price"].transform == "log2" and found["site too"].kind == "category" and "size" not in found


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[price\n", "is not TOML"),
        ("price = 1\n", "price is not a section"),
        ('[price]\nkind = "colour"\n', "kind"),
        ("[price]\nkindd = 1\n", "kindd"),
        ('[new]\ncolumn = "gone"\n', "'gone', which is not there"),
    ],
)
def test_a_toml_file_that_means_nothing(text: str, what: str, tmp_path: Path):
    path = tmp_path / "fields.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=what):
        override(FIELDS, path, ["price"])
