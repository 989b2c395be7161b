"""Headers and separators of delimited text."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from attn.core.errors import InputError
from attn.data_adapters.tables.open import Table, open_table


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "t.csv"


def table_of(path: Path, text: str, columns: Sequence[str] | None = None) -> Table:
    path.write_text(text, encoding="utf-8")
    return open_table(path, columns=columns)


HEADED = {
    "numbers below": "a,b\n1,x\n",
    "numbers far below": "a,b\n" + "x,y\n" * 50 + "x,3\n",
    "text that does not recur": "colour,size\nred,big\nblue,big\nred,small\n",
    "one line": "a,b\n",
    "names that are numbers beside one that is not": "0,1,label\n7,2.5,0\n8,1.5,1\n",
    "a name that reads as no number": "user,nan,click\n7,2.5,0\n8,1.5,1\n",
}
BARE = {
    "a number": "7,x\n8,y\n",
    "a gap": "NA,0.5\n3,0.25\n4,0.5\n",
    "a decimal": "x,0.5\ny,0.25\n",
    "text that recurs": "red,big\nblue,small\nred,big\n",
    "the same twice": "red,red\nblue,green\n",
}


@pytest.mark.parametrize("name", HEADED)
def test_a_header_is_seen(path: Path, name: str) -> None:
    text = HEADED[name]
    table = table_of(path, text)
    assert table.columns == tuple(text.partition("\n")[0].split(","))
    assert table.rows() == text.count("\n") - 1


@pytest.mark.parametrize("name", BARE)
def test_no_header_takes_the_expected_names_or_says_so(path: Path, name: str) -> None:
    text = BARE[name]
    table = table_of(path, text, columns=["a", "b"])
    assert table.columns == ("a", "b")
    assert table.rows() == text.count("\n")
    with pytest.raises(InputError, match=r"t\.csv: line 1 looks like data, not like a header \(.*\); add a line with"):
        table_of(path, text)
    with pytest.raises(InputError, match=r"has 2 cells where 3 columns are expected"):
        table_of(path, text, columns=["a", "b", "c"])


def test_expected_names_are_a_header_whatever_they_look_like(path: Path) -> None:
    table = table_of(path, "2019,2020,more\n1,2,3\n", columns=["2019", "2020", "2021", "2022"])
    assert table.columns == ("2019", "2020", "more")
    assert table.rows() == 1


def test_with_and_without_a_header_it_is_the_same_table(path: Path) -> None:
    rows = "".join(f"{i},word{i % 7},{i / 8}\n" for i in range(500))
    headed = pl.concat(table_of(path, "n,w,x\n" + rows).batches())
    bare = pl.concat(table_of(path, rows, columns=["n", "w", "x"]).batches())
    assert_frame_equal(headed, bare)


@pytest.mark.parametrize("separator", [",", "\t", ";", "|"])
def test_the_separator_is_found(path: Path, separator: str) -> None:
    lines = [["a", "b b", "c"], ["1", "x,y;z", "u|v"], ["2", "p,q", "w"]]
    quoted = "".join(separator.join(f'"{cell}"' for cell in line) + "\n" for line in lines)
    assert table_of(path, quoted).head(1).rows() == [(1, "x,y;z", "u|v")]


def test_a_decimal_comma_does_not_separate(path: Path) -> None:
    assert table_of(path, "a;b\n1,5;2\n2,5;3\n").head(1).rows() == [("1,5", 2)]
