"""Criteo, Avazu, MovieLens and Frappe, by name, by content, and as they really are."""

from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from attn.core.errors import InputError
from attn.data_adapters.tables.layouts import AVAZU, CRITEO, FRAPPE, LAYOUTS, Layout, layout_of
from attn.data_adapters.tables.open import Table, open_table

CRITEO_LINE = ["1", *(str(i) for i in range(12)), "", *(f"{i:08d}" for i in range(25)), ""]
AVAZU_LINE = ["10000169349117863715", "0", "14102100", "1005", "0", *["1fbe01fe"] * 9, *["35"] * 9, "-1"]


def whole(table: Table) -> pl.DataFrame:
    return pl.concat(table.batches())


def written(path: Path, *lines: list[str], separator: str = "\t") -> Path:
    path.write_text("".join(separator.join(line) + "\n" for line in lines))
    return path


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_a_layout_is_known_by_its_names_in_any_format(tmp_path: Path, layout: Layout) -> None:
    frame = pl.DataFrame({name: ["1", "2"] for name in (*layout.columns, "more")})
    frame.write_parquet(tmp_path / "t.parquet")
    table = open_table(tmp_path / "t.parquet")
    assert layout_of(table.columns) is layout
    assert table.label == layout.label
    assert dict(table.multi) == dict(layout.multi)
    assert dict(table.dates) == dict(layout.dates)
    assert table.ids == layout.ids
    frame.select(layout.without_label()).write_csv(tmp_path / "t.csv")
    table = open_table(tmp_path / "t.csv")
    assert (table.label, table.ids) == (None, layout.ids)


def test_no_layout(tmp_path: Path) -> None:
    table = open_table(written(tmp_path / "t.csv", ["click", "hour", "id"], ["1", "2", "3"], separator=","))
    assert (table.label, dict(table.multi), dict(table.dates), table.ids) == (None, {}, {}, ())


@pytest.mark.parametrize("format", [None, "criteo"])
@pytest.mark.parametrize("labelled", [True, False])
def test_criteo_with_and_without_label(tmp_path: Path, format: str | None, labelled: bool) -> None:
    first = 0 if labelled else 1
    table = open_table(written(tmp_path / "day_0.txt", CRITEO_LINE[first:], CRITEO_LINE[first:]), format=format)
    assert table.columns == CRITEO.columns[first:]
    assert table.label == ("label" if labelled else None)
    assert table.head(1)["I2"].to_list() == [1]
    assert table.head(1)["C2"].to_list() == ["00000001"]  # a code, though all its cells look like numbers
    assert table.schema["I13"] == table.schema["C26"] == pl.String  # nothing in them


@pytest.mark.parametrize("separator", ["\t", ","])
def test_criteo_with_a_header(tmp_path: Path, separator: str) -> None:
    path = written(tmp_path / "t.csv", list(CRITEO.columns), CRITEO_LINE, separator=separator)
    for format in (None, "criteo"):
        table = open_table(path, format=format)
        assert table.columns == CRITEO.columns
        assert table.rows() == 1


def test_another_table_is_not_criteo(tmp_path: Path) -> None:
    path = written(tmp_path / "t.txt", CRITEO_LINE[:12])
    with pytest.raises(InputError, match="has 12 cells; criteo has 40 columns, or 39 without the label"):
        open_table(path, format="criteo")
    with pytest.raises(InputError, match="line 1 looks like data, not like a header"):
        open_table(written(tmp_path / "t.txt", ["5", *CRITEO_LINE[1:]]))


def test_avazu_in_its_forms(tmp_path: Path) -> None:
    headed = written(tmp_path / "train.csv", list(AVAZU.columns), AVAZU_LINE, separator=",")
    bare = written(tmp_path / "dev.csv", AVAZU_LINE, separator=",")
    test = written(tmp_path / "test.csv", AVAZU_LINE[:1] + AVAZU_LINE[2:], separator=",")
    table = open_table(headed)
    assert (table.label, table.ids, dict(table.dates)) == ("click", ("id",), {"hour": "%y%m%d%H"})
    assert_frame_equal(whole(open_table(bare)), whole(table))
    assert_frame_equal(whole(open_table(bare, columns=table.columns)), whole(table))
    assert_frame_equal(whole(open_table(test)), whole(table).drop("click"))
    assert open_table([headed, bare]).rows() == 2
    mine = [f"my{i}" for i in range(24)]  # a model trained on the same data under other names
    assert open_table(bare, columns=mine).columns == tuple(mine)


def test_frappe(tmp_path: Path) -> None:
    context = list(FRAPPE.columns[3:])
    cells = ["0", "0", "sunday", *["x"] * 7]
    lines = [["user", "item", "cnt", *context], ["0", "0", "1", *cells[2:]], ["1", "5", "7", *cells[2:]]]
    table = open_table(written(tmp_path / "frappe.csv", *lines), format="frappe")
    assert table.columns == ("user", "item", "cnt", *context)
    assert table.label is None
    assert table.rows() == 2
    labelled = [["label", "user", "item", *context], ["1", "0", "0", *cells[2:]]]
    assert open_table(written(tmp_path / "train.csv", *labelled, separator=",")).label == "label"


@pytest.mark.real_data
def test_real_criteo(data_dir: Path) -> None:
    path = data_dir / "ctr/criteo-10k/train_examples.txt"
    table = open_table(path)
    assert (table.rows(), table.columns, table.label) == (10_000, CRITEO.columns, "label")
    assert_frame_equal(whole(open_table(path, format="criteo")), whole(table))
    lines = path.read_text().splitlines()
    text = [[cell or None for cell in line.split("\t")] for line in lines]
    assert [list(row) for row in whole(table).select(CRITEO.columns[14:]).rows()] == [row[14:] for row in text]
    assert whole(table)["I2"].to_list() == [int(row[2]) if row[2] else None for row in text]


@pytest.mark.real_data
def test_real_avazu(data_dir: Path) -> None:
    folder = data_dir / "ctr/avazu-9k"
    tables = {name: open_table(folder / f"{name}.csv") for name in ("train", "dev", "test")}
    assert {name: table.rows() for name, table in tables.items()} == {"train": 8_087, "dev": 480, "test": 432}
    assert all(table.columns == AVAZU.columns for table in tables.values())
    assert tables["test"].schema == tables["train"].schema
    assert tables["dev"].head(1)["id"].to_list() == ["10001868339616595934"]
    assert open_table(folder).rows() == 8_999
