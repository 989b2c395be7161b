"""Pages of Parquet files: those of good files pass, impossible ones are refused before polars takes memory for them."""

from pathlib import Path

import polars as pl
import pytest

from attn.core.errors import InputError
from attn.data_adapters.tables.open import open_table
from attn.data_adapters.tables.pages import check_pages
from attn.data_adapters.tables.small import read_table

FRAME = pl.DataFrame(
    {
        "n": [None if k % 7 == 0 else k for k in range(24)],
        "text": [f"value {k % 5}" for k in range(24)],
        "list": [list(range(k % 4)) for k in range(24)],
        "both": [{"a": k, "b": None} for k in range(24)],
        "none": [None] * 24,
    },
    schema_overrides={"none": pl.Float64},
)
VALUES = b"\x2c\x15\x30"  # of a data page's header: a structure that begins with 24 values, as zigzag number 48


@pytest.mark.parametrize("compression", ["uncompressed", "snappy", "gzip", "zstd", "lz4", "brotli"])
@pytest.mark.parametrize("rows", [None, 5])
def test_good_files_pass(tmp_path: Path, compression: str, rows: int | None) -> None:
    path = tmp_path / "x.parquet"
    FRAME.write_parquet(path, compression=compression, row_group_size=rows, data_page_size=64)  # type: ignore[arg-type]
    check_pages(path)
    FRAME.head(0).write_parquet(path)
    check_pages(path)


@pytest.mark.real_data
def test_files_of_other_writers_pass(data_dir: Path) -> None:
    paths = sorted(data_dir.rglob("*.parquet"))
    assert paths
    for path in paths:
        check_pages(path)


@pytest.mark.parametrize("values", [0x31, 0x32, 0x7F], ids=["-25 values", "25 values", "-64 values"])
def test_a_page_with_an_impossible_number_of_values(tmp_path: Path, values: int) -> None:
    """Fewer than none end the process in polars; more than the column has are damage too."""
    path = tmp_path / "x.parquet"
    FRAME.write_parquet(path, compression="uncompressed")
    content = path.read_bytes()
    assert VALUES in content
    path.write_bytes(content.replace(VALUES, VALUES[:2] + bytes([values]), 1))
    for read in (open_table, read_table):
        with pytest.raises(InputError, match="pages cannot be read"):
            read(path)


@pytest.mark.parametrize("cut", range(4))
def test_a_table_of_contents_that_is_damaged(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "x.parquet"
    FRAME.write_parquet(path)
    content = path.read_bytes()
    footer = int.from_bytes(content[-8:-4], "little")
    at = len(content) - 8 - footer + cut
    path.write_bytes(content[:at] + b"\x19\xfc\xff\xff\xff\xff\x0f" + content[at + 7 :])
    with pytest.raises(InputError, match="is damaged"):
        check_pages(path)


def test_a_table_of_contents_longer_than_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    FRAME.write_parquet(path)
    path.write_bytes(path.read_bytes()[:-8] + b"\xff\xff\xff\x7fPAR1")
    with pytest.raises(InputError, match="table of contents does not fit"):
        open_table(path)
