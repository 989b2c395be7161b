"""The commands: inspect, train, predict, index, export, on drawn photographs."""

import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import polars as pl
import pytest
from PIL import Image
from reid_fixtures import Drawn, run, told

from attn.apps.reid.gallery import open_gallery
from attn.apps.reid.predict import ReIDPredictor
from attn.data_adapters.images.identities import open_individuals


def test_inspect_a_labelled_set(photographs: Path, tmp_path: Path) -> None:
    rows = told("inspect", photographs, "--within", "flank")
    assert [row["individual"] for row in rows] == [f"animal{i:03}" for i in range(12)]
    assert rows[0] == {
        "individual": "animal000", "images": 6, "encounters": 3, "cameras": None, "within": "L;R", "splits": "test",
        "unreadable": 0, "reason": None,
    }  # fmt: skip
    shutil.copytree(photographs.parent, tmp_path / "set")
    (tmp_path / "set" / "animal003_1.png").write_bytes((tmp_path / "set" / "animal002_4.png").read_bytes())
    (tmp_path / "set" / "animal003_2.png").write_bytes(b"")
    done = run("inspect", tmp_path / "set" / "labels.csv", code=1)
    assert "animal002_4.png and animal003_1.png are exact copies" in done.stderr
    assert "and are labelled 'animal002' and 'animal003'" in done.stderr
    assert "animal003\t6\t3\t\t\ttrain\t1\t" in done.stdout


def test_inspect_files(photographs: Path, tmp_path: Path) -> None:
    picture = photographs.parent / "animal000_0.png"
    (tmp_path / "text.jpg").write_text("no picture")
    rows = told("inspect", picture, tmp_path / "text.jpg", code=1)
    assert rows[0]["pixels"] == "36 x 40" and rows[0]["error"] is None and "not a picture" in rows[1]["error"]
    assert "no effect on files" in run("inspect", picture, "--identity", "x", code=2).stderr


@pytest.mark.parametrize(("folder", "first"), [("", "id"), ("cam1", "individual")])
def test_inspect_counts_as_index_does(folder: str, first: str, photographs: Path, tmp_path: Path) -> None:
    """A folder with folders in it has individuals, whatever lies beside them; other files are counted."""
    place = tmp_path / "set" / folder
    place.mkdir(parents=True)
    shutil.copy(photographs.parent / "animal000_0.png", place)
    (tmp_path / "set" / "README.txt").write_text("field notes")
    done = run("inspect", tmp_path / "set")
    assert "1 other files left out" in done.stderr and done.stdout.startswith(first + "\t")
    assert len(open_individuals(tmp_path / "set").individuals) == bool(folder)


def test_train_classes_and_predict(photographs: Path, tmp_path: Path) -> None:
    options = ["--identity", "flank", "--task", "classify", "--variant", "smallest", "--epochs", 1, "--local", 0]
    options += ["--no-pairs", "--pool", "mean", "--size", 32, "--height", 64, "--out", tmp_path / "m"]
    record = told("train", photographs, *options)
    assert (
        record["labels"] == ["L", "R"] and record["verb"] == "predict" and record["preprocessing"]["size"] == [64, 32]
    )
    architecture = record["architecture"]
    assert (architecture["local"], architecture["pairs"], architecture["pool"]) == (None, False, "mean")
    run("predict", photographs.parent, "--model", tmp_path / "m", "--out", tmp_path / "p.csv")
    table = pl.read_csv(tmp_path / "p.csv")
    assert len(table) == 72 and table["p_L"].to_numpy() + table["p_R"].to_numpy() == pytest.approx(1)
    assert "tells classes apart" in run("search", photographs.parent, "--gallery", photographs.parent, "--model",
                                        tmp_path / "m", code=2).stderr  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--task", "both"], "--task is one of identify, classify, not 'both'"),
        (["--pool", "max"], "--pool is one of class, mean, not 'max'"),
        (["--mirror", "yes"], "--mirror is one of same, another, none, not 'yes'"),
        (["--height", "64"], "--height has no effect without --size"),
        (["--variant", "huge"], "there are lite0, hybrid, hybrid16, deit_tiny, smallest"),
        (["--variant", "smallest", "--start", "lite0"], "cannot begin from 'lite0'; these can: lite0, hybrid"),
        (["--per-individual", "5"], "no multiple of images = 5"),
        (["--box-format", "pascal"], "--box-format is coco, voc, yolo or megadetector, not 'pascal'"),
        (["--identity", "who"], "choose with --identity"),
    ],
)
def test_train_refuses(options: list[str], message: str, photographs: Path, tmp_path: Path) -> None:
    done = run("train", photographs, "--out", tmp_path / "m", *options, code=1 if "--identity" in options else 2)
    assert message in done.stderr and not (tmp_path / "m").exists()


def test_add_remove_and_check(photographs: Path, reid_model: Path, tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "g"
    shutil.copytree(photographs.parent, photos)
    (photos / "labels.csv").unlink()
    first = told("index", photos, "--out", out, "--model", reid_model)
    assert (first["images"], first["individuals"], first["unnamed"]) == (72, 0, 72)
    assert told("index", photos, "--out", out, "--model", reid_model)["kept"] == 72
    assert told("index", "--out", out, "--remove", "animal000_0.png", "--remove", "animal000_1.png")["images"] == 70
    assert "has no picture 'none.png'" in run("index", "--out", out, "--remove", "none.png", code=1).stderr
    (tmp_path / "more").mkdir()
    Image.fromarray(Drawn().read(0)).save(tmp_path / "more" / "new.png")
    assert told("index", tmp_path / "more", "--out", out, "--add", "--model", reid_model)["images"] == 71
    assert told("index", "--out", out, "--check") == [{"gallery": str(out), "error": None}]
    (photos / "animal000_2.png").unlink()
    wrong = told("index", "--out", out, "--check", code=1)
    assert [row["error"] for row in wrong] == ["animal000_2.png: no such file"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "what is to be indexed?"),
        (["--check", "--add"], "--add has no effect with --check or --remove"),
        (["photos", "--check"], "exclude each other"),
        (["--check", "--remove", "a"], "exclude each other"),
    ],
)
def test_index_refuses(arguments: list[str], message: str, tmp_path: Path) -> None:
    assert message in run("index", *arguments, "--out", tmp_path / "g", code=2).stderr
    assert not (tmp_path / "g").exists()


def test_pictures_that_are_left_out_are_named(photographs: Path, reid_model: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for place in ("a/1.png", "b/1.png"):
        shutil.copy(photographs.parent / "animal000_0.png", tmp_path / place)
    (tmp_path / "a" / "text.jpg").write_text("no picture")
    done = run("index", tmp_path, "--out", tmp_path / "g", "--model", reid_model, code=1)
    assert "left out: " in done.stderr and "text.jpg" in done.stderr
    assert "a/1.png and b/1.png are the same picture, and are labelled 'a' and 'b'" in done.stderr
    assert len(open_gallery(tmp_path / "g")) == 2


def test_export(reid_model: Path, photographs: Path, predictor: ReIDPredictor, tmp_path: Path) -> None:
    answer = told("export", "--model", reid_model, "--out", tmp_path / "encoder.onnx")
    assert answer["largest_difference"] < 1e-5 and answer["batches"] == [1, 3, 16]
    session = onnxruntime.InferenceSession(tmp_path / "encoder.onnx", providers=["CPUExecutionProvider"])
    picture = photographs.parent / "animal000_0.png"
    x = predictor.tensor([np.asarray(Image.open(picture))]).numpy()
    np.testing.assert_allclose(session.run(None, {"image": x})[0], predictor.embed([picture]), atol=1e-5)
    assert session.get_modelmeta().custom_metadata_map["fingerprint"] == predictor.id.fingerprint
