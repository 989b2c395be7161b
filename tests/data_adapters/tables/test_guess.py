"""What columns mean is guessed: declared types, names, notations, and whole numbers by what they tell."""

import datetime as dt
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from data_adapters.tables.clicks import log, table_of

from attn.core.errors import InputError
from attn.data_adapters.tables.cells import as_text
from attn.data_adapters.tables.fields import Field
from attn.data_adapters.tables.frame import frame_table
from attn.data_adapters.tables.guess import infer_fields, require_readable
from attn.data_adapters.tables.open import open_table

ROWS = 4000


def guessed(columns: Any, label: str | None = None, notes: list[str] | None = None) -> dict[str, str]:
    table = frame_table(columns)
    said = [] if notes is None else notes
    return {one.name: one.kind for one in infer_fields(table, label, table.head(10_000), said.append)}


def of_csv(folder: Path, cells: list[str], more: int = 1) -> tuple[list[Field], list[str]]:
    """The fields of a column of these cells, each `more` times, in a CSV file; and what was said."""
    frame = pl.DataFrame({"x": cells * more, "other": range(len(cells) * more)})
    frame.write_csv(folder / "t.csv", separator=";")
    table, notes = open_table(folder / "t.csv"), list[str]()
    return [one for one in infer_fields(table, None, table.head(10_000), notes.append) if one.column == "x"], notes


def test_fields_are_guessed(tmp_path: Path) -> None:
    frame = log().with_columns(user_id=pl.int_range(pl.len()), many=pl.Series(np.arange(500) * 7 % 1501))
    big = pl.concat([frame.with_columns(many=pl.col("many") + 500 * n) for n in range(4)])
    table = table_of(big, tmp_path)
    kinds = {one.name: one.kind for one in infer_fields(table, None, table.head(10_000)) if one.column != "click"}
    assert kinds == {
        "site": "category",
        "tags": "multi",
        "tags as a whole": "category",
        "price": "number",
        "size": "number",
        "hits": "category",
        "at: hour": "time",
        "at: weekday": "time",
        "user_id": "category",
        "many": "number",
    }


def test_a_declared_type_wins() -> None:
    many = np.arange(ROWS) * 7 % 1500
    frame = pd.DataFrame({"a": pd.Categorical(many), "b": many, "c": pd.Categorical(np.where(many % 9, many, np.nan))})
    frame["d"] = pd.Series(many % 2 == 0, dtype="boolean")
    frame["e"] = pd.cut(pd.Series(many), 5)
    frame["f"] = pd.Series(pd.period_range("2026-01-01 05:00", periods=ROWS, freq="h"))
    frame["g"] = pd.to_timedelta(many, unit="s")
    kinds = guessed(frame)
    assert kinds == {
        "a": "category",
        "b": "number",
        "c": "category",
        "d": "category",
        "e": "category",
        "f: hour": "time",
        "f: weekday": "time",
        "g": "number",
    }
    table = frame_table(frame)
    assert table.head(3)["a"].to_list() == ["0", "7", "14"] and table.head(1)["c"].to_list() == [None]
    text = pl.Series([str(n) for n in many])
    assert guessed(pl.DataFrame({"a": text.cast(pl.Categorical), "b": text.cast(pl.Enum(text.unique()))})) == {
        "a": "category",
        "b": "category",
    }


def test_types_of_polars_and_parquet(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "money": pl.Series(["1.25", "2.50"] * 300).cast(pl.Decimal(10, 2)),
            "long": pl.Series([dt.timedelta(seconds=3), None] * 300),
            "at": pl.Series([dt.time(5), dt.time(23, 59)] * 300),
            "day": pl.Series([dt.date(2026, 1, 5), None] * 300),
            "list": [["a", "b"], []] * 300,
            "bytes": pl.Series([b"x", b"y"] * 300),
            "empty": pl.Series([None] * 600),
            "half": pl.Series([0.5, 2.25] * 300, dtype=pl.Float16),
            "kind": pl.Series(["u", "v"] * 300, dtype=pl.Enum(["u", "v"])),
        }
    )
    expected = {
        "money": "number",
        "long": "number",
        "at: hour": "time",
        "day: weekday": "time",
        "list": "multi",
        "list as a whole": "category",
        "bytes": "category",
        "empty": "category",
        "half": "number",
        "kind": "category",
    }
    assert guessed(frame) == expected
    table = table_of(frame, tmp_path)
    assert {one.name: one.kind for one in infer_fields(table, None, table.head(600))} == expected
    assert table.head(2).rows(named=True)[1]["list"] in ("", None)


def test_what_no_field_is_made_of_is_one_sentence(tmp_path: Path) -> None:
    struct = pl.DataFrame({"s": [{"a": 1}] * 3})
    fields = [Field(name="s", column="s", kind="category")]
    with pytest.raises(InputError, match=r"'s' is Struct.*which no field is made of; unnest it"):
        require_readable(fields, struct, "t")
    with pytest.raises(InputError, match="'b' holds bytes that are not text, as in row 2; cast it"):
        frame_table(pl.DataFrame({"b": [b"x", b"\xff"]}))
    pl.DataFrame({"b": [b"x", b"\xff"]}).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(InputError, match="'b' holds bytes that are not text"):
        open_table(tmp_path / "b.parquet").head(2)


@pytest.mark.parametrize(
    ("one", "cells", "what"),
    [
        ({"kind": "time"}, [None, 9.13, 2.5], "'x' has '9.13' in row 2, which is not a time; write its format"),
        ({"kind": "time"}, ["", "yesterday", "today"], "'x' has 'yesterday' in row 2, which is not a time"),
        ({"kind": "time", "format": "%d.%m.%Y"}, ["2026-99-99"], "'x' has '2026-99-99' in row 1"),
        ({"kind": "number"}, ["1", "phone", "tablet"], "'x' has 'phone' in row 2, which is not a number"),
        ({"kind": "number"}, [dt.date(2026, 1, 1)], "'x' holds times, not numbers"),
    ],
)
def test_a_kind_that_a_column_cannot_be(one: dict[str, str], cells: list[Any], what: str) -> None:
    with pytest.raises(InputError, match=what):
        require_readable([Field(name="x", column="x", **one)], pl.DataFrame({"x": cells}), "t")


@pytest.mark.parametrize(
    ("cells", "kind", "more"),
    [
        (["9,13", "2,91", "NA"], "number", {"decimal": ","}),
        (["9,130.00", "2,910.00"], "number", {"decimal": "."}),
        (["$9.13", "$1,200.00"], "number", {}),
        (["27%", "8%"], "number", {}),
        (["12", "NA", "7", r"\N", "-", "?"], "number", {}),
        (["0123", "NA", "7"], "category", {}),
        (["68fd1e64", "a", "NULL"], "category", {}),
        (["01.01.2026 03:15", "31.12.2026 23:00"], "time", {"format": "%d.%m.%Y %H:%M"}),
        (["01/13/2026 03:15", "12/31/2026 23:00"], "time", {"format": "%m/%d/%Y %H:%M"}),
        (["13/01/2026 03:15", "31/12/2026 23:00"], "time", {"format": None}),
        (["05-01-2026 03:15:09", "31-12-2026 23:00:10"], "time", {"format": None}),
        (["05/01/2026 03:15", "12/11/2026 23:00"], "category", {}),  # which is the day?
        (["Mon, 05 Jan 2026 00:17:02 GMT"], "time", {"format": "%a, %d %b %Y %H:%M:%S GMT"}),
        (["2026-03-13T10:52:24+02:00", "2026-03-13 10:52"], "time", {"format": None}),
        (["[8, 12]", "[3]", "['8']"], "multi", {"separator": ",", "around": "[](){}'\""}),
        (["NA", "", "NULL"], "category", {}),
        (["3 29 20", "7", "12 7"], "category", {}),
    ],
)
def test_notations(cells: list[str], kind: str, more: dict[str, Any], tmp_path: Path) -> None:
    fields, _ = of_csv(tmp_path, cells, 400)
    assert fields[0].kind == kind
    assert {name: getattr(fields[0], name) for name in more} == more


@pytest.mark.parametrize("separator", ["|", ";", ",", "^", " "])
def test_sets_by_their_separator(separator: str) -> None:
    draw = np.random.default_rng(0)
    cells = [separator.join(draw.choice(30, draw.integers(1, 6), replace=False).astype(str)) for _ in range(2000)]
    table = frame_table({"x": cells})
    (one,) = infer_fields(table, None, table.head(2000))
    assert (one.kind, one.separator) == ("multi", separator)


def test_sentences_and_rows_of_their_own_are_no_sets() -> None:
    draw = np.random.default_rng(0)
    words = [f"w{n}" for n in range(900)]
    notes: list[str] = []
    columns = {"title": [" ".join(draw.choice(words, 3)) for _ in range(2000)], "hash": [f"h{n}" for n in range(2000)]}
    assert guessed(columns, notes=notes) == {"title": "category", "hash": "category"}
    assert any(note.startswith("hash: nearly every row has a value of its own") for note in notes)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("user_id", "category"), ("userId", "category"), ("itemid", "category"), ("bid", "number"), ("paid", "number")],
)
def test_names(name: str, kind: str) -> None:
    assert guessed({name: np.arange(ROWS) % 2000}) == {name: kind}


def test_names_of_atomic_files() -> None:
    columns = {"u:token": np.arange(ROWS), "x:float": np.arange(ROWS) % 3, "s:token_seq": ["1 2", "3"] * (ROWS // 2)}
    assert guessed(columns) == {"u:token": "category", "x:float": "number", "s:token_seq": "multi"} | {
        "s:token_seq as a whole": "category"
    }


def clicked(logit_n: np.ndarray, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).random(len(logit_n)) < 1 / (1 + np.exp(-logit_n))).astype(int)


def test_whole_numbers_are_guessed_by_what_they_tell() -> None:
    draw = np.random.default_rng(0)
    item_n, count_n = draw.integers(0, 1500, 30_000), draw.integers(0, 100_000, 30_000)
    effect_i = draw.normal(0, 1.5, 1500)
    label_n = clicked(effect_i[item_n] + 2 * (count_n / 50_000 - 1), 1)
    columns = {"item": item_n, "count": count_n, "noise": draw.permutation(30_000) % 3000, "click": label_n}
    notes: list[str] = []
    kinds = guessed(columns, "click", notes)
    assert kinds == {
        "item": "category",
        "count": "number",
        "noise": "category",
        "noise as a number": "number",
    }
    assert any(note.startswith("item: read as a category, by held-out rows (AUC 0.") for note in notes)
    assert any('to change it: [count] kind = "category"' in note for note in notes)


def test_whole_numbers_of_few_rows() -> None:
    draw = np.random.default_rng(0)
    income_n = draw.permutation(200_000)[:900]
    kinds = guessed({"income": income_n, "age": draw.integers(18, 90, 900), "y": clicked(income_n / 3e4 - 3, 1)}, "y")
    assert kinds == {"income": "number", "age": "category"}


def test_floats_with_gaps_are_the_ids_they_were() -> None:
    ids = [float(n % 2000) if n % 7 else None for n in range(ROWS)]
    assert guessed({"user_id": ids}) == {"user_id": "category"}


def test_long_ids_as_decimals_are_ids_in_every_file(tmp_path: Path) -> None:
    ids = [2**53 + n % 50 for n in range(400)]
    assert guessed({"user_id": pl.Series(ids, dtype=pl.Decimal(38, 0))}) == {"user_id": "category"}
    one = Field(name="user_id", column="user_id", kind="category")
    for number, dtype in enumerate([pl.Decimal(38, 0), pl.Int64(), pl.Decimal(20, 2)]):
        pl.DataFrame({"user_id": pl.Series(ids).cast(dtype)}).write_parquet(tmp_path / f"{number}.parquet")
    table = open_table(tmp_path)
    assert table.rows() == 1200
    for cells in (table.head(1200)["user_id"], open_table(tmp_path / "0.parquet").head(1200)["user_id"]):
        assert as_text(cells, one).unique(maintain_order=True).to_list() == [str(each) for each in ids[:50]]


def test_the_line_that_changes_a_field_is_toml() -> None:
    cells = ["1,5", "2,25", "3,0"] * 200
    for name in ("price", "price paid", 'the "price"', "Preis (€)"):
        notes: list[str] = []
        assert guessed({name: cells}, None, notes) == {name: "number"}
        line = notes[0].rpartition("to change it: ")[2].replace("] ", "]\n")
        assert tomllib.loads(line) == {name: {"kind": "category"}}


def test_text_that_is_mostly_numbers_is_named(tmp_path: Path) -> None:
    fields, said = of_csv(tmp_path, ["1.5", "2", "3.25", "4", "sold out"], 50)
    assert fields[0].kind == "category"
    assert said[0].startswith("x: 80% of the cells are numbers, and others are not, such as 'sold out'")
    assert not of_csv(tmp_path, ["12", "7", "8", "9", "a4"], 50)[1]  # codes
