"""The commands: inspect, train, predict, index, search, export, on drawn photographs."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import polars as pl
import pytest
from PIL import Image
from reid_fixtures import Drawn
from typer.testing import CliRunner, Result

from attn.apps.reid.gallery import open_gallery
from attn.apps.reid.predict import ReIDPredictor
from attn.apps.reid.ranks_picture import RIGHT, WRONG
from attn.cli import app


def run(*arguments: object, code: int = 0) -> Result:
    done = CliRunner().invoke(app, ["reid", *map(str, arguments)])
    assert done.exit_code == code, f"{done.exit_code}: {done.stderr}{done.stdout}"
    return done


def told(*arguments: object, code: int = 0) -> Any:
    return json.loads(run(*arguments, "--json", code=code).stdout)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory, photographs: Path, reid_model: Path) -> Path:
    """Of the split for testing: three individuals with six photographs each. Read only."""
    out = tmp_path_factory.mktemp("gallery") / "g"
    answer = told("index", photographs, "--split", "test", "--within", "flank", "--out", out, "--model", reid_model)
    assert (answer["images"], answer["individuals"], answer["unnamed"], answer["new"]) == (18, 3, 0, 18)
    return out


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
    done = run("inspect", tmp_path / "set" / "labels.csv")
    assert "animal002_4.png and animal003_1.png are exact copies" in done.stderr
    assert "and are labelled 'animal002' and 'animal003'" in done.stderr
    assert "animal003\t6\t3\t\t\ttrain\t1\t" in done.stdout


def test_inspect_files(photographs: Path, tmp_path: Path) -> None:
    picture = photographs.parent / "animal000_0.png"
    (tmp_path / "text.jpg").write_text("no picture")
    rows = told("inspect", picture, tmp_path / "text.jpg", code=1)
    assert rows[0]["pixels"] == "36 x 40" and rows[0]["error"] is None and "not a picture" in rows[1]["error"]
    assert "no effect on files" in run("inspect", picture, "--identity", "x", code=2).stderr


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
        (["--variant", "huge"], "there are hybrid, deit_tiny, smallest"),
        (["--variant", "smallest", "--start", "lite0"], "cannot begin from 'lite0'; these can: hybrid"),
        (["--per-individual", "5"], "no multiple of images = 5"),
        (["--box-format", "pascal"], "--box-format is coco, voc, yolo or megadetector, not 'pascal'"),
        (["--identity", "who"], "choose with --identity"),
    ],
)
def test_train_refuses(options: list[str], message: str, photographs: Path, tmp_path: Path) -> None:
    done = run("train", photographs, "--out", tmp_path / "m", *options, code=1 if "--identity" in options else 2)
    assert message in done.stderr and not (tmp_path / "m").exists()


def test_a_picture_finds_its_individual(
    gallery: Path, photographs: Path, reid_model: Path, predictor: ReIDPredictor, tmp_path: Path
) -> None:
    """Against cosines of the predictor: of each other individual the best picture of the same flank."""
    picture = photographs.parent / "animal001_2.png"
    out, drawn = tmp_path / "r.csv", tmp_path / "ranks.png"
    done = run("search", picture, "--gallery", gallery, "--model", reid_model, "--picture", drawn, "--out", out,
               "--no-verify")  # fmt: skip
    table = pl.read_csv(out)
    expected = {}
    for i in range(3):
        paths = [photographs.parent / f"animal{i:03}_{k}.png" for k in (0, 2, 4)]
        cosines = {path.name: predictor.similarity(picture, path) for path in paths if path != picture}
        cosines.pop("animal001_2.png", None)
        expected[f"animal{i:03}"] = max(cosines.items(), key=lambda each: each[1])
    order = sorted(expected, key=lambda name: -expected[name][1])
    assert table["individual"].to_list() == order and table["rank"].to_list() == [1, 2, 3]
    assert table["picture"].to_list() == [expected[name][0] for name in order]
    assert table["similarity"].to_list() == pytest.approx([expected[name][1] for name in order], abs=1e-6)
    assert table["margin"][2] is None and table["filters"][0] == "within L (-9); encounter 1 (-0); itself (-1)"
    for said in ("within: 9 pictures of other values left out", "camera: not used, because the gallery has no such"):
        assert said in done.stderr
    assert "1 queries lie in the gallery themselves" in done.stderr and "the model is not calibrated" in done.stderr
    pixels = np.asarray(Image.open(drawn).convert("RGB")).reshape(-1, 3)
    for colour, frames in ((RIGHT, 1), (WRONG, 2)):
        assert 0.9 < (pixels == colour).all(axis=1).sum() / (frames * (170**2 - 160**2)) < 1.05


def test_rules_are_those_of_the_options(gallery: Path, photographs: Path, reid_model: Path) -> None:
    picture = photographs.parent / "animal001_2.png"
    rows = told("search", picture, "--gallery", gallery, "--model", reid_model, "--within", "none", "--images")
    assert len(rows) == 10 and rows[0]["filters"] == "encounter 1 (-1); itself (-1)"
    assert "animal001_3.png" not in [row["picture"] for row in rows]  # the other flank, of the same encounter
    every = ["--within", "none", "--encounter", "none", "--top", 99, "--images"]
    rows = told("search", picture, "--gallery", gallery, "--model", reid_model, *every)
    assert len(rows) == 17 and rows[-1]["margin"] is None and [row["rank"] for row in rows] == [*range(1, 18)]


def test_a_table_of_queries_gets_an_answer_for_each_encounter(
    gallery: Path, photographs: Path, reid_model: Path, tmp_path: Path
) -> None:
    rows = told("search", photographs, "--split", "test", "--within", "flank", "--gallery", gallery, "--top", 1,
                "--model", reid_model, "--no-verify")  # fmt: skip
    assert len(rows) == 9 and rows[0]["id"] == "animal000_0.png +1"
    assert all(row["of"] in {row["id"].removesuffix(" +1"), row["of"]} for row in rows)
    together = told("search", photographs.parent / "animal002_0.png", photographs.parent / "animal002_1.png",
                    "--together", "--gallery", gallery, "--top", 1, "--model", reid_model,
                    "--no-verify")  # fmt: skip
    alone = [told("search", photographs.parent / f"animal002_{k}.png", "--gallery", gallery, "--top", 1, "--model",
                  reid_model, "--no-verify")[0] for k in (0, 1)]  # fmt: skip
    best = max(alone, key=lambda row: row["similarity"])
    assert len(together) == 1 and together[0]["picture"] == best["picture"] and together[0]["of"] == best["id"]


def test_a_folder_becomes_a_gallery_on_the_fly(photographs: Path, reid_model: Path, tmp_path: Path) -> None:
    """One folder for each individual; what is no picture gets a row with its reason."""
    for i in range(3):
        (tmp_path / "known" / f"m{i}").mkdir(parents=True)
        for k in (0, 2):
            shutil.copy(photographs.parent / f"animal{i:03}_{k}.png", tmp_path / "known" / f"m{i}")
    (tmp_path / "known" / "m0" / "broken.jpg").write_bytes(b"")
    (tmp_path / "known" / "m0" / "._x.png").write_bytes(b"apple")
    (tmp_path / "known" / "loop").symlink_to(tmp_path / "known")
    (tmp_path / "query.jpg").write_bytes(b"")
    done = run("search", photographs.parent / "animal001_4.png", tmp_path / "query.jpg", "--gallery",
               tmp_path / "known", "--model", reid_model, "--json", code=1)  # fmt: skip
    rows = json.loads(done.stdout)
    assert {row["individual"] for row in rows[:3]} == {"m0", "m1", "m2"} and len(rows) == 4
    assert "query.jpg" in rows[3]["id"] and "empty" in rows[3]["error"]
    assert "left out of the gallery: " in done.stderr and "broken.jpg" in done.stderr and "._x" not in done.stderr
    assert not [path for path in (tmp_path / "known").iterdir() if path.name.startswith(("gallery", "."))]


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


def test_a_gallery_of_another_model_is_refused(
    gallery: Path, photographs: Path, reid_model: Path, predictor: ReIDPredictor
) -> None:
    done = run("search", photographs.parent / "animal000_0.png", "--gallery", gallery, "--model", reid_model,
               "--sa-only", code=1)  # fmt: skip
    for part in (f"{predictor.id.dimensions} channels", "16 channels", "attn reid index PHOTOS --out"):
        assert part in done.stderr


def test_calibrated_answers(gallery: Path, photographs: Path, reid_model: Path, tmp_path: Path) -> None:
    shutil.copytree(reid_model, tmp_path / "m", ignore=shutil.ignore_patterns("run"))
    place = tmp_path / "m" / "model.json"
    record = json.loads(place.read_text())
    answers = []
    for threshold in (0.0, 1.0):
        calibration = {"slope": 10, "intercept": -5, "threshold": threshold}
        place.write_text(json.dumps(record | {"calibration": calibration}))
        rows = told("search", photographs.parent / "animal000_0.png", "--gallery", gallery, "--model", tmp_path / "m")
        answers.append(rows[0]["answer"])
        assert all(0 < row["probability"] < 1 for row in rows)
    assert answers == [rows[0]["individual"], "nobody known"]


def test_a_blank_picture_is_nobody_known(reid_model: Path, tmp_path: Path) -> None:
    (tmp_path / "known").mkdir()
    for name, grey in (("known/black.png", 0), ("white.png", 255)):
        Image.new("RGB", (40, 40), (grey, grey, grey)).save(tmp_path / name)
    shutil.copytree(reid_model, tmp_path / "m", ignore=shutil.ignore_patterns("run"))
    place = tmp_path / "m" / "model.json"
    calibration = {"slope": 10, "intercept": 5, "threshold": 0.1}
    place.write_text(json.dumps(json.loads(place.read_text()) | {"calibration": calibration}))
    (row,) = told("search", tmp_path / "white.png", "--gallery", tmp_path / "known", "--model", tmp_path / "m")
    assert row["answer"] == "nobody known" and row["probability"] is None
    assert row["flags"].split(";")[:1] == ["blank"] and "blank-evidence" in row["flags"]


def test_export(reid_model: Path, photographs: Path, predictor: ReIDPredictor, tmp_path: Path) -> None:
    answer = told("export", "--model", reid_model, "--out", tmp_path / "encoder.onnx")
    assert answer["largest_difference"] < 1e-5 and answer["batches"] == [1, 3, 16]
    session = onnxruntime.InferenceSession(tmp_path / "encoder.onnx", providers=["CPUExecutionProvider"])
    picture = photographs.parent / "animal000_0.png"
    x = predictor.tensor([np.asarray(Image.open(picture))]).numpy()
    np.testing.assert_allclose(session.run(None, {"image": x})[0], predictor.embed([picture]), atol=1e-5)
    assert session.get_modelmeta().custom_metadata_map["fingerprint"] == predictor.id.fingerprint
