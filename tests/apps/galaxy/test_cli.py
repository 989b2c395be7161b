"""The galaxy commands as people type them, on the micro model and on the real FITS folder."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from PIL import Image
from typer.testing import CliRunner, Result

from attn.cli import app
from attn.core.results.partial import PartialTable


def attn(*arguments: object) -> Result:
    done = CliRunner().invoke(app, ["galaxy", *map(str, arguments)], prog_name="attn")
    assert "Traceback" not in done.output + done.stderr
    return done


@pytest.fixture
def folder(tmp_path):
    """Two good files, one that is not FITS, one header only."""
    rng = np.random.default_rng(0)
    images = tmp_path / "images"
    images.mkdir()
    fits.writeto(images / "a.fits", rng.normal(10, 1, (40, 40)).astype(np.float32))
    Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(images / "b.jpg")
    (images / "c.fits").write_text("<html>not found</html>")
    fits.PrimaryHDU().writeto(images / "d.fits")
    return images


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_predict_writes_a_row_per_file_and_exits_with_1(folder, micro_model, tmp_path, suffix):
    out = tmp_path / f"rows.{suffix}"
    done = attn("predict", folder, "--model", micro_model, "--out", out, "--embeddings")
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        f"4 rows written to {out}",
        "2 of the inputs failed; the column `error` has the reasons",
    ]
    assert done.stdout == ""
    table = {"csv": pl.read_csv, "jsonl": pl.read_ndjson, "parquet": pl.read_parquet}[suffix](out)
    assert len(table) == 4
    assert table["error"].is_null().to_list() == [True, True, False, False]
    labels = json.loads((micro_model / "model.json").read_text())["labels"]
    assert {f"p_{label}" for label in labels} <= set(table.columns)
    assert table.filter(pl.col("error").is_null()).select(f"p_{labels[0]}").null_count().item() == 0


def test_predict_prints_json_lines(folder, micro_model):
    done = attn("predict", folder / "a.fits", folder / "b.jpg", "--model", micro_model, "--json", "--tta")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.exit_code == 0
    assert [row["error"] for row in rows] == [None, None]
    assert all(sum(v for k, v in row.items() if k.startswith("p_")) == pytest.approx(1) for row in rows)


def test_predict_from_a_list_and_a_glob(folder, micro_model):
    (folder / "these.txt").write_text("b.jpg\na.fits\n")
    done = attn("predict", folder / "these.txt", folder / "a*.fits", "--model", micro_model, "--json")
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [
        str(folder / "b.jpg"),
        str(folder / "a.fits"),
    ]


def test_predict_one_file_per_band(micro_model, tmp_path):
    for band in "gri":
        data = np.random.default_rng(ord(band)).normal(10, 1, (40, 40)).astype(np.float32)
        fits.writeto(tmp_path / f"{band}.fits", data, fits.Header({"FILTER": band}))
    done = attn("predict", "--bands", *(tmp_path / f"{b}.fits" for b in "gri"), "--model", micro_model, "--json")
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) == 1


@pytest.fixture
def survey(tmp_path):
    """A field of 1,300 pixels with three discs, and its WCS."""
    y, x = np.indices((1300, 1300), dtype=np.float32)
    field = np.random.default_rng(0).normal(0, 1, (1300, 1300)).astype(np.float32)
    places = [(200, 300), (900, 700), (1000, 1100)]
    for cx, cy in places:
        field += 100 * np.exp(-np.hypot(x - cx, 1.5 * (y - cy)) / 8)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [150.0, 2.0]
    wcs.wcs.crpix, wcs.wcs.cdelt = [650, 650], [-1e-4, 1e-4]
    path = tmp_path / "field.fits"
    fits.writeto(path, field, wcs.to_header())
    return path, places, wcs


def test_a_survey_image_needs_a_catalogue_or_detection(survey, micro_model, tmp_path):
    path, places, wcs = survey
    refused = attn("predict", path, "--model", micro_model, "--json")
    assert refused.exit_code == 1
    assert "--catalog" in json.loads(refused.stdout)["error"]
    assert "--detect" in json.loads(refused.stdout)["error"]

    sky = wcs.pixel_to_world_values(*np.array([*places, (5000, 5000)], dtype=float).T)
    catalog = tmp_path / "sources.csv"
    pl.DataFrame({"id": ["one", "two", "three", "outside"], "ra": sky[0], "dec": sky[1], "mag": range(4)}).write_csv(
        catalog
    )
    done = attn("predict", path, "--catalog", catalog, "--model", micro_model, "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.exit_code == 1
    assert [row["id"] for row in rows] == ["one", "two", "three", "outside"]
    assert [row["error"] is None for row in rows] == [True, True, True, False]
    assert rows[1]["x"] == pytest.approx(900, abs=0.01)
    assert [row["mag"] for row in rows] == [0, 1, 2, 3]

    found = attn("predict", path, "--detect", "--model", micro_model, "--json")
    centres = [(row["x"], row["y"]) for row in map(json.loads, found.stdout.splitlines())]
    for place in places:
        assert min(np.hypot(place[0] - x, place[1] - y) for x, y in centres) < 2


def test_a_survey_image_of_a_file_per_band(survey, micro_model, tmp_path):
    path, places, _ = survey
    pl.DataFrame({"x": [x for x, _ in places], "y": [y for _, y in places]}).write_csv(tmp_path / "c.csv")
    bands = []
    for band in "gri":
        bands.append(tmp_path / f"{band}.fits")
        data, header = fits.getdata(path, header=True)
        fits.writeto(bands[-1], data, fits.Header({**header, "FILTER": band}))
    for how in (("--catalog", tmp_path / "c.csv"), ("--detect", "--threshold", "20", "--min-area", "9")):
        done = attn("predict", *bands, "--bands", *how, "--model", micro_model, "--json")
        assert done.exit_code == 0, done.stderr
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        assert sorted((round(row["x"]), round(row["y"])) for row in rows) == sorted(places)


def test_a_table_of_paths_keeps_its_other_columns(folder, micro_model, tmp_path):
    (folder / "t.csv").write_text("path,label,z\na.fits,ring,0.1\nc.fits,spiral,0.2\n")
    out = tmp_path / "rows.parquet"
    assert attn("predict", folder / "t.csv", "--model", micro_model, "--out", out).exit_code == 1
    table = pl.read_parquet(out)
    assert table["id"].to_list() == ["a.fits", "c.fits"]
    assert table["error"].is_null().to_list() == [True, False]
    assert (table["given_label"].to_list(), table["z"].to_list()) == (["ring", "spiral"], [0.1, 0.2])


def test_options_that_exclude_each_other_are_usage_errors(survey, micro_model, folder):
    path, _, _ = survey
    assert attn("predict", path, path, "--detect", "--model", micro_model).exit_code == 2
    wrong = attn("predict", folder / "a.fits", "--model", micro_model, "--out", folder / "rows.xlsx")
    assert wrong.exit_code == 2
    assert ".parquet" in wrong.stderr
    assert attn("predict", folder / "a.fits", "--model", folder / "nowhere").exit_code == 1


def elsewhere(table):
    """The rows of a labelled table with paths that hold from any folder."""
    return pl.read_csv(table).with_columns(path=pl.lit(f"{table.parent}/") + pl.col("path"))


def test_evaluate_says_which_rows_it_measured(micro_model, labelled_table, tmp_path):
    done = attn(
        "evaluate", labelled_table, "--label", "kind", "--model", micro_model, "--json", "--out", tmp_path / "report"
    )
    report = json.loads(done.stdout)
    assert done.exit_code == 0
    assert "held out" in report["measured_on"]
    assert {"value", "low", "high"} == report["balanced_accuracy"].keys()
    assert (tmp_path / "report" / "confusion.png").exists()
    assert (tmp_path / "report" / "reliability.png").exists()

    table = elsewhere(labelled_table).head(9)
    table.write_csv(tmp_path / "part.csv")
    part = attn("evaluate", tmp_path / "part.csv", "--label", "kind", "--model", micro_model, "--json")
    assert json.loads(part.stdout)["measured_on"].split(";")[0].endswith(" rows of 9 that the model has not seen")


def test_labels_and_columns_that_do_not_fit(micro_model, labelled_table, tmp_path):
    path = tmp_path / "unknown.csv"
    elsewhere(labelled_table).with_columns(kind=pl.lit("nebula")).write_csv(path)
    done = attn("evaluate", path, "--label", "kind", "--model", micro_model)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "does not know the label 'nebula'" in done.stderr
    missing = attn("evaluate", path, "--label", "klass", "--model", micro_model)
    assert missing.exit_code == 1
    assert "no column 'klass'; it has path" in missing.stderr


def test_calibrate_writes_a_model_that_is_no_worse_calibrated(micro_model, labelled_table, tmp_path):
    done = attn(
        "calibrate", labelled_table, "--label", "kind", "--model", micro_model, "--out", tmp_path / "c", "--json"
    )
    answer = json.loads(done.stdout)
    stored = json.loads((tmp_path / "c" / "model.json").read_text())
    assert stored["calibration"]["temperature"] == pytest.approx(answer["temperature"])
    assert attn("calibrate", labelled_table, "--label", "kind").exit_code == 2


def test_inspect_files_and_labelled_sets(folder, labelled_table, tmp_path):
    done = attn("inspect", folder, "--preview", tmp_path / "sheet.png", "--json")
    rows = {row["id"].rsplit("/", 1)[-1]: row for row in json.loads(done.stdout)}
    assert done.exit_code == 1
    assert rows["a.fits"]["pixels"] == "40 x 40"
    assert "no image" in rows["d.fits"]["error"]
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (1024, 128)
    table = tmp_path / "rows.csv"
    assert attn("inspect", folder, "--out", table).exit_code == 1
    assert pl.read_csv(table)["error"].is_null().to_list() == [row["error"] is None for row in rows.values()]
    classes = json.loads(attn("inspect", labelled_table, "--label", "kind", "--json").stdout)
    assert sum(row["share"] for row in classes) == pytest.approx(1)


def test_explain_writes_a_picture_for_each_and_a_reason_for_the_rest(folder, micro_model, tmp_path):
    done = attn("explain", folder, "--model", micro_model, "--out", tmp_path / "e", "--json")
    rows = json.loads(done.stdout)
    assert done.exit_code == 1
    assert sorted(path.name for path in (tmp_path / "e").iterdir()) == [
        ".attn",
        "a.fits.npz",
        "a.fits.png",
        "b.jpg.npz",
        "b.jpg.png",
    ]
    assert [row["error"] is None for row in rows] == [True, True, False, False]


@pytest.mark.real_data
def test_every_file_of_the_real_folder_is_a_row(data_dir, micro_model, tmp_path):
    folder, out = data_dir / "galaxy" / "fits", tmp_path / "rows.parquet"
    done = attn("predict", folder, "--model", micro_model, "--out", out)
    table = pl.read_parquet(out)
    assert done.exit_code == 1
    assert len(table) == len(list(folder.iterdir())) == 37
    assert table["error"].is_null().sum() == 27
    assert "Warning" not in done.stderr


def test_explanations_of_files_of_one_name_are_kept_apart(folder, micro_model, tmp_path):
    other = tmp_path / "other" / "b.jpg"
    other.parent.mkdir()
    Image.new("RGB", (40, 40), (9, 9, 9)).save(other)
    done = attn("explain", folder / "b.jpg", other, "--model", micro_model, "--out", tmp_path / "e", "--json")
    arrays = [row["arrays"] for row in json.loads(done.stdout)]
    assert [Path(path).name for path in arrays] == ["b.jpg.npz", "b.jpg.2.npz"]
    assert np.load(arrays[1])["image"].std() == 0 < np.load(arrays[0])["image"].std()


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("calibrate", "set.csv", "--model", "hf://one/model"), "give --out"),
        (("inspect", "{folder}/b.jpg", "--preview", "sheet.doc"), "end its name in .png"),
        (("inspect", "set.csv", "--preview", "sheet.png"), "folder/*/*.jpg"),
        (("predict", "{folder}/empty/*.fits", "--model", "{model}"), "quote the pattern"),
        (("train", "set.csv", "--out", "x", "--batch-size", "0"), "--batch-size"),
        (("predict", "a.fits", "b.fits", "--bands", "--hdu", "1"), "--hdu has no effect with --bands"),
        (("predict", "a.fits", "--embeddings"), "--embeddings has no effect without --out or --json"),
        (("predict", "a.fits", "--detect", "--catalog", "b.csv"), "exclude each other"),
        (("predict", "a.fits", "--detect", "--bands"), "--bands needs a file for each of several bands"),
        (("predict", "a.fits", "--no-stars"), "--no-stars has no effect without --detect"),
        (("predict", "a.fits", "--threshold", "5"), "--threshold has no effect without --detect"),
        (("predict", "a.fits", "--catalog", "b.csv", "--image", "x"), "--image has no effect with a survey image"),
        (("inspect", "{folder}/b.jpg", "--label", "kind"), "--label has no effect on files"),
        (("inspect", "set.csv", "--hdu", "1"), "--hdu has no effect on a labelled set"),
    ],
)
def test_commands_that_cannot_be_meant_are_usage_errors(folder, micro_model, arguments, hint):
    done = attn(*(argument.format(folder=folder, model=micro_model) for argument in arguments))
    assert done.exit_code == 2
    assert hint in done.stderr
    assert done.stderr.count("\n") == 1


# What the rows of a prediction depend on, where no option is given.
USUAL = {"catalog": "", "bands": False, "detect": False, "no-stars": False}
USUAL |= {"strict": False, "tta": False, "embeddings": False}


@pytest.mark.parametrize(
    "option", [["--threshold", "9"], ["--min-area", "99"], ["--no-stars"]], ids=lambda option: option[0]
)
def test_rows_of_another_search_are_not_gone_on_from(option, micro_model, tmp_path):
    field = Path(__file__).parents[3] / "examples" / "field.fits"
    record = json.loads((micro_model / "model.json").read_text())
    out = tmp_path / "rows.csv"
    partial = PartialTable(out, USUAL | {"detect": True, "model": [record["name"], record["files"]]})
    partial.keep(pl.LazyFrame({"id": ["field.fits"]}))
    refused = attn("predict", field, "--model", micro_model, "--detect", *option, "--out", out, "--resume")
    assert refused.exit_code == 2 and f"another {option[0]};" in refused.stderr


def test_predict_goes_on_from_the_rows_of_an_interruption(folder, micro_model, tmp_path):
    out, options = tmp_path / "rows.csv", ["--model", micro_model, "--batch-size", "1", "--workers", "0"]
    attn("predict", folder, *options, "--out", out)
    whole = pl.read_csv(out)
    record = json.loads((micro_model / "model.json").read_text())
    partial = PartialTable(out, USUAL | {"model": [record["name"], record["files"]]})
    partial.keep(whole.with_columns(pl.col("flags", "error").cast(pl.String), label=pl.lit("kept"))[:2].lazy())
    refused = attn("predict", folder, *options, "--out", out, "--resume", "--tta")
    assert refused.exit_code == 2 and "another --tta" in refused.stderr
    done = attn("predict", folder, *options, "--out", out, "--resume")
    assert done.stderr.splitlines()[-1].startswith("2 of the inputs failed")
    again = pl.read_csv(out)
    assert again["label"].to_list() == ["kept", "kept", None, None]
    assert again.drop("label").equals(whole.drop("label")) and not partial.path.exists()


def test_resume_needs_a_table(folder, micro_model):
    done = attn("predict", folder, "--model", micro_model, "--resume")
    assert done.exit_code == 2 and "--resume has no effect without --out" in done.stderr
