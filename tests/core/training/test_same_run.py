"""The folder of a run: beside nothing of the user's, and resumed only with what it was started on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from attn.core.errors import TrainingError, UsageError
from attn.core.training.same_run import remember, run_folder, starting


def test_a_run_has_a_folder_that_is_not_uploaded(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "out")
    assert run == tmp_path / "out" / "run" and run.is_dir()
    assert (run / ".gitignore").read_text() == "*\n"
    assert run_folder(tmp_path / "out") == run


def test_folders_that_hold_other_things_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    with pytest.raises(UsageError, match="holds rows, which attn did not write"):
        run_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["rows"]


@pytest.mark.parametrize("error", [UsageError("no"), KeyboardInterrupt(), ValueError("a bug")])
def test_a_training_without_a_checkpoint_leaves_nothing_new(tmp_path: Path, error: BaseException) -> None:
    def fails(out: Path, *, trained: bool = False) -> None:
        with pytest.raises(type(error)), starting(out) as run:
            (run / "data.json").write_text("{}")
            if trained:
                (run / "checkpoints").mkdir()
            raise error

    fails(tmp_path / "a" / "b")
    assert not [*tmp_path.iterdir()]
    fails(tmp_path / "a" / "b", trained=True)
    assert {path.name for path in (tmp_path / "a" / "b" / "run").iterdir()} == {
        ".gitignore",
        "data.json",
        "checkpoints",
    }
    before = {*tmp_path.rglob("*")}
    fails(tmp_path / "a" / "b")
    assert {*tmp_path.rglob("*")} == before, "an earlier run is not touched"


def test_a_run_of_the_earlier_layout_says_how_to_go_on(tmp_path: Path) -> None:
    for name in ("checkpoints", "run"):
        (tmp_path / name).mkdir()
    (tmp_path / "data.json").write_text("{}")
    with pytest.raises(TrainingError, match=r"whose checkpoints, data\.json lie beside .* move them into .*run"):
        run_folder(tmp_path)


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    run = run_folder(tmp_path)
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    (run / f".rows.{int(gone.stdout)}.part").mkdir()
    (run / f".data.{os.getpid()}.part.json").write_text("being written")
    run_folder(tmp_path)
    assert {path.name for path in run.iterdir()} == {".gitignore", f".data.{os.getpid()}.part.json"}


def test_a_run_is_resumed_with_what_it_was_started_on(tmp_path: Path) -> None:
    settings = {"recipe": {"rate": 0.1, "sizes": (1, 2)}, "data": {"source": "a.csv", "sha256": "x"}}
    remember(tmp_path, settings, resume=False)
    remember(tmp_path, settings, resume=True)
    remember(tmp_path, settings | {"data": {"source": "moved.csv", "sha256": "x"}}, resume=True)
    with pytest.raises(TrainingError, match=r"started with data\.sha256 = x, now it is y"):
        remember(tmp_path, settings | {"data": {"source": "a.csv", "sha256": "y"}}, resume=True)
    with pytest.raises(TrainingError, match=r"started with more = absent, now it is 1"):
        remember(tmp_path, settings | {"more": 1}, resume=True)


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, '"\\ud800"'])
def test_a_damaged_note_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "data.json").write_text(text)
    with pytest.raises(TrainingError, match=r"data\.json: is not a JSON object; remove it to resume unchecked"):
        remember(tmp_path, {}, resume=True)


def test_a_name_that_is_not_utf8_is_refused_before_the_training(tmp_path: Path) -> None:
    out = tmp_path / os.fsdecode(b"r\xff")
    with pytest.raises(UsageError, match="a name that is not UTF-8; give another --out"):
        run_folder(out)
    assert not out.exists()
