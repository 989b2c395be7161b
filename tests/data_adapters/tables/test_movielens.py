"""MovieLens-1M: three files as one table."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from attn.core.errors import InputError
from attn.data_adapters.tables.open import Table, open_table


def whole(table: Table) -> pl.DataFrame:
    return pl.concat(table.batches())


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
