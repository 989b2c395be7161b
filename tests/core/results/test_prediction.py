"""Predictions and their tables: round trips through all three formats, and nothing half-written."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from attn.core.errors import UsageError
from attn.core.results.prediction import Prediction
from attn.core.results.tables import ResultWriter

LABELS = ["elliptical", "spiral"]
FORMATS = ["csv", "jsonl", "parquet"]


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
        return pl.read_csv(path)
    return pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_ndjson(path)


def test_label_is_the_likeliest_and_entropy_is_normalised() -> None:
    sure = Prediction.from_probabilities("x", LABELS, [0.0, 1.0])
    torn = Prediction.from_probabilities("x", LABELS, [0.5, 0.5])
    between = Prediction.from_probabilities("x", LABELS, [0.25, 0.75])
    assert (sure.label, sure.uncertainty, torn.uncertainty) == ("spiral", 0.0, 1.0)
    by_hand = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))
    assert between.uncertainty == pytest.approx(by_hand, abs=1e-12)


def test_single_class_has_no_uncertainty() -> None:
    assert Prediction.from_probabilities("x", ["only"], [1.0]).uncertainty == 0.0


def test_output_that_is_not_finite_is_a_failure() -> None:
    prediction = Prediction.from_probabilities("x", LABELS, np.array([np.nan, 0.5]), model="m")
    assert prediction.label is None
    assert prediction.error is not None
    assert "not finite" in prediction.error


def test_wrong_number_of_probabilities_is_a_bug() -> None:
    with pytest.raises(ValueError, match="2 labels"):
        Prediction.from_probabilities("x", LABELS, [1.0])


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
    assert table.select("ra", "z", "e0", "e1").row(0) == (None, None, None, 1.0)
    if suffix != "parquet":
        assert "nan" not in path.read_text().lower()


def test_whole_numbers_keep_all_their_digits(tmp_path: Path) -> None:
    objid = 1237648720693755918  # of SDSS; not a float64
    rows = [Prediction.failed("x", "why", values={"objid": objid}), Prediction.failed("y", "why")]
    for suffix in FORMATS:
        assert write(tmp_path / f"rows.{suffix}", rows)["objid"].to_list() == [objid, None]


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


def test_other_suffix_names_the_three(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.csv, \.jsonl or \.parquet"):
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


def test_extra_column_cannot_hide_a_result() -> None:
    with pytest.raises(UsageError, match="'label'"):
        Prediction.failed("x", "why", values={"label": "mine"}).row(LABELS)


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    for suffix in FORMATS:
        write(tmp_path / f"rows.{suffix}", three())
        assert (tmp_path / f"rows.{suffix}").stat().st_mode == (tmp_path / "plain").stat().st_mode
