"""`attn reid confirm`, as it is typed: answers in, tables out, undo; and what it refuses."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps
from reid_review_fixtures import Scene, draw_scene
from typer.testing import CliRunner

from attn.apps.reid.gallery import open_gallery
from attn.apps.reid.ranks_picture import LINES
from attn.apps.reid.review.answers import Answers, Shown, Verdict
from attn.cli import app


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return draw_scene(tmp_path)


def attn(*words: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["reid", "confirm", *map(str, words)])
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def answers(scene: Scene, tmp_path: Path) -> Path:
    verdict = Verdict(pictures=[scene.shown("4.png")], answer="yes", individual="007")
    path = tmp_path / "answers.json"
    path.write_text(Answers(schema_version=1, who="Ana", queries=[verdict]).model_dump_json())
    return path


def test_answers_history_camtrap_and_undo(scene: Scene, answers: Path, tmp_path: Path) -> None:
    history, dp = tmp_path / "h.csv", tmp_path / "dp"
    code, out, err = attn(answers, "--gallery", scene.folder, "--history", history, "--camtrap", dp, "--json")
    assert code == 0 and json.loads(out) == [{"id": "4.png", "answer": "yes", "old": "", "new": "007", "error": None}]
    assert "2 individuals on 3 occasions" in err and "4 observations" in err
    assert history.read_text().splitlines()[1] == '"007","111",1,1,1'
    code, out, _ = attn("--gallery", scene.folder, "--undo", "--who", "Bo", "--json")
    assert code == 0 and json.loads(out)[0]["new"] == ""
    code, out, err = attn("--gallery", scene.folder, "--history", history)
    assert code == 0 and out == "" and history.read_text().splitlines()[1] == '"007","11",1,1'


def test_an_answer_that_does_not_fit_is_a_row_with_a_reason(scene: Scene, answers: Path) -> None:
    attn(answers, "--gallery", scene.folder)
    code, out, err = attn(answers, "--gallery", scene.folder)
    assert code == 1 and "it was nobody known when the page was made, and is '007' now" in out and "1 of the" in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "nothing to do; give answers.json, --undo, --history or --camtrap"),
        (["a.json", "--undo"], "answers.json has no effect with --undo"),
        (["a.json", "--occasion", "day"], "--occasion has no effect without --history"),
        (["--camtrap", "x", "--who", "A"], "--who has no effect without answers.json"),
    ],
)
def test_what_it_refuses(scene: Scene, words: list[str], sentence: str) -> None:
    code, _, err = attn(*words, "--gallery", scene.folder)
    assert code == 2 and sentence in err, err


@pytest.fixture(scope="module")
def coats(tmp_path_factory: pytest.TempPathFactory, reid_model: Path) -> Path:
    """Two individuals whose coats are blurred noise, a photograph of one of them that was turned, and a gallery."""
    folder = tmp_path_factory.mktemp("coats")
    for name, seed, angle in (("photos/A/1.png", 0, 0), ("photos/B/1.png", 1, 0), ("asked/new.png", 0, 12)):
        noise = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (240, 320, 3), np.uint8))
        picture = noise.filter(ImageFilter.GaussianBlur(3)).rotate(angle, Image.Resampling.BICUBIC)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        ImageOps.autocontrast(picture, cutoff=2).save(folder / name)
    words = ["reid", "index", folder / "photos", "--out", folder / "g", "--model", reid_model]
    assert CliRunner().invoke(app, [*map(str, words)]).exit_code == 0
    return folder


def test_search_verifies_draws_lines_and_writes_a_page(coats: Path, reid_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    words = ["reid", "search", coats / "asked/new.png", "--gallery", coats / "g", "--model", reid_model, "--json"]
    drawn, page = tmp_path / "ranks.png", tmp_path / "page"
    done = CliRunner().invoke(app, [*map(str, [*words, "--picture", drawn, "--review", page])])
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


def test_a_new_photograph_is_confirmed_with_the_model(coats: Path, reid_model: Path, tmp_path: Path) -> None:
    shutil.copytree(coats, tmp_path / "c")
    shown = Shown(id="../asked/new.png", path="../asked/new.png")
    verdict = Verdict(pictures=[shown], answer="yes", individual="A")
    (tmp_path / "answers.json").write_text(Answers(schema_version=1, who="Ana", queries=[verdict]).model_dump_json())
    code, _, err = attn(tmp_path / "answers.json", "--gallery", tmp_path / "c/g", "--model", reid_model, "--json")
    assert code == 0, err
    assert open_gallery(tmp_path / "c/g").rows.select("id", "identity").rows()[0] == ("../asked/new.png", "A")
