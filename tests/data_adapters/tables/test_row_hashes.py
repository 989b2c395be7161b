"""Hashes of rows stay what they are: they are compared with records that were written years ago."""

import datetime
import struct
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from attn.data_adapters.tables.row_hashes import row_hashes, texts

AT = datetime.datetime(2026, 11, 27, 10, 30, 0, 500)
FRAME = pl.DataFrame(
    {
        "id": [7, None, 9_007_199_254_740_993],
        "price": [0.1, -0.0, float("nan")],
        "name": ["a", "", None],
        "tags": [["x", "y"], [], None],
        "at": [AT, None, AT],
        "yes": [True, False, None],
    },
    schema_overrides={"id": pl.Int64},
)


def by_hand(*cells: str) -> int:
    """The polynomial, and SplitMix64 as its authors write it."""
    text = "".join(f"{cell}\x1f" for cell in cells).encode()
    z = sum(byte * pow(0x9E3779B97F4A7C15, place, 2**64) for place, byte in enumerate(text, 1)) % 2**64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
    return z ^ (z >> 31)


def test_a_row_is_hashed_as_its_cells_one_after_the_other():
    tenth = str(struct.unpack("<I", struct.pack("<f", 0.1))[0])
    microseconds = str(round((AT - datetime.datetime(1970, 1, 1)).total_seconds() * 1_000_000))
    expected = [
        by_hand("7", tenth, "a", "x\x1ey", microseconds, "true"),
        by_hand("\0", "0", "", "", "\0", "false"),
        by_hand("9007199254740993", "\0", "\0", "\0", microseconds, "\0"),
    ]
    assert row_hashes(FRAME).tolist() == expected


def test_the_hashes_are_these_whatever_the_versions():
    """Numbers written down: a new polars or a new attn must find them again."""
    assert [f"{value:016x}" for value in row_hashes(FRAME)] == [
        "00351bec84dcfd9a",
        "5fad8b227804b7b6",
        "5eb49c630890536a",
    ]


def test_the_format_and_the_batches_make_no_difference(tmp_path: Path):
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {"n": rng.integers(0, 9, 500), "x": rng.normal(size=500), "t": rng.integers(0, 9, 500).astype(str)}
    )
    frame.write_csv(tmp_path / "t.csv")
    frame.write_parquet(tmp_path / "t.parquet")
    whole = row_hashes(frame)
    assert (row_hashes(pl.read_csv(tmp_path / "t.csv")) == whole).all()
    assert (row_hashes(pl.read_parquet(tmp_path / "t.parquet").cast({"x": pl.Float32, "n": pl.Int8})) == whole).all()
    assert np.concatenate([row_hashes(part) for part in frame.iter_slices(7)]).tolist() == whole.tolist()
    assert len({*whole.tolist()}) == 500


def test_no_row_and_no_column():
    assert row_hashes(FRAME.head(0)).shape == (0,) == row_hashes(pl.DataFrame()).shape


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_the_unit_of_a_time_makes_no_difference(unit: str):
    at = pl.Series("at", [datetime.datetime(2026, 1, 2, 3, 4, 5)])
    assert texts(at.cast(pl.Datetime(unit))).to_list() == texts(at).to_list()  # type: ignore[arg-type]


def test_cells_do_not_run_into_one_another():
    one, other = pl.DataFrame({"a": ["ab"], "b": ["c"]}), pl.DataFrame({"a": ["a"], "b": ["bc"]})
    assert row_hashes(one)[0] != row_hashes(other)[0]
    fixed = pl.DataFrame({"v": [[1, 2]]}, schema={"v": pl.Array(pl.Int8, 2)})
    assert row_hashes(fixed) == row_hashes(pl.DataFrame({"v": [[1, 2]]}))
