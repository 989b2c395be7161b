"""A command refuses to write over what it reads, whichever of its options names that, and however."""

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from attn.cli import APPS, app, verbs
from attn.core.errors import UsageError
from attn.overwriting import READ, WRITTEN, require_apart

# A folder of attn's own; "another display than the file's first"; an app, and what else its training is told.
NO_FILES = {"cache", "window", "app", "options"}


@cache
def commands() -> dict[str, Any]:
    groups = {name: verbs(get_command(app).commands[name].load()) for name in APPS}
    return {f"{name} {verb}": command for name, verbs in groups.items() for verb, command in verbs.items()}


def test_every_parameter_that_names_a_file_is_known() -> None:
    """By its type, by its place, or by its help text."""
    words = re.compile(r"\b(files?|folder|hf://|later table|(validation|test) table)\b", re.IGNORECASE)
    found = {
        parameter.name
        for command in commands().values()
        for parameter in command.params
        if parameter.type_descriptor.annotation is Path
        or parameter.param_type_name == "argument"
        or (parameter.type_descriptor.annotation in (str, list, list[str]) and words.search(parameter.help))
    }
    assert found - NO_FILES == {*READ, *WRITTEN}
    assert not {*READ} & {*WRITTEN}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the user's, in which the command runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "deep").mkdir(parents=True)
    for name in ("x.csv", "data/deep/y.csv", "z.png"):
        (tmp_path / name).write_text("a,b\n1,2\n")
    (tmp_path / "all.txt").write_text("# mine\nx.csv\nmissing.csv\n")
    (tmp_path / "soft.csv").symlink_to("x.csv")
    os.link(tmp_path / "x.csv", tmp_path / "hard.csv")
    return tmp_path


@pytest.mark.parametrize(
    "given",
    [
        {"source": "x.csv", "out": Path("x.csv")},
        {"source": "x.csv", "out": Path("data/../x.csv")},
        {"source": "x.csv", "out": Path("soft.csv")},
        {"source": "x.csv", "out": Path("hard.csv")},
        {"source": "soft.csv", "out": Path("x.csv")},
        {"inputs": ["z.png", "x.csv"], "out": Path("x.csv")},
        {"inputs": ["data"], "out": Path("data/deep/y.csv")},
        {"inputs": ["*.csv"], "out": Path("x.csv")},
        {"inputs": ["all.txt"], "out": Path("x.csv")},
        {"inputs": ["z.png"], "out": Path("new.csv"), "preview": Path("z.png")},
        {"source": "other.csv", "model": "data", "out": Path("data/deep/y.csv")},
        {"source": "x.csv", "start": "data", "out": Path("data")},
    ],
    ids=str,
)
def test_what_is_read_is_not_written(place: Path, given: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"is read by this command, so --\w+ must not overwrite it; give another --"):
        require_apart(given)


def test_two_results_are_two_files(place: Path) -> None:
    with pytest.raises(UsageError, match="--out and --history name the same file"):
        require_apart({"out": Path("new.csv"), "history": Path("data/../new.csv")})


@pytest.mark.parametrize(
    "given",
    [
        {"source": "x.csv", "out": Path("new.csv")},
        {"source": "x.csv", "out": Path("z.png")},  # an --out that is no input
        {"inputs": ["data"], "out": Path("data/new.csv")},
        {"source": "x.csv", "model": "data", "out": Path("data")},  # calibrated in place
        {"source": "x.csv", "model": None, "out": None},
        {"source": "no\0name", "first": "x" * 5000, "out": Path("x.csv")},
        {"label": "x.csv", "out": Path("x.csv")},
    ],
    ids=str,
)
def test_all_else_may_be_written(place: Path, given: dict[str, Any]) -> None:
    require_apart(given)


def test_what_a_killed_command_left_half_written_is_removed(place: Path) -> None:
    """By the next command that writes there: of the same name, and of names that begin with it; no living process's."""
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True
    ).stdout
    gone = [f".piece.{int(dead)}.part.mid", f".piece-1.{int(dead)}.part.png"]
    kept = [f".other.{int(dead)}.part.mid", f".piece.{os.getpid()}.part.mid", ".piece.part.mid"]
    for name in gone + kept:
        (place / name).write_text("half")
    done = CliRunner().invoke(app, ["music", "generate", "--motif", "none.mid", "--out", "piece.mid"])
    assert done.exit_code == 1
    assert not any((place / name).exists() for name in gone) and all((place / name).exists() for name in kept)


def test_where_nothing_may_be_written_nothing_is_worked_for(place: Path) -> None:
    """Root may write everywhere, unless it gives up that capability."""
    (place / "locked").mkdir(mode=0o555)
    ordinary = []
    if os.access(place / "locked", os.W_OK):
        if shutil.which("setpriv") is None:
            pytest.skip("root cannot become an ordinary user here")
        ordinary = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]
    for out in ("locked/piece.mid", "locked/new/piece.mid"):
        command = [*ordinary, sys.executable, "-m", "attn.cli", "music", "generate", "--out", out]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 2, done.stderr
        assert done.stderr == f"error: {out}: cannot be written: Permission denied; give another place\n"


@pytest.mark.parametrize("name", sorted(commands()))
def test_no_command_overwrites_its_input(name: str, place: Path) -> None:
    """Every verb of every app, each way in which it reads, each way in which it writes."""
    parameters = {parameter.name: parameter for parameter in commands()[name].params}
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    needed = [
        "x.csv" if each.param_type_name == "argument" else [each.opts[0], "new"]
        for each in parameters.values()
        if each.required
    ]
    for written in (parameters[each] for each in WRITTEN if each in parameters):
        for read in (parameters[each] for each in READ if each in parameters):
            argument = read.param_type_name == "argument"
            others = [each for each in needed if isinstance(each, str) or each[0] != read.opts[0]]
            others = [each for each in others if isinstance(each, str) or each[0] != written.opts[0]]
            arguments = [part for each in others for part in ([each] if isinstance(each, str) else each)]
            arguments += ["x.csv"] * (argument and not read.required) + ([] if argument else [read.opts[0], "x.csv"])
            done = CliRunner().invoke(app, [*name.split(), *arguments, written.opts[0], "hard.csv"])
            assert done.exit_code == 2, (read.name, written.name, done.stderr)
            assert f"so {written.opts[0]} must not overwrite it" in done.stderr, (read.name, written.name, done.stderr)
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, command in commands().items()
        if any(parameter.name == "out" and ".parquet" in (parameter.help or "") for parameter in command.params)
    ],
)
def test_a_table_of_another_kind_is_refused_before_the_work(name: str, tmp_path: Path) -> None:
    """The inputs are not there, and the command does not come to miss them."""
    done = CliRunner().invoke(app, [*name.split(), str(tmp_path / "none"), "--out", str(tmp_path / "x.xlsx")])
    assert done.exit_code == 2 and "cannot tell the table's format from '.xlsx'" in done.stderr
