"""`attn reid confirm`, as it is typed: answers in, tables out, undo; and what it refuses."""

import json
import shutil
from pathlib import Path

import pytest
from reid_review_fixtures import Scene, draw_scene
from typer.testing import CliRunner

from attn.apps.reid.gallery import open_gallery
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


def test_a_new_photograph_is_confirmed_with_the_model(coats: Path, reid_model: Path, tmp_path: Path) -> None:
    shutil.copytree(coats, tmp_path / "c")
    shown = Shown(id="../asked/new.png", path="../asked/new.png")
    verdict = Verdict(pictures=[shown], answer="yes", individual="A")
    (tmp_path / "answers.json").write_text(Answers(schema_version=1, who="Ana", queries=[verdict]).model_dump_json())
    code, _, err = attn(tmp_path / "answers.json", "--gallery", tmp_path / "c/g", "--model", reid_model, "--json")
    assert code == 0, err
    assert open_gallery(tmp_path / "c/g").rows.select("id", "identity").rows()[0] == ("../asked/new.png", "A")
