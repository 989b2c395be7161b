"""`attn reid search`: individuals, rules, galleries, verification, the picture and the page, on drawn photographs."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from reid_fixtures import run, told
from typer.testing import CliRunner

from attn.apps.reid.predict import ReIDPredictor
from attn.apps.reid.ranks_picture import LINES, RIGHT, WRONG
from attn.cli import app


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory, photographs: Path, reid_model: Path) -> Path:
    """Of the split for testing: three individuals with six photographs each. Read only."""
    out = tmp_path_factory.mktemp("gallery") / "g"
    answer = told("index", photographs, "--split", "test", "--within", "flank", "--out", out, "--model", reid_model)
    assert (answer["images"], answer["individuals"], answer["unnamed"], answer["new"]) == (18, 3, 0, 18)
    return out


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
    assert table["score"].to_list() == table["similarity"].to_list() and table["threshold"].to_list() == [None] * 3
    assert table["margin"][2] is None and table["filters"][0] == "within L (-9); encounter 1 (-0); itself (-1)"
    for said in ("within: 9 pictures of other values left out", "camera: not used, because the gallery has no such"):
        assert said in done.stderr
    assert "1 queries lie in the gallery themselves" in done.stderr and "the model is not calibrated" in done.stderr
    pixels = np.asarray(Image.open(drawn).convert("RGB")).reshape(-1, 3)
    for colour, frames in ((RIGHT, 1), (WRONG, 2)):
        assert 0.9 < (pixels == colour).all(axis=1).sum() / (frames * (170**2 - 160**2)) < 1.05
    os.link(photographs.parent / "animal001_4.png", tmp_path / "link.png")
    refused = run("search", picture, "--gallery", gallery, "--model", reid_model, "--picture", tmp_path / "link.png",
                  code=2)  # fmt: skip
    assert "link.png: is read by this command" in refused.stderr, "one of the gallery"


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


def test_boxes_of_a_detector_beside_photographs(photographs: Path, reid_model: Path, tmp_path: Path) -> None:
    """The query and the folder that is searched in are cropped alike: the crop of a copy finds its cosine of 1."""
    for name in ("asked", "known"):
        (tmp_path / name).mkdir()
    frame = Image.new("RGB", (80, 80), (90, 90, 90))
    animals = [Image.open(photographs.parent / f"animal00{i}_0.png") for i in (0, 1)]
    for i, animal in enumerate(animals):
        picture = frame.copy()
        picture.paste(animal, (20, 10))
        picture.save(tmp_path / f"known/{i}.png")
    picture = frame.copy()
    picture.paste(animals[1], (40, 40))
    picture.save(tmp_path / "asked/q.png")

    def image(file: str, x: int, y: int) -> dict[str, object]:
        box = [x / 80, y / 80, 36 / 80, 40 / 80]
        return {"file": file, "detections": [{"category": "1", "conf": 0.9, "bbox": box}]}

    found = [image("known/0.png", 20, 10), image("known/1.png", 20, 10), image("asked/q.png", 40, 40)]
    (tmp_path / "md.json").write_text(json.dumps({"images": found, "detection_categories": {"1": "animal"}}))
    words = ["search", tmp_path / "asked/q.png", "--gallery", tmp_path / "known", "--model", reid_model]
    rows = told(*words, "--box", tmp_path / "md.json")
    assert rows[0]["picture"] == "1.png" and rows[0]["similarity"] == pytest.approx(1, abs=1e-5)
    assert told(*words)[0]["similarity"] < 0.9999
    done = run(*words, "--box", "x,y,w,h", code=2)
    assert "--box has no effect on photographs: it is about columns of a table" in done.stderr
    done = run(*words, "--box", tmp_path / "md.json", "--box-frame", "turned", code=2)
    assert "--box-frame is shown or stored, not 'turned'" in done.stderr
    (tmp_path / "md.json").write_text(json.dumps({"images": found[:2]}))
    said = run(*words, "--box", tmp_path / "md.json").stderr
    assert "1 pictures have no box in md.json and stay whole" in said and "gallery:" not in said


def test_camtrap_dp_asks_as_a_table_does(photographs: Path, reid_model: Path, gallery: Path, tmp_path: Path) -> None:
    for i in (0, 1):
        shutil.copy(photographs.parent / f"animal00{i}_0.png", tmp_path / f"{i}.png")
    (tmp_path / "media.csv").write_text("mediaID,deploymentID,filePath\na,c1,0.png\nb,c1,1.png\n")
    seen = "observationID,mediaID,eventID,observationType,bboxX,bboxY,bboxWidth,bboxHeight\n"
    (tmp_path / "observations.csv").write_text(seen + "o1,a,e1,animal,0,0,1,1\no2,b,e1,animal,0.1,0.1,0.5,0.5\n")
    rows = told("search", tmp_path, "--gallery", gallery, "--model", reid_model, "--top", 1)
    assert [row["id"] for row in rows] == ["0.png +1"]  # one event, one answer
    assert rows[0]["of"] == "0.png" and "copy" in rows[0]["flags"]


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


def test_search_verifies_draws_lines_and_writes_a_page(coats: Path, reid_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    words = ["reid", "search", coats / "asked/new.png", "--gallery", coats / "g", "--model", reid_model, "--json"]
    drawn, page = tmp_path / "ranks.png", tmp_path / "page"
    done = CliRunner().invoke(app, [*map(str, [*words, "--picture", drawn, "--review", page, "--verify"])])
    assert done.exit_code == 0, done.stderr
    first, second = json.loads(done.stdout)
    assert first["individual"] == "A" and first["inliers"] > 20 and second["inliers"] == 0
    pixels = np.asarray(Image.open(drawn).convert("RGB"))
    assert (pixels == LINES).all(axis=2).sum() > 500
    assert "local features: looked at in the best 50 images" in done.stderr and "attn reid confirm" in done.stderr
    text = (page / "index.html").read_text()
    data = json.loads(text.split('id="data">')[1].split("</script>")[0])
    (asked,) = data["queries"][0]["pictures"]
    assert asked["id"] == asked["path"] == "../asked/new.png" and f"{first['inliers']} inliers" in text

    done = CliRunner().invoke(app, [*map(str, [*words, "--picture", drawn, "--no-verify"])])
    assert [row["inliers"] for row in json.loads(done.stdout)] == [None, None]
    assert not (np.asarray(Image.open(drawn).convert("RGB")) == LINES).all(axis=2).any()


def test_probabilities_belong_to_the_score_that_ranks(coats: Path, reid_model: Path, tmp_path: Path) -> None:
    """Verification is the default where the calibration found that it helps; cosines alone calibrate no such search."""
    pytest.importorskip("cv2")
    model = Path(shutil.copytree(reid_model, tmp_path / "m", ignore=shutil.ignore_patterns("run")))
    record = json.loads((model / "model.json").read_text())
    words = ["search", coats / "asked/new.png", "--gallery", coats / "g", "--model", model, "--json"]

    def found(verified: dict[str, object], *more: str) -> tuple[dict[str, object], str]:
        calibration = {"slope": 9, "intercept": -1, **verified}
        (model / "model.json").write_text(json.dumps(record | {"calibration": calibration}))
        done = run(*words, *more)
        return json.loads(done.stdout)[0], done.stderr

    row, said = found({})
    assert row["inliers"] is None and row["probability"] is not None and "not looked at; --verify does it" in said
    row, said = found({}, "--verify")
    assert row["inliers"] and row["probability"] is None and row["answer"] is None
    assert "the model is calibrated for cosines alone; attn reid calibrate --verify does the rest" in said
    fit = {"slope": 9, "intercept": -1, "threshold": 0.2}
    row, said = found({"verified": {**fit, "helps": True}})
    assert row["inliers"] and row["probability"] is not None and "looked at in the best 50" in said
    assert found({"verified": {**fit, "helps": True}}, "--no-verify")[0]["inliers"] is None
    row, said = found({"verified": {**fit, "helps": False}})
    assert row["inliers"] is None and row["probability"] is not None and "local features" not in said


def test_a_page_is_about_a_gallery_that_stays(coats: Path, reid_model: Path, tmp_path: Path) -> None:
    words = [
        "reid",
        "search",
        coats / "asked",
        "--gallery",
        coats / "photos",
        "--model",
        reid_model,
        "--review",
        tmp_path,
    ]
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == 2 and "--review decides about a gallery that stays" in done.stderr


def test_without_a_model_the_bundled_one_answers_with_probabilities(coats: Path) -> None:
    rows = told("search", coats / "asked" / "new.png", "--gallery", coats / "photos", "--no-verify", "--json")
    assert [row["individual"] for row in rows] == ["A", "B"] and {row["model"] for row in rows} == {"nyala-lite0"}
    assert 1 > rows[0]["probability"] > rows[1]["probability"] > 0
