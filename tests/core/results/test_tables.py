"""Tables of results: round trips through all formats, and nothing half-written."""

import csv
import json
import resource
import subprocess
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from astropy.table import Table

from attn.core.errors import UsageError
from attn.core.results.prediction import Prediction
from attn.core.results.tables import ROWS_AT_ONCE, ResultWriter, TableWriter, result_frame

LABELS = ["elliptical", "spiral"]
FORMATS = ["csv", "jsonl", "parquet", "fits", "ecsv", "vot"]
ASTRONOMY = {"fits": "fits", "ecsv": "ascii.ecsv", "vot": "votable"}


def three() -> list[Prediction]:
    return [
        Prediction.from_probabilities(
            "a.fits", LABELS, [0.25, 0.75], flags=("nan", "small"), model="m", values={"ra": 12.5}
        ),
        Prediction.failed("b.fits", 'b.fits: no image; try "--hdu"', "m"),
        Prediction.from_probabilities("c,d.fits", LABELS, [1.0, 0.0], model="m", values={"ra": -1, "name": "M 51"}),
    ]


def write(path: Path, predictions: list[Prediction]) -> pl.DataFrame:
    with ResultWriter(path, LABELS) as writer:
        for prediction in predictions:
            writer.write(prediction)
    return read(path)


def read(path: Path) -> pl.DataFrame:
    if path.suffix == ".csv":
        return pl.read_csv(path, infer_schema_length=None)
    if form := ASTRONOMY.get(path.suffix[1:]):
        table = Table.read(path, format=form)
        if form == "fits":
            table.convert_bytestring_to_unicode()
        cells = {name: np.ma.asarray(table[name]).tolist() for name in table.colnames}
        return pl.DataFrame({name: [None if cell == "" else cell for cell in each] for name, each in cells.items()})
    return pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_ndjson(path, infer_schema_length=None)


@pytest.mark.parametrize("suffix", FORMATS)
def test_round_trip(tmp_path: Path, suffix: str) -> None:
    table = write(tmp_path / f"rows.{suffix}", three())
    assert table.columns[:8] == [
        "id",
        "label",
        "p_elliptical",
        "p_spiral",
        "uncertainty",
        "flags",
        "error",
        "model",
    ]
    assert set(table.columns[8:]) == {"ra", "name"}
    assert table["id"].to_list() == ["a.fits", "b.fits", "c,d.fits"]
    assert table["label"].to_list() == ["spiral", None, "elliptical"]
    assert table["p_spiral"].to_list() == [0.75, None, 0.0]
    assert table["error"].to_list() == [None, 'b.fits: no image; try "--hdu"', None]
    assert table["ra"].to_list() == [12.5, None, -1.0]
    assert table["name"].to_list() == [None, None, "M 51"]
    assert table["flags"].fill_null("").to_list() == ["nan;small", "", ""]


@pytest.mark.parametrize("suffix", FORMATS)
def test_only_the_table_is_left(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / f"rows.{suffix}", three())
    assert [path.name for path in tmp_path.iterdir()] == [f"rows.{suffix}"]


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt])
def test_exception_keeps_the_older_table(tmp_path: Path, suffix: str, stop: type[BaseException]) -> None:
    path = tmp_path / f"rows.{suffix}"
    path.write_text("older")
    with pytest.raises(stop), ResultWriter(path, LABELS) as writer:
        writer.write(three()[0])
        raise stop
    assert path.read_text() == "older"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_what_a_killed_run_left_of_the_same_table_is_removed(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as done:
        pass
    spool = tmp_path / f".rows.csv.{done.pid}.part"
    spool.mkdir()
    (spool / "00000000.arrow").write_text("x")
    (tmp_path / f".rows.{done.pid}.part.csv").write_text("x")
    (tmp_path / f".other.{done.pid}.part.csv").write_text("x")
    with TableWriter(tmp_path / "rows.csv") as table:
        table.write([{"x": 1}])
    assert {path.name for path in tmp_path.iterdir()} == {"rows.csv", f".other.{done.pid}.part.csv"}


def test_embeddings_become_float32_columns(tmp_path: Path) -> None:
    e_ne = np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32)
    rows = [Prediction.from_probabilities(str(i), LABELS, [0.5, 0.5], embedding=e) for i, e in enumerate(e_ne)]
    table = write(tmp_path / "rows.parquet", [*rows, Prediction.failed("x", "why")])
    stored = table.select(f"e{i}" for i in range(5))
    assert stored.dtypes == [pl.Float32] * 5
    np.testing.assert_array_equal(stored.to_numpy()[:2], e_ne)
    assert stored.row(2) == (None,) * 5


def test_embeddings_of_two_lengths_are_a_bug(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="length 5"), ResultWriter(tmp_path / "rows.csv", LABELS) as writer:
        for size in (5, 4):
            writer.write(Prediction.from_probabilities("x", LABELS, [0.5, 0.5], embedding=np.zeros(size)))


@pytest.mark.parametrize("suffix", FORMATS)
def test_nan_is_never_written(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows.{suffix}"
    values = {"ra": float("nan"), "z": np.float32("inf")}
    embedding = np.array([np.nan, 1.0])
    rows = [Prediction.from_probabilities("x", LABELS, [0.5, 0.5], values=values, embedding=embedding)]
    table = write(path, rows)
    assert table.select("ra", "z").row(0) == (None, None)
    embedded = table["embedding"][0].to_list() if suffix == "jsonl" else list(table.select("e0", "e1").row(0))
    assert embedded == [None, 1.0]
    if suffix in ("csv", "jsonl"):
        assert "nan" not in path.read_text().lower()


def test_whole_numbers_keep_all_their_digits(tmp_path: Path) -> None:
    objid = 1237648720693755918  # of SDSS; not a float64
    rows = [Prediction.failed("x", "why", values={"objid": objid}), Prediction.failed("y", "why")]
    for suffix in FORMATS:
        assert write(tmp_path / f"rows.{suffix}", rows)["objid"].to_list() == [objid, None]


@pytest.mark.parametrize("suffix", FORMATS)
def test_whole_decimals_keep_all_their_digits(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows.{suffix}"
    cells = {"user": pl.Series([Decimal(12345678901234567891)]), "price": pl.Series([Decimal("1.5")])}
    with TableWriter(path) as writer:
        writer.write(pl.DataFrame(cells))
    assert [str(cell) for cell in read(path).row(0)] == ["12345678901234567891", "1.5"]


def test_mixed_values_become_text(tmp_path: Path) -> None:
    rows = [Prediction.failed("x", "why", values={"note": value}) for value in (1.5, "two", 1237648720693755918)]
    table = write(tmp_path / "rows.parquet", rows)
    assert table["note"].to_list() == ["1.5", "two", "1237648720693755918"]


def test_file_name_that_is_not_utf8(tmp_path: Path) -> None:
    name = b"caf\xe9.fits".decode("utf-8", "surrogateescape")
    for suffix in FORMATS:
        table = write(tmp_path / f"rows.{suffix}", [Prediction.failed(name, f"{name}: why")])
        assert table["id"].to_list() == ["caf\\udce9.fits"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_table_without_rows_has_its_columns(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows.{suffix}"
    with ResultWriter(path, LABELS):
        pass
    if suffix == "jsonl":
        assert path.read_text() == ""
    else:
        assert read(path).columns[:4] == ["id", "label", "p_elliptical", "p_spiral"]


def test_csv_is_what_the_csv_module_reads(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    write(path, [Prediction.failed('line\nbreak, "quoted"', "why")])
    with path.open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["id"], row["error"], row["p_spiral"]) == ('line\nbreak, "quoted"', "why", "")


def test_every_jsonl_line_is_strict_json(tmp_path: Path) -> None:
    write(tmp_path / "rows.jsonl", three())
    lines = (tmp_path / "rows.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["a.fits", "b.fits", "c,d.fits"]


def test_other_suffix_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.csv, \.jsonl, \.parquet, \.fits, .* or \.xml"):
        ResultWriter(tmp_path / "rows.xlsx", LABELS)


def test_suffix_in_capitals(tmp_path: Path) -> None:
    with ResultWriter(tmp_path / "rows.CSV", LABELS) as writer:
        writer.write(three()[0])
    assert (tmp_path / "rows.CSV").read_text().startswith("id,label,")


def test_folder_is_made(tmp_path: Path) -> None:
    assert write(tmp_path / "new" / "rows.parquet", three()).height == 3


def test_place_that_cannot_be_written_is_told_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        ResultWriter(tmp_path / "file" / "rows.csv", LABELS)
    with pytest.raises(UsageError, match="folder"):
        (tmp_path / "rows.csv").mkdir()
        ResultWriter(tmp_path / "rows.csv", LABELS)


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    for suffix in FORMATS:
        write(tmp_path / f"rows.{suffix}", three())
        assert (tmp_path / f"rows.{suffix}").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("suffix", FORMATS)
def test_embedding_is_a_list_in_json_and_columns_elsewhere(tmp_path: Path, suffix: str) -> None:
    e_ne = np.array([[0.1, np.nan], [1.5, -2.0]], np.float32)
    rows = [Prediction.from_probabilities(str(i), LABELS, [0.5, 0.5], embedding=e) for i, e in enumerate(e_ne)]
    table = write(tmp_path / f"rows.{suffix}", [Prediction.failed("x", "why"), *rows])
    if suffix == "jsonl":
        listed = table["embedding"].to_list()
        assert listed[0] is None
        assert listed[1] == [pytest.approx(0.1), None]
        assert "e0" not in table.columns
    else:
        assert table.columns[-2:] == ["e0", "e1"]
        assert table["e0"].to_list() == [None, pytest.approx(0.1), 1.5]
        assert table["e1"].to_list() == [None, None, -2.0]


@pytest.mark.parametrize(("suffix", "name"), [("csv", "e1"), ("parquet", "e0"), ("jsonl", "embedding")])
def test_extra_column_cannot_be_overwritten_by_the_embedding(tmp_path: Path, suffix: str, name: str) -> None:
    path = tmp_path / f"rows.{suffix}"
    rows = [
        Prediction.failed("x", "why", values={name: 7}),
        Prediction.from_probabilities("y", LABELS, [0.5, 0.5], embedding=np.zeros(2)),
    ]
    with pytest.raises(UsageError, match=f"'{name}'"):
        write(path, rows)
    assert list(tmp_path.iterdir()) == []


def test_extra_column_called_e0_is_kept_where_there_is_no_embedding(tmp_path: Path) -> None:
    assert write(tmp_path / "rows.csv", [Prediction.failed("x", "why", values={"e0": 7})])["e0"].to_list() == [7]


@pytest.mark.parametrize("suffix", FORMATS)
def test_columns_and_types_that_come_late(tmp_path: Path, suffix: str) -> None:
    count = 2 * ROWS_AT_ONCE + 5
    early = [Prediction.failed(f"r{i}", "why", values={"n": i}) for i in range(count)]
    late = Prediction.failed("last", "why", values={"n": 0.5, "note": "M 51"})
    table = write(tmp_path / f"rows.{suffix}", [*early, late])
    assert table["id"].to_list() == [*(f"r{i}" for i in range(count)), "last"]
    assert table["n"].to_list() == [*range(count), 0.5]
    assert table["note"].to_list() == [None] * count + ["M 51"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_frames_of_different_columns_make_one_table(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows.{suffix}"
    with TableWriter(path) as writer:
        writer.write(pl.DataFrame({"a": [1, 2], "b": [None, "x"]}))
        writer.write([{"a": 2.5, "c": ["p", "q"]}, {"c": []}])
        assert writer.rows == 4
    table = read(path)
    assert table["a"].to_list() == [1, 2, 2.5, None]
    assert table["b"].to_list() == [None, "x", None, None]
    lists = [None, None, ["p", "q"], []]
    assert table["c"].to_list() == (
        lists if suffix in ("jsonl", "parquet") else [None, None, "p;q", "" if suffix == "csv" else None]
    )


@pytest.mark.parametrize("suffix", FORMATS)
def test_frames_lose_nan_and_infinity(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows.{suffix}"
    with TableWriter(path) as writer:
        writer.write(pl.DataFrame({"x": [np.nan, np.inf, -np.inf, 1.0]}))
    assert read(path)["x"].to_list() == [None, None, None, 1.0]


@pytest.mark.parametrize("suffix", FORMATS)
def test_frames_appear_together_or_not_at_all(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows.{suffix}"
    with pytest.raises(KeyboardInterrupt), TableWriter(path) as writer:
        writer.write(pl.DataFrame({"x": [1]}))
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_frame_of_many_equals_the_rows_of_each() -> None:
    labels = ["a", "b", "c"]
    p_nk = np.random.default_rng(0).dirichlet(np.ones(3), 20)
    p_nk[3], p_nk[4] = (0, 1, 0), (np.nan, 0.5, 0.5)
    flags = [("unknown x",) if i % 3 else () for i in range(20)]
    each = [
        Prediction.from_probabilities(str(i), labels, p_k, flags=flags[i], model="m").row(labels)
        for i, p_k in enumerate(p_nk)
    ]
    ids, joined = pl.Series(map(str, range(20))), pl.Series([";".join(some) for some in flags])
    frame = result_frame(ids, labels, p_nk, joined, "m")
    assert frame.columns == list(each[0])
    for found, row in zip(frame.iter_rows(named=True), each, strict=True):
        assert found == {
            key: pytest.approx(cell, abs=1e-15) if isinstance(cell, float) else cell for key, cell in row.items()
        }
    assert frame["error"][4] == "the model's output is not finite"


@pytest.mark.parametrize("rows", [1, 40], ids=["of the frame", "of the table"])
@pytest.mark.parametrize("suffix", FORMATS)
def test_a_full_disk_is_named(suffix: str, rows: int, tmp_path: Path) -> None:
    """A limit on the size of a file stands for the disk: either the frame that waits does not fit, or the table."""
    path, before = tmp_path / f"table.{suffix}", resource.getrlimit(resource.RLIMIT_FSIZE)
    letters = np.random.default_rng(0).integers(97, 123, 16_000).astype(np.uint8).tobytes().decode()
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))
    try:
        with pytest.raises(OSError, match=r"\w") as raised, TableWriter(path) as table:
            for row in range(rows):
                table.write(pl.DataFrame({"text": letters if rows == 1 else letters[400 * row : 400 * (row + 1)]}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (raised.value.filename, raised.value.strerror) == (str(path), "File too large")
    assert [*tmp_path.iterdir()] == []
