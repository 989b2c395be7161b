"""`attn lab`: the list, the table beside its figure, exit code 1 for a failing prediction, and what is refused."""

import json
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from attn.cli import app
from attn.lab import cli
from attn.lab.experiment import EXPERIMENTS, Experiment, Outcome, Prediction


def attn(*arguments):
    return CliRunner().invoke(app, ["lab", *arguments], prog_name="attn")


def test_the_list_says_what_each_shows():
    rows = json.loads(attn("--json").stdout)
    assert rows == [{"name": name, "shows": shows} for name, shows in EXPERIMENTS.items()]
    assert attn().stdout.splitlines()[1:] == [f"{name}\t{shows}" for name, shows in EXPERIMENTS.items()]


@pytest.fixture
def planted(monkeypatch, tmp_path):
    """An experiment whose number is 1 plus the seed."""
    monkeypatch.chdir(tmp_path)

    def run(seed, advance):
        advance()
        return Outcome({"number": 1.0 + seed})

    def plant(*predictions):
        experiment = Experiment(
            "arXiv:0", "no setting", predictions, 1, run, lambda figure, outcome: figure.add_subplot()
        )
        monkeypatch.setitem(sys.modules, "attn.lab.planted", SimpleNamespace(EXPERIMENT=experiment))

    return plant


def test_a_prediction_that_holds_is_printed_beside_the_measurement(planted, tmp_path, capsys):
    planted(Prediction("number", 1.1, "theorem 1", 0.2))
    cli.run("planted", 1, tmp_path / "new" / "figure.png", True)
    report = json.loads(capsys.readouterr().out)
    assert report["rows"] == [
        {
            "quantity": "number", "predicted": "1.1", "tolerance": 0.2, "measured": 1.0, "spread": None, "holds": True,
            "source": "theorem 1",
        }
    ]  # fmt: skip
    assert report["written"] == [str(tmp_path / "new" / "figure.png")]
    with Image.open(tmp_path / "new" / "figure.png") as picture:
        assert picture.size == (1320, 480)


def test_a_prediction_that_fails_is_exit_code_1(planted, tmp_path, capsys):
    planted(Prediction("number", 1.1, "theorem 1", 0.2))
    with pytest.raises(typer.Exit) as ended:
        cli.run("planted", 2, None, False)
    assert ended.value.exit_code == 1
    shown = capsys.readouterr()
    assert shown.out.splitlines()[1].split("\t") == ["number", "1.1", "0.2", "1.5", "0.707107", "no", "theorem 1"]
    assert shown.err.splitlines()[-1] == "1 of 1 predictions failed: number"
    assert (tmp_path / "runs" / "lab" / "planted.png").exists()


def test_another_name_is_answered_with_those_that_exist():
    done = subprocess.run(
        [sys.executable, "-m", "attn.cli", "lab", "scan-snap"], capture_output=True, text=True, timeout=60
    )
    names = ", ".join(EXPERIMENTS)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: there is no experiment 'scan-snap'; do you mean scan-and-snap? there are {names}\n"


def test_a_figure_is_a_png():
    refused = attn("scan-and-snap", "--out", "figure.svg")
    assert refused.exit_code == 2 and "figure.svg: is no name of a .png; give --out FIGURE.png" in refused.stderr


def test_an_interrupted_experiment_leaves_nothing(planted, monkeypatch, tmp_path):
    def interrupted(seed, advance):
        raise KeyboardInterrupt

    planted(Prediction("number", 1.0, "theorem 1"))
    experiment = sys.modules["attn.lab.planted"]
    monkeypatch.setattr(experiment, "EXPERIMENT", replace(experiment.EXPERIMENT, run=interrupted))
    for out in (None, tmp_path / "new" / "figure.png"):
        with pytest.raises(KeyboardInterrupt):
            cli.run("planted", 1, out, False)
    assert list(tmp_path.iterdir()) == []
