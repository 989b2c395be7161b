"""The cases of `reid/cases`, made after public bug reports, on the command line."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from typer.testing import CliRunner

from attn.apps.reid.predict import ReIDPredictor
from attn.cli import app
from attn.data_adapters.images.identities import open_individuals

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def cases(data_dir: Path) -> Path:
    return data_dir / "reid" / "cases"


def run(*arguments: object, code: int = 0) -> tuple[str, str]:
    """What a command of `attn reid` prints, and what it says."""
    done = CliRunner().invoke(app, ["reid", *map(str, arguments)])
    assert done.exit_code == code, done.stderr
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def reid(reid_model: Path) -> ReIDPredictor:
    return ReIDPredictor.load(reid_model, "cpu")


def test_pictures_that_are_alike_have_embeddings_that_are_alike(cases: Path, reid: ReIDPredictor) -> None:
    assert reid.similarity(cases / "cmyk_jpeg/rgb.jpg", cases / "cmyk_jpeg/cmyk.jpg") >= 0.98
    for name in ("a.gif", "a.webp", "a.tif"):
        query = cases / "animated_and_pages" / name
        first, other = (reid.similarity(query, cases / "animated_and_pages/ref" / f"{k}.jpg") for k in (13, 14))
        assert first > other
    boxed = open_individuals(cases / "two_animals_one_picture/labels.csv")
    assert not np.allclose(*reid.embed([boxed.read(0), boxed.read(1)]))


def test_each_file_of_odd_modes_has_a_row(cases: Path, reid_model: Path, tmp_path: Path) -> None:
    out, _ = run("index", cases / "odd_modes", "--out", tmp_path / "g", "--model", reid_model, "--json")
    assert json.loads(out)["images"] == 8


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_names_on_the_command_line(cases: Path, reid_model: Path, tmp_path: Path, suffix: str) -> None:
    """Each file finds itself: it lies in the gallery, is left out for that, and is then compared with the others."""
    paths = sorted((cases / "names").iterdir())
    run("index", cases / "names", "--out", tmp_path / "g", "--model", reid_model)
    table, drawn = tmp_path / f"r.{suffix}", tmp_path / "ranks.png"
    _, said = run("search", *paths, "--gallery", tmp_path / "g", "--model", reid_model, "--top", 2, "--out", table,
                  "--picture", drawn)  # fmt: skip
    assert f"{len(paths)} queries lie in the gallery themselves" in said
    with Image.open(drawn) as picture:
        assert picture.height > 1000
    read_table = {"csv": pl.read_csv, "jsonl": pl.read_ndjson, "parquet": pl.read_parquet}[suffix]
    found = read_table(table)
    assert found["id"].unique(maintain_order=True).to_list() == [str(path) for path in paths]
    assert {*found["picture"]} <= {path.name for path in paths}
    copies = tmp_path / "copies"
    shutil.copytree(cases / "names", copies)
    run("search", copies, "--gallery", tmp_path / "g", "--model", reid_model, "--top", 1, "--out", table)
    found = read_table(table)
    assert found["picture"].to_list() == [Path(id).name for id in found["id"]]
    assert all("copy" in flags.split(";") for flags in found["flags"])


def test_broken_files_on_the_command_line(cases: Path, reid_model: Path, tmp_path: Path) -> None:
    out, _ = run("index", cases / "broken_files", "--out", tmp_path / "g", "--model", reid_model, "--json", code=1)
    assert json.loads(out)["images"] == 3 and len(json.loads(out)["left_out"]) == 5
    good = cases / "broken_files/good1.jpg"
    rows = json.loads(run("search", good, "--gallery", tmp_path / "g", "--model", reid_model, "--json")[0])
    assert {row["picture"] for row in rows} == {"good2.jpg", "really_png.jpg"}


def test_tiny_and_blank_pictures_name_nobody(cases: Path, reid_model: Path, tmp_path: Path) -> None:
    shutil.copytree(reid_model, tmp_path / "m", ignore=shutil.ignore_patterns("run"))
    record = json.loads((tmp_path / "m/model.json").read_text())
    calibrated = record | {"calibration": {"slope": 50, "intercept": 0, "threshold": 0.01}}
    (tmp_path / "m/model.json").write_text(json.dumps(calibrated))
    command = ("search", cases / "tiny", "--gallery", cases / "tiny", "--model", tmp_path / "m", "--json")
    rows = json.loads(run(*command)[0])
    assert len({row["id"] for row in rows}) == 5 and all(np.isfinite(row["similarity"]) for row in rows)
    blank = [row for row in rows if Path(row["id"]).name in ("black.jpg", "white.jpg")]
    assert len(blank) == 8 and all(row["answer"] == "nobody known" and row["probability"] is None for row in blank)


def test_not_pictures_on_the_command_line(cases: Path, reid_model: Path, tmp_path: Path) -> None:
    out, said = run("index", cases / "not_pictures", "--out", tmp_path / "g", "--model", reid_model, "--json")
    assert json.loads(out)["images"] == 4 and said.count("other files left out") == 1


def test_inspect_names_copies(cases: Path) -> None:
    _, said = run("inspect", cases / "same_picture_two_individuals/labels.csv")
    assert "mara1.jpg and juma1.jpg are exact copies, and are labelled 'Mara' and 'Juma'" in said
    assert "mara1.jpg and mara2.jpg are nearly the same picture" in said


def test_identities_are_written_back(cases: Path, reid_model: Path, tmp_path: Path) -> None:
    table = cases / "identity_strings/labels.csv"
    out, _ = run("index", table, "--out", tmp_path / "g", "--model", reid_model, "--json")
    assert (json.loads(out)["individuals"], json.loads(out)["unnamed"]) == (12, 2)
    run("search", table, "--gallery", tmp_path / "g", "--model", reid_model, "--out", tmp_path / "r.csv", "--top", 20)
    found = {line.split(",")[2].strip('"') for line in (tmp_path / "r.csv").read_text().splitlines()[1:]}
    assert {"007", "7", "0007", "1e3", "1000", "NA", "None", "nan", "null", "True", "-", "x "} <= found


def test_unknown_words_are_asked_about(cases: Path, reid_model: Path, tmp_path: Path) -> None:
    table = cases / "unknown_individuals/labels.csv"
    assert "say --unknown" in run("index", table, "--out", tmp_path / "g", "--model", reid_model, code=1)[1]
    words = [each for word in ("unknown", "Unidentified", "?", "unk") for each in ("--unknown", word)]
    out, _ = run("index", table, "--out", tmp_path / "g", "--model", reid_model, "--json", *words)
    assert (json.loads(out)["individuals"], json.loads(out)["unnamed"]) == (3, 10)


def test_two_animals_and_missing_files_are_rows_with_a_reason(cases: Path, reid_model: Path, tmp_path: Path) -> None:
    command = ("index", "--model", reid_model, "--json", "--out")
    out, _ = run(*command, tmp_path / "two", cases / "two_animals_one_picture/labels.csv", code=1)
    reasons = [row["error"] for row in json.loads(out)["left_out"]]
    assert json.loads(out)["images"] >= 2 and any("'Mara' (line 4) and 'Juma' (line 5)" in each for each in reasons)
    out, said = run(*command, tmp_path / "missing", cases / "missing_and_extra/labels.csv", code=1)
    assert len(json.loads(out)["left_out"]) == 3 and "1 repeated rows count once" in said


def test_one_image_each_trains(cases: Path, tmp_path: Path) -> None:
    source = cases / "one_image_each/labels.csv"
    options = ["--variant", "smallest", "--epochs", 1, "--batch-size", 16, "--per-individual", 4]
    done = CliRunner().invoke(app, ["reid", "train", str(source), *map(str, options), "--out", str(tmp_path / "m")])
    assert done.exit_code == 0 and "8 individuals; 6 have one image only" in done.stderr, done.stderr


@pytest.mark.parametrize(("query", "answers"), [("query_same.jpg", 1), ("query_other.jpg", 1)])
def test_gallery_of_one_on_the_command_line(cases: Path, reid_model: Path, query: str, answers: int) -> None:
    folder = cases / "gallery_of_one"
    out, _ = run("search", folder / query, "--gallery", folder / "photos", "--model", reid_model, "--json")
    rows = json.loads(out)
    assert len(rows) == answers and rows[0]["margin"] is None
