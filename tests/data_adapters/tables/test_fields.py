"""Fields are guessed from a sample, and corrected in TOML."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from data_adapters.tables.clicks import FIELDS, log, table_of

from attn.core.errors import InputError
from attn.data_adapters.tables.fields import infer_fields, override


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
