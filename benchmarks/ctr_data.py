"""MovieLens-1M as a click log, from the folder named by ATTN_DATA (else ../shared/data).

A rating above 3 is liked, below 3 not, 3 is dropped: 739,012 rows, split 80/10/10 by the permutation that lies beside
the ratings. Setting A has no ids, setting B has those of user and movie; neither has a timestamp.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from attn.core.files import replacing

Setting = Literal["A", "B"]

LABEL = "liked"
GENRES = "genres"  # the one field of several values, joined by "|"
FIELDS = ("gender", "age", "occupation", "zip", GENRES, "year")
IDS = ("user_id", "movie_id")
PADDING, UNKNOWN = 0, 1  # the ids in front of those of a field's values


@dataclass(frozen=True)
class Dataset:
    setting: Setting
    train: pl.DataFrame
    valid: pl.DataFrame
    test: pl.DataFrame

    @property
    def fields(self) -> tuple[str, ...]:
        return FIELDS if self.setting == "A" else IDS + FIELDS

    def head(self, rows: int) -> "Dataset":
        """The first rows of each part, to try things on."""
        return replace(self, train=self.train[:rows], valid=self.valid[:rows], test=self.test[:rows])


@dataclass(frozen=True)
class Part:
    """Rows as numbers: `ids` holds N of each field, N x L of genres, padded behind; `liked` is 0 or 1."""

    ids: dict[str, NDArray[np.int32]]
    liked: NDArray[np.int8]


@dataclass(frozen=True)
class Encoded:
    """The parts, and how many ids each field has, padding and unknown among them."""

    sizes: dict[str, int]
    train: Part
    valid: Part
    test: Part

    def __iter__(self) -> Iterator[Part]:
        return iter((self.train, self.valid, self.test))


def folder() -> Path:
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    return Path(os.environ.get("ATTN_DATA", default)) / "ctr" / "ml-1m"


def read_entities(name: str, columns: tuple[str, ...]) -> pl.DataFrame:
    """A file of MovieLens, latin-1 with "::" between the columns, as text columns."""
    lines = (folder() / name).read_text(encoding="latin-1").splitlines()
    return pl.DataFrame([line.split("::") for line in lines], schema=list(columns), orient="row")


def ratings() -> pl.DataFrame:
    """All 1,000,209 rows in the order of the file, users and movies joined to them."""
    users = read_entities("users.dat", ("user_id", "gender", "age", "occupation", "zip"))
    movies = read_entities("movies.dat", ("movie_id", "title", GENRES))
    movies = movies.with_columns(year=pl.col("title").str.extract(r"\((\d{4})\)\s*$")).drop("title")
    users = users.cast({"user_id": pl.Int32, "age": pl.Int8, "occupation": pl.Int8})
    movies = movies.cast({"movie_id": pl.Int32, "year": pl.Int16})
    table = pl.read_parquet(folder() / "ratings.parquet")
    return table.join(users, on="user_id", maintain_order="left").join(movies, on="movie_id", maintain_order="left")


def load(setting: Setting) -> Dataset:
    table = ratings().filter(pl.col("rating") != 3).with_columns((pl.col("rating") > 3).cast(pl.Int8).alias(LABEL))
    order = np.load(folder() / "split_seed2019.npy")
    first, second = int(0.8 * len(order)), int(0.9 * len(order))
    table = table.select(*(IDS if setting == "B" else ()), *FIELDS, LABEL)[order]
    return Dataset(setting, table[:first], table[first:second], table[second:])


def write_csv(path: Path, rows: int = 1_000_000) -> Path:
    """The raw file of the speed benchmark: the first rows, 8 fields and the label, written once."""
    if not path.exists():
        table = ratings()[:rows].with_columns((pl.col("rating") > 3).cast(pl.Int8).alias(LABEL))
        with replacing(path) as part:
            table.select(*IDS, *FIELDS, LABEL).write_csv(part)
    return path


def encode(data: Dataset) -> Encoded:
    """Ids of the values that occur in the training rows, sorted; other values get the unknown id."""
    tables = (data.train, data.valid, data.test)
    values = {field: flat(data.train, field).unique().sort() for field in data.fields}
    length = max(int(table[GENRES].str.count_matches("|", literal=True).max()) for table in tables) + 1

    def part(table: pl.DataFrame) -> Part:
        ids = {field: lookup(flat(table, field), known) for field, known in values.items()}
        ids[GENRES] = pad(ids[GENRES], table[GENRES].str.count_matches("|", literal=True).to_numpy() + 1, length)
        return Part(ids, table[LABEL].to_numpy(writable=True))

    return Encoded({field: len(known) + 2 for field, known in values.items()}, *map(part, tables))


def flat(table: pl.DataFrame, field: str) -> pl.Series:
    """All values of a field one after the other: as many as rows, but for genres."""
    return table[field].str.split("|").explode() if field == GENRES else table[field]


def lookup(values: pl.Series, known: pl.Series) -> NDArray[np.int32]:
    ids = np.arange(len(known), dtype=np.int32) + 2
    return values.replace_strict(known, ids, default=UNKNOWN, return_dtype=pl.Int32).to_numpy()


def pad(flat_ids: NDArray[np.int32], counts_n: NDArray[np.uint32], length: int) -> NDArray[np.int32]:
    ids_nl = np.full((len(counts_n), length), PADDING, np.int32)
    ids_nl[np.arange(length) < counts_n[:, None]] = flat_ids
    return ids_nl
