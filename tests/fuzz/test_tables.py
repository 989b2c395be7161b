"""Damaged tables of every format, through the reader of small ones and the one of any size; and TOML of fields."""

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from fuzz.mutate import fuzz, mutants

from attn.data_adapters.sky.catalog import read_catalog
from attn.data_adapters.tables.fields import override
from attn.data_adapters.tables.guess import infer_fields
from attn.data_adapters.tables.open import open_table
from attn.data_adapters.tables.small import read_table

FRAME = pl.DataFrame(
    {
        "id": ["a", "b", 'c "d"', "e,f", None, "g"] * 4,
        "price": [1.5, None, float("inf"), -0.25, 1e300, 7.0] * 4,
        "count": [1, 2, 3, 4, 5, None] * 4,
        "good": [True, False, None, True, True, False] * 4,
        "zip": ["00501", "90210", "1", "x", "é", ""] * 4,
        "click": [0, 1, 0, 1, 1, 0] * 4,
    }
)


def parquet(frame: pl.DataFrame = FRAME, **options: object) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def arrow() -> bytes:
    buffer = io.BytesIO()
    FRAME.write_ipc(buffer)
    return buffer.getvalue()


def nested() -> pl.DataFrame:
    lists = pl.Series("tags", [["a", "b"], [], None] * 8)
    return FRAME.with_columns(lists, pl.struct("count", "good").alias("both"), pl.col("zip").cast(pl.Categorical))


CSV = FRAME.write_csv().encode()
TSV = FRAME.write_csv(separator="\t").encode()
CRITEO = ("\t".join(["1", *map(str, range(13)), *["68fd1e64"] * 26]) + "\n").encode() * 4
LIBSVM = b"1 1:0.5 3:1 7:-2.5\n-1 2:1 3:1\n0 1:1e-3 # remark\n" * 4
LIBFFM = b"1 0:1:1 1:7:1 1:8:1 2:9:0.5\n0 0:2:1 1:7:1 2:9:0.25\n" * 4
PARQUETS = [
    *(parquet(compression=kind) for kind in ("uncompressed", "snappy", "zstd", "gzip", "lz4")),
    parquet(nested()),
    parquet(FRAME, row_group_size=5),
]
SMALL = {"csv": [CSV], "tsv": [TSV], "parquet": PARQUETS}
LARGE = {
    "csv": [CSV, CSV.replace(b",", b";"), CSV.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + CSV],
    "csv.gz": [gzip.compress(CSV, mtime=0)],
    "tsv": [TSV, CRITEO],
    "parquet": PARQUETS,
    "arrow": [arrow()],
    "libsvm": [LIBSVM],
    "libffm": [LIBFFM],
    "txt": [CSV, LIBSVM, LIBFFM],
}
SHARED = {"csv": 4, "csv.gz": 4, "tsv": 4, "txt": 4, "libsvm": 2, "libffm": 2}  # formats that share a reader's inputs


def target(tmp_path: Path, suffix: str, read: Callable[[Path], object]) -> Callable[[bytes], None]:
    path = tmp_path / f"x.{suffix}"

    def one(data: bytes) -> None:
        path.write_bytes(data)
        read(path)

    return one


@pytest.mark.parametrize("suffix", SMALL)
def test_small_tables(tmp_path: Path, suffix: str, fuzz_count: int) -> None:
    outcomes = fuzz(
        target(tmp_path, suffix, read_table), mutants(SMALL[suffix], fuzz_count // len(SMALL), f"small {suffix}")
    )
    assert outcomes["read"] and outcomes["InputError"]


def test_catalogues(tmp_path: Path, fuzz_count: int) -> None:
    good = b'name,RA,Dec,x,y,size\nNGC 1,150.5,-2.25,10,20,64\n,1e400,nan,,5,\n"a,b",12 30 15,+41d16m,1,2,3\n'
    outcomes = fuzz(target(tmp_path, "csv", read_catalog), mutants([good], fuzz_count // 2, "catalogue"))
    assert outcomes["read"] and outcomes["InputError"]


@pytest.mark.parametrize("suffix", LARGE)
def test_large_tables(tmp_path: Path, suffix: str, fuzz_count: int) -> None:
    def read(path: Path) -> None:
        table = open_table(path)
        infer_fields(table, table.label, table.head(50))
        rows = sum(len(frame) for frame in table.batches(rows=7))
        assert rows == table.rows()

    outcomes = fuzz(
        target(tmp_path, suffix, read), mutants(LARGE[suffix], fuzz_count // SHARED.get(suffix, 1), f"large {suffix}")
    )
    assert outcomes["read"] and outcomes["InputError"]


TOML = b"""
[price]
kind = "number"
transform = "log2"

["tags as a whole"]
column = "zip"
kind = "category"

[count]
kind = "time"
part = "weekday"
format = "%Y-%m-%d"
most = 4

[id]
kind = "ignore"
"""


def test_fields(tmp_path: Path, fuzz_count: int) -> None:
    (tmp_path / "x.csv").write_bytes(CSV)
    table = open_table(tmp_path / "x.csv")
    fields = infer_fields(table, "click", table.head(50))
    read = target(tmp_path, "toml", lambda path: override(fields, path, table.columns))
    outcomes = fuzz(read, mutants([TOML], fuzz_count, "fields"))
    assert outcomes["read"] and outcomes["InputError"]
