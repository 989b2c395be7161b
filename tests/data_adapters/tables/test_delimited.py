"""Delimited text: types that all rows fit, and headers that are there or not."""

import csv
import random
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from attn.core.errors import InputError
from attn.data_adapters.tables import delimited
from attn.data_adapters.tables import rows as table_rows
from attn.data_adapters.tables.open import Table, open_table


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "t.csv"


@pytest.fixture(params=[True, False], ids=["kept", "again"])
def kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of a second pass, over blocks of a few rows."""
    monkeypatch.setattr(table_rows, "BLOCK", 64)
    if not request.param:
        monkeypatch.setattr(delimited, "HELD_BYTES", 0)


def table_of(path: Path, text: str, columns: Sequence[str] | None = None) -> Table:
    path.write_text(text, encoding="utf-8")
    return open_table(path, columns=columns)


def column(path: Path, cells: Sequence[str]) -> pl.Series:
    table = table_of(path, "x,y\n" + "".join(f"{cell},1\n" for cell in cells))
    return pl.concat(table.batches(["x"]))["x"]


MANY = ["5"] * 100
TYPED = {
    "whole numbers": (["1", "-2", "+3", ""], [1, -2, 3, None]),
    "decimals": (["1", "2.5", "1e3", ".5"], [1.0, 2.5, 1000.0, 0.5]),
    "nan and infinity": (
        ["nan", "inf", "-inf", "NaN", "2"],
        [float("nan"), float("inf"), -float("inf"), float("nan"), 2],
    ),
    "truth": (["true", "False", ""], [True, False, None]),
    "text": (["1", "a", ""], ["1", "a", None]),
    "leading zeros are codes": (["07", "12"], ["07", "12"]),
    "leading zeros late": ([*MANY, "02138"], [*MANY, "02138"]),
    "leading zeros in quotes": (["12", '"007"'], ["12", "007"]),
    "zeros and decimals are numbers": (["0", "0.5", "-0.07", "10"], [0, 0.5, -0.07, 10]),
    "beyond 64 bits": (["10000169349117863715", "1"], ["10000169349117863715", "1"]),
    "beyond 64 bits late": ([*MANY, "10000169349117863715"], [*MANY, "10000169349117863715"]),
    "text after numbers": ([*MANY, "+1", "n/a"], [*MANY, "+1", "n/a"]),
    "decimals after whole numbers": ([*MANY, "0.5"], [5.0] * 100 + [0.5]),
    "whole numbers after decimals": (["0.5", *MANY], [0.5] + [5.0] * 100),
    "numbers after truth": (["true"] * 100 + ["1"], ["true"] * 100 + ["1"]),
    "numbers after nothing": ([""] * 100 + ["1"], [None] * 100 + [1]),
    "text after nothing": ([""] * 100 + ["a"], [None] * 100 + ["a"]),
    "nothing after numbers": ([*MANY, ""], [5] * 100 + [None]),
    "nothing at all": (["", '""', ""], [None, None, None]),
    "spaces are text": ([" 1", "2 "], [" 1", "2 "]),
}


@pytest.mark.parametrize("name", TYPED)
@pytest.mark.usefixtures("kept")
def test_types_hold_for_every_row(path: Path, name: str) -> None:
    cells, values = TYPED[name]
    expected = pl.Series("x", values, strict=False)
    if name == "nothing at all":
        expected = expected.cast(pl.String)
    read = column(path, cells)
    assert read.dtype == expected.dtype
    assert_frame_equal(read.to_frame(), expected.to_frame())


def test_columns_named_as_text_stay_as_they_are_written(path: Path) -> None:
    path.write_text("version,price\n1.10,1.10\n2.0,2.0\n")
    table = open_table(path, text=["version", "gone"])
    assert table.head(2).rows() == [("1.10", 1.1), ("2.0", 2.0)]


@pytest.mark.usefixtures("kept")
def test_types_hold_over_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,1\n2,2\n")
    (tmp_path / "b.csv").write_text("y,x\n3,b\n0.5,\n")
    frame = pl.concat(open_table(tmp_path).batches())
    assert_frame_equal(frame, pl.DataFrame({"x": ["1", "2", "b", None], "y": [1.0, 2.0, 3.0, 0.5]}))


@pytest.mark.parametrize("seed", range(20))
def test_random_text_reads_as_the_standard_library_reads_it(
    path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr(table_rows, "BLOCK", rng.randint(40, 400))
    monkeypatch.setattr(delimited, "HELD_BYTES", rng.choice([0, 10**6]))
    width, pieces = rng.randint(2, 5), ["a", '"', ",", "\n", "\r\n", "ü", "☃", " ", "0", "7", ";", "\t", "long " * 9]
    rows = [
        ["".join(rng.choices(pieces, k=rng.choice([0, 1, 1, 2, 5]))) or "x" * (c == 0) for c in range(width)]
        for _ in range(rng.randint(1, 60))
    ]
    names = [f"name{c}" for c in range(width)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(
            file,
            lineterminator=rng.choice(["\n", "\r\n", "\n\n"]),
            quoting=rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
        )
        writer.writerows([names, *rows])
    table = open_table(path, text=names)
    assert table.rows() == len(rows)
    for rows_at_once in (7, 1000):
        read = [row for batch in table.batches(rows=rows_at_once) for row in batch.rows()]
        assert read == [tuple(cell or None for cell in row) for row in rows]


def test_blank_lines_and_a_missing_last_line_end(path: Path) -> None:
    for text in ("\n\na,b\n\n1,2\n\r\n\n3,4\n\n", "a,b\n1,2\n3,4", "a,b\r\n1,2\r\n3,4\r\n\r\n"):
        assert table_of(path, text).head(9).rows() == [(1, 2), (3, 4)]


def test_one_column(path: Path) -> None:
    assert table_of(path, "a\n1\n\n3\n").head(9)["a"].to_list() == [1, None, 3]


def test_names_are_stripped_and_made_where_empty(path: Path) -> None:
    assert table_of(path, ", a ,b\n0,1,2\n").columns == ("column_1", "a", "b")


@pytest.mark.usefixtures("kept")
def test_a_header_in_the_middle_is_named(path: Path) -> None:
    with pytest.raises(InputError, match=r"t\.csv: line 102 repeats the header; take out that line"):
        table_of(path, "a,b\n" + "1,2\n" * 100 + "a,b\n" + "3,4\n")
