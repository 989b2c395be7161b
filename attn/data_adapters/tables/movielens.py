"""The MovieLens-1M folder (Harper and Konstan 2015) as one table: each rating with its user and its movie.

`ratings.dat` (`UserID::MovieID::Rating::Timestamp`, or the same columns as `ratings.parquet`), `users.dat`
(`UserID::Gender::Age::Occupation::Zip-code`) and `movies.dat` (`MovieID::Title::Genres`), all Latin-1. A rating above 3
is liked, one below 3 is not, and one of 3 is left out, as in AutoInt (Song et al. 2019, section 5.1).
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from attn.core.errors import InputError
from attn.data_adapters.library_warnings import caught_panics
from attn.data_adapters.tables.layouts import MOVIELENS
from attn.data_adapters.tables.pages import check_pages
from attn.data_adapters.tables.source import openable, reading

RATINGS = ("ratings.parquet", "ratings.dat")
USERS = {"user_id": pl.Int32, "gender": pl.String, "age": pl.Int32, "occupation": pl.Int32, "zip": pl.String}
MOVIES = {"movie_id": pl.Int32, "title": pl.String, "genres": pl.String}
RATED = {"user_id": pl.Int32, "movie_id": pl.Int32, "rating": pl.Int8, "timestamp": pl.Int64}
MAX_BYTES = 1 << 30


def movielens_folder(sources: Sequence[str | Path], *, asked: bool) -> Path | None:
    """The folder of MovieLens-1M that is named, or whose ratings.dat is named; None: it is something else.

    asked: the caller says that it is one.
    """
    path = Path(sources[0])
    folder = path.parent if path.name in RATINGS else path
    if len(sources) != 1 or not os.path.isdir(folder):  # noqa: PTH112, a Path raises for a name that is too long
        return None
    names = {each.name for each in folder.iterdir()}
    return folder if asked or ({"users.dat", "movies.dat"} <= names and not names.isdisjoint(RATINGS)) else None


class MovieLensSource:
    """The joined table, in file order of the ratings; schema: the type of each column.

    `timestamp` (seconds since 1970) is a column where `ratings.dat` has it. InputError: a file that is missing or
    broken, with the line, or a rating of a user or movie that the others do not have.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._users = self._read("users.dat", USERS)
        movies = self._read("movies.dat", MOVIES)
        year = pl.col("title").str.extract(r"\((\d{4})\)\s*$").cast(pl.Int32).alias("year")
        self._movies = movies.select("movie_id", "genres", year)
        ratings = self._ratings()
        self._check_known(ratings, self._users, "user_id", "users.dat")
        self._check_known(ratings, self._movies, "movie_id", "movies.dat")
        liked = (pl.col("rating") > 3).cast(pl.Int8).alias("liked")
        self._ratings_kept = ratings.filter(pl.col("rating") != 3).select(pl.exclude("rating"), liked)
        self.schema: dict[str, pl.DataType] = dict(self._join(self._ratings_kept.head(0)).schema)

    def frames(self, columns: Sequence[str], rows: int) -> Iterator[pl.DataFrame]:
        """`rows` ratings at a time."""
        for ratings in self._ratings_kept.iter_slices(rows):
            yield self._join(ratings).select(columns)

    def rows(self) -> int:
        """The number of ratings that are kept."""
        return self._ratings_kept.height

    def _join(self, ratings: pl.DataFrame) -> pl.DataFrame:
        users = ratings.join(self._users, on="user_id", how="left", maintain_order="left")
        joined = users.join(self._movies, on="movie_id", how="left", maintain_order="left")
        times = [name for name in ("timestamp",) if name in ratings.columns]
        return joined.select(*MOVIELENS.without_label(), *times, "liked")

    def _ratings(self) -> pl.DataFrame:
        path = self._folder / RATINGS[0]
        if not path.exists():
            return self._read(RATINGS[1], RATED)
        with reading(path):
            check_pages(path)
            with openable(path) as source, caught_panics():
                frame = pl.read_parquet(source, glob=False)
            columns = [name for name in RATED if name in frame.columns]
            if missing := [name for name in ("user_id", "movie_id", "rating") if name not in columns]:
                raise InputError(f"has no column '{missing[0]}'", where=path)
            return frame.select(columns).cast({name: RATED[name] for name in columns})

    def _read(self, name: str, schema: Mapping[str, type[pl.DataType]]) -> pl.DataFrame:
        """A `::` separated file as columns of these types."""
        path = self._folder / name
        with reading(path):
            if path.stat().st_size > MAX_BYTES:
                raise InputError(f"is larger than {MAX_BYTES >> 20} MB", where=path)
            lines = pl.Series(path.read_text(encoding="latin-1").rstrip("\n").split("\n"), dtype=pl.String)
        lines = lines.str.strip_suffix("\r")
        cells = lines.str.split_exact("::", len(schema) - 1).struct.unnest()
        frame = cells.rename(dict(zip(cells.columns, schema, strict=True))).cast(pl.Schema(schema), strict=False)
        empty = frame.select(wrong=pl.any_horizontal(pl.all().is_null()))["wrong"]
        wrong = (empty | (lines.str.count_matches("::", literal=True) != len(schema) - 1)).arg_true()
        if len(wrong):
            raise InputError(f"line {wrong[0] + 1} is not {'::'.join(schema)}", where=path)
        return frame

    def _check_known(self, ratings: pl.DataFrame, table: pl.DataFrame, key: str, name: str) -> None:
        unknown = ratings.join(table, on=key, how="anti")
        if unknown.height:
            raise InputError(f"has no {key} {unknown[key][0]}, which is rated", where=self._folder / name)
