"""Criteo, Avazu, MovieLens and Frappe, by name, by content, and as they really are."""

import shutil
from pathlib import Path

import numpy as np
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


def movielens(folder: Path) -> Path:
    ratings = ["1::10::5::978300760", "1::11::3::978300761", "2::10::2::978300762", "2::11::4::978300763"]
    (folder / "ratings.dat").write_text("\n".join(ratings) + "\n")
    (folder / "users.dat").write_text("1::F::1::10::48067\n2::M::56::16::00501-12\n")
    movies = "10::Café (a.k.a. Coffee) (1995)::Animation|Children's\n11::No Year::Drama\n12::Not Rated (1950)::War\n"
    (folder / "movies.dat").write_text(movies, encoding="latin-1")
    return folder


def test_movielens_is_joined_in_the_order_of_its_ratings(tmp_path: Path) -> None:
    expected = pl.DataFrame(
        {
            "user_id": [1, 2, 2],
            "movie_id": [10, 10, 11],
            "gender": ["F", "M", "M"],
            "age": [1, 56, 56],
            "occupation": [10, 16, 16],
            "zip": ["48067", "00501-12", "00501-12"],
            "genres": ["Animation|Children's", "Animation|Children's", "Drama"],
            "year": [1995, 1995, None],
            "timestamp": [978300760, 978300762, 978300763],
            "liked": [1, 0, 1],
        }
    )
    folder = movielens(tmp_path)
    for source in (folder, folder / "ratings.dat", str(folder)):
        table = open_table(source)
        assert (table.label, dict(table.multi), table.rows()) == ("liked", {"genres": "|"}, 3)
        assert_frame_equal(whole(table), expected, check_dtypes=False)
        assert_frame_equal(pl.concat(table.batches(["liked", "zip"], rows=2)), whole(table).select("liked", "zip"))
        assert_frame_equal(table.lazy().filter(pl.col("liked") == 0).collect(), whole(table).filter(liked=0))


def test_movielens_ratings_as_parquet(tmp_path: Path) -> None:
    frame = whole(open_table(movielens(tmp_path)))
    rated = {"user_id": [1, 1, 2, 2], "movie_id": [10, 11, 10, 11], "rating": [5, 3, 2, 4]}
    pl.DataFrame(rated).write_parquet(tmp_path / "ratings.parquet")
    (tmp_path / "ratings.dat").unlink()
    assert_frame_equal(whole(open_table(tmp_path, format="movielens")), frame.drop("timestamp"))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("users.dat", "1::F::1::10::48067\n2::M::56::16\n", r"users\.dat: line 2 is not user_id::gender::age"),
        ("users.dat", "1::F::1::10::48067\n2::M::old::16::1\n", r"users\.dat: line 2 is not user_id::gender::age"),
        ("users.dat", "1::F::1::10::48067\n", r"users\.dat: has no user_id 2, which is rated"),
        ("movies.dat", "10::A (1990)::War\n", r"movies\.dat: has no movie_id 11, which is rated"),
        (
            "ratings.dat",
            "1::10::5::1\n1::10::::1\n",
            r"ratings\.dat: line 2 is not user_id::movie_id::rating::timestamp",
        ),
        ("ratings.dat", "", r"ratings\.dat: line 1 is not user_id"),
        ("users.dat", None, r"users\.dat: is not there"),
    ],
)
def test_movielens_that_is_broken(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    folder = movielens(tmp_path)
    (folder / name).unlink() if text is None else (folder / name).write_text(text)
    with pytest.raises(InputError, match=message):
        open_table(folder, format="movielens")


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


@pytest.mark.real_data
def test_real_movielens(data_dir: Path) -> None:
    folder = data_dir / "ctr/ml-1m"
    table = open_table(folder)
    split = np.load(folder / "split_seed2019.npy")
    assert table.rows() == 739_012 == len(split)
    frame = whole(table)
    assert frame.columns == ["user_id", "movie_id", "gender", "age", "occupation", "zip", "genres", "year", "liked"]
    assert not any(frame.null_count().row(0))
    assert frame["year"].min() == 1919 and frame["year"].max() == 2000
    rated = pl.read_parquet(folder / "ratings.parquet").filter(pl.col("rating") != 3)
    assert frame["movie_id"].to_list() == rated["movie_id"].to_list()
    assert frame["liked"].to_list() == (rated["rating"] > 3).to_list()


@pytest.mark.real_data
def test_real_movielens_ratings_as_published(data_dir: Path, tmp_path: Path) -> None:
    for name in ("users.dat", "movies.dat"):
        shutil.copy(data_dir / "ctr/ml-1m" / name, tmp_path)
    ratings = pl.read_parquet(data_dir / "ctr/ml-1m/ratings.parquet")
    lines = ratings.select(pl.concat_str("user_id", "movie_id", "rating", pl.lit("1"), separator="::"))
    (tmp_path / "ratings.dat").write_text("\n".join(lines.to_series()) + "\n")
    assert_frame_equal(whole(open_table(tmp_path)).drop("timestamp"), whole(open_table(data_dir / "ctr/ml-1m")))
