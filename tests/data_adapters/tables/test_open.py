"""A table is the same whatever file it is in, and is read in order, in batches of the size asked for."""

import gzip
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from attn.core.errors import InputError, UsageError
from attn.data_adapters.tables import delimited
from attn.data_adapters.tables import rows as table_rows
from attn.data_adapters.tables.cells import as_text
from attn.data_adapters.tables.fields import Field
from attn.data_adapters.tables.open import Table, open_table, reading

ROWS = 5_000


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    odd = ["plain", "with, comma", "tab\there", 'a "quote"', "two\nlines", "ünï ☃", "semi;colon", " spaces ", None]
    return pl.DataFrame(
        {
            "click": rng.integers(0, 2, ROWS),
            "price": np.where(rng.random(ROWS) < 0.1, np.nan, rng.lognormal(size=ROWS)),
            "count": pl.Series(rng.integers(-5, 10**12, ROWS)).set(pl.Series(rng.random(ROWS) < 0.2), None),
            "site": pl.Series(rng.choice(odd, ROWS).tolist(), dtype=pl.String),
            "app": pl.Series([f"a{i % 97}" for i in range(ROWS)]),
            "new": pl.Series(rng.integers(0, 2, ROWS)).cast(pl.Boolean),
        }
    )


def write_gzip(text: str, path: Path) -> None:
    path.write_bytes(gzip.compress(text.encode()))


WRITERS: dict[str, Callable[[pl.DataFrame, Path], None]] = {
    "t.csv": lambda frame, path: frame.write_csv(path),
    "t.tsv": lambda frame, path: frame.write_csv(path, separator="\t"),
    "semicolons.csv": lambda frame, path: frame.write_csv(path, separator=";"),
    "windows.csv": lambda frame, path: frame.write_csv(path, line_terminator="\r\n", include_bom=True),
    "quoted.csv": lambda frame, path: frame.write_csv(path, quote_style="always"),
    "t.csv.gz": lambda frame, path: write_gzip(frame.write_csv(), path),
    "t.parquet": lambda frame, path: frame.write_parquet(path, row_group_size=777),
    "t.feather": lambda frame, path: frame.write_ipc(path),
    "t.arrow": lambda frame, path: frame.write_ipc(path, compression="zstd"),
    "no_suffix": lambda frame, path: frame.write_csv(path),
    "columnar_without_suffix": lambda frame, path: frame.write_parquet(path),
}


def whole(table: Table, rows: int = 1_234) -> pl.DataFrame:
    return pl.concat(table.batches(rows=rows))


@pytest.fixture(params=WRITERS)
def table(
    request: pytest.FixtureRequest, tmp_path: Path, frame: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> Table:
    """The frame in each format; text in many small blocks, none of them kept."""
    monkeypatch.setattr(table_rows, "BLOCK", 10_000)
    monkeypatch.setattr(delimited, "HELD_BYTES", 0)
    path = tmp_path / request.param
    WRITERS[request.param](frame, path)
    return open_table(path)


def test_every_format_gives_the_same_table(table: Table, frame: pl.DataFrame) -> None:
    assert table.columns == tuple(frame.columns)
    assert table.schema == dict(frame.schema)
    assert table.rows() == ROWS
    assert_frame_equal(whole(table), frame)
    assert_frame_equal(whole(table), frame)  # a second time


def test_batches_have_the_size_asked_for(table: Table) -> None:
    assert [batch.height for batch in table.batches(rows=1_500)] == [1_500, 1_500, 1_500, 500]
    assert [batch.height for batch in table.batches(rows=2_500)] == [2_500, 2_500]


def test_some_columns_in_the_order_asked_for(table: Table, frame: pl.DataFrame) -> None:
    assert_frame_equal(pl.concat(table.batches(["site", "click"])), frame.select("site", "click"))
    with pytest.raises(InputError, match="has no column 'clicks'"):
        list(table.batches(["clicks"]))


def test_a_query_sees_the_same_rows(table: Table, frame: pl.DataFrame) -> None:
    def question(lazy: pl.LazyFrame) -> pl.LazyFrame:
        return lazy.filter(pl.col("count") > 10).group_by("app").agg(pl.col("click").sum(), pl.len()).sort("app")

    with reading(table):
        assert_frame_equal(question(table.lazy()).collect(), question(frame.lazy()).collect())
        assert table.lazy().select(pl.len()).collect().item() == ROWS
        assert_frame_equal(table.lazy().filter(pl.col("new")).head(70).collect(), frame.filter(pl.col("new")).head(70))


@pytest.mark.parametrize("rows", [0, 1, 70, ROWS + 1])
def test_head(table: Table, frame: pl.DataFrame, rows: int) -> None:
    assert_frame_equal(table.head(rows), frame.head(rows))


def test_zstd_text(tmp_path: Path, frame: pl.DataFrame) -> None:
    simple = frame.select("click", "price", "app")
    simple.lazy().sink_csv(tmp_path / "t.csv.zst", compression="zstd", include_bom=True)
    assert_frame_equal(whole(open_table(tmp_path / "t.csv.zst")), simple)


def test_a_small_text_is_kept_and_a_large_one_read_again(
    tmp_path: Path, frame: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.csv"
    frame.write_csv(path)
    kept = open_table(path)
    monkeypatch.setattr(delimited, "HELD_BYTES", 1_000)
    again = open_table(path)
    path.unlink()
    assert_frame_equal(whole(kept), frame)
    with pytest.raises(InputError, match=r"t\.csv: is not there"):
        whole(again)


def test_a_text_that_changes_between_the_passes(
    tmp_path: Path, frame: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited, "HELD_BYTES", 0)
    path = tmp_path / "t.csv"
    frame.write_csv(path)
    table = open_table(path)
    frame.head(100).write_csv(path)
    with pytest.raises(InputError, match="was changed while it was read"):
        whole(table)
    with pytest.raises(InputError, match="was changed while it was read"), reading(table):
        table.lazy().select(pl.col("price").mean()).collect()


@pytest.mark.parametrize("suffix", ["csv", "parquet", "arrow"])
def test_folders_globs_and_lists_in_order(tmp_path: Path, frame: pl.DataFrame, suffix: str) -> None:
    for number, part in enumerate(frame.iter_slices(900)):
        path = tmp_path / f"day={number % 2}" / f"part-{number}.{suffix}"
        path.parent.mkdir(exist_ok=True)
        WRITERS[f"t.{suffix}"](part, path)
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / "day=0" / f".part-0.{suffix}.crc").write_bytes(b"\0\1")
    files = sorted(tmp_path.glob("*/part*"))
    expected = pl.concat([frame.slice(900 * number, 900) for number in (0, 2, 4, 1, 3, 5)])
    for source in (tmp_path, f"{tmp_path}/*/*.{suffix}", [tmp_path / "day=0", *files[3:]], files):
        table = open_table(source)
        assert table.rows() == ROWS
        assert_frame_equal(whole(table).select(frame.columns), expected)
    if suffix != "csv":  # folders as Hive and Spark write them
        days = whole(open_table(tmp_path))["day"]
        assert days.value_counts().sort("day").rows() == [("0", 2_700), ("1", 2_300)]


def test_files_may_have_their_columns_in_another_order(tmp_path: Path, frame: pl.DataFrame) -> None:
    for suffix in ("csv", "parquet"):
        WRITERS[f"t.{suffix}"](frame, tmp_path / f"a.{suffix}")
        WRITERS[f"t.{suffix}"](frame.select(reversed(frame.columns)), tmp_path / f"b.{suffix}")
        assert_frame_equal(whole(open_table(f"{tmp_path}/*.{suffix}")), pl.concat([frame, frame]))


@pytest.mark.parametrize("suffix", ["csv", "parquet", "arrow"])
def test_files_that_differ_are_refused_by_file_and_column(tmp_path: Path, frame: pl.DataFrame, suffix: str) -> None:
    WRITERS[f"t.{suffix}"](frame, tmp_path / f"a.{suffix}")
    WRITERS[f"t.{suffix}"](frame.drop("app"), tmp_path / f"b.{suffix}")
    with pytest.raises(InputError, match=rf"b\.{suffix}: has no column 'app', which .*a\.{suffix} has"):
        open_table(tmp_path)
    WRITERS[f"t.{suffix}"](frame.with_columns(extra=1), tmp_path / f"b.{suffix}")
    with pytest.raises(InputError, match=rf"b\.{suffix}: has a column 'extra', which .*a\.{suffix} has not"):
        open_table(tmp_path)


def test_parquet_files_of_other_types_become_one_type(tmp_path: Path, frame: pl.DataFrame) -> None:
    frame.write_parquet(tmp_path / "a.parquet")
    frame.with_columns(pl.col("click").cast(pl.String)).write_parquet(tmp_path / "b.parquet")
    assert open_table(tmp_path).schema["click"] == pl.String
    assert set(whole(open_table(tmp_path))["click"]) == set(frame["click"].cast(pl.String))


DRIFT: dict[str, tuple[list[pl.Series], pl.DataType]] = {
    "widths": ([pl.Series([1, 2], dtype=pl.Int32), pl.Series([3], dtype=pl.Int64)], pl.Int64()),
    "signs": ([pl.Series([2**64 - 1], dtype=pl.UInt64), pl.Series([-3], dtype=pl.Int64)], pl.Int128()),
    "a gap": ([pl.Series([1, 2]), pl.Series([3.0, None])], pl.Float64()),
    "units": ([pl.Series([datetime(2026, 1, 1)], dtype=pl.Datetime(unit)) for unit in ("ms", "ns")], pl.Datetime("us")),
    "dictionaries": ([pl.Series(["a"], dtype=pl.Categorical), pl.Series(["b"])], pl.String()),
    "nothing first": ([pl.Series([None, None]), pl.Series([7])], pl.Int64()),
    "nothing later": ([pl.Series([1.5]), pl.Series([None, None])], pl.Float64()),
    "times and text": (
        [pl.Series(["2026-01-05 00:17:02"]), pl.Series([datetime(2026, 1, 5, 23), None], dtype=pl.Datetime("ms"))],
        pl.String(),
    ),
    "numbers and text": ([pl.Series([7.0, 2.5, None]), pl.Series(["7"])], pl.String()),
}


@pytest.mark.parametrize("kind", DRIFT)
def test_files_whose_types_drift(kind: str, tmp_path: Path) -> None:
    files, dtype = DRIFT[kind]
    for number, cells in enumerate(files):
        pl.DataFrame({"x": cells, "y": [0] * len(cells)}).write_parquet(tmp_path / f"{number}.parquet")
    table = open_table(tmp_path)
    assert table.schema["x"] == dtype
    cells = whole(table)["x"]
    assert cells.dtype == dtype and len(cells) == sum(map(len, files))
    if kind == "numbers and text":
        assert cells.to_list() == ["7", "2.5", None, "7"]
    if kind == "times and text":
        hours = as_text(cells, Field(name="x", column="x", kind="time"))
        assert hours.to_list() == ["0", "23", None]
    if kind == "nothing first":
        assert cells.to_list() == [None, None, 7]


def test_files_whose_types_have_nothing_in_common(tmp_path: Path) -> None:
    for number, cells in enumerate(([datetime(2026, 1, 1)], [1.5])):
        pl.DataFrame({"x": cells}).write_parquet(tmp_path / f"{number}.parquet")
    with pytest.raises(InputError, match=r"1\.parquet: column 'x' is Float64, but Datetime.* in .*0\.parquet"):
        open_table(tmp_path)


def test_folders_of_keys(tmp_path: Path) -> None:
    for number, key in enumerate(("__HIVE_DEFAULT_PARTITION__", "a%3Db%20c")):
        (tmp_path / "hive" / f"day={key}").mkdir(parents=True)
        pl.DataFrame({"x": [number]}).write_parquet(tmp_path / "hive" / f"day={key}" / "p.parquet")
    assert sorted(whole(open_table(tmp_path / "hive")).rows(), key=str) == [(0, None), (1, "a=b c")]
    one = tmp_path / "hive" / "day=a%3Db%20c"
    assert open_table(one).columns == ("x",)
    assert whole(open_table(one, columns=["x", "day"])).rows() == [(1, "a=b c")]
    assert whole(open_table(one / "p.parquet", columns=["x", "day"])).rows() == [(1, "a=b c")]


def test_an_empty_file_among_others_has_no_rows(tmp_path: Path) -> None:
    for name, text in {"1": "x,y\n1,2\n", "2": "", "3": "x,y\n3,4\n"}.items():
        (tmp_path / f"{name}.csv").write_text(text)
    assert whole(open_table(tmp_path)).rows() == [(1, 2), (3, 4)]


def test_formats_are_not_mixed(tmp_path: Path, frame: pl.DataFrame) -> None:
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_csv(tmp_path / "b.csv")
    with pytest.raises(InputError, match=r"b\.csv: is csv, but .*a\.parquet is parquet"):
        open_table(tmp_path)


def test_other_types_of_parquet_become_plain(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "time": [datetime(2014, 10, 21, 3), None],
            "tags": [["a", "b"], []],
            "kind": pl.Series(["x", "y"], dtype=pl.Categorical),
            "small": pl.Series([1, 2], dtype=pl.UInt8),
            "inf": [float("inf"), float("nan")],
        }
    )
    frame.write_parquet(tmp_path / "t.parquet")
    table = open_table(tmp_path / "t.parquet")
    expected = frame.with_columns(pl.Series("tags", ["a|b", None]), pl.col("kind").cast(pl.String))
    assert_frame_equal(whole(table), expected)
    assert table.multi == {"tags": "|"} and table.declared == {"kind": "category"}


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "arrow"])
def test_a_table_without_rows(tmp_path: Path, frame: pl.DataFrame, suffix: str) -> None:
    WRITERS[f"t.{suffix}"](frame.clear(), tmp_path / f"t.{suffix}")
    table = open_table(tmp_path / f"t.{suffix}")
    assert table.columns == tuple(frame.columns)
    assert table.rows() == 0
    assert list(table.batches()) == []
    assert table.head(5).shape == (0, frame.width)
    assert table.lazy().collect().shape == (0, frame.width)


def test_an_unknown_format_names_the_known(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no table format 'xlsx'") as caught:
        open_table(tmp_path / "t.csv", format="xlsx")
    for name in ("csv", "tsv", "parquet", "arrow", "libsvm", "libffm", "criteo", "avazu", "movielens", "frappe"):
        assert name in str(caught.value)


def test_what_is_no_file_here_is_said(tmp_path: Path, frame: pl.DataFrame) -> None:
    for address in ("s3://bucket/t.parquet", "https://host/t.csv"):
        with pytest.raises(InputError, match=f"{address}: is an address, and only files of this machine are read"):
            open_table(address)
    frame.write_parquet(tmp_path / "1.parquet")
    (tmp_path / "_delta_log").mkdir()
    with pytest.raises(InputError, match="has a _delta_log: its files are of several versions of a table"):
        open_table(tmp_path)
