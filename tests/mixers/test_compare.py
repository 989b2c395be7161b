"""`attn mixers compare`: the table and its test against scipy, what is kept of an earlier call, and what is refused."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from scipy.stats import ttest_rel
from typer.testing import CliRunner

from attn.cli import app
from attn.core.errors import UsageError
from attn.core.models.folder import ModelRecord, save
from attn.mixers.compare import Plan, Trained, choices, compare, paired_p, plan_of, table

REPOSITORY = Path(__file__).resolve().parents[2]


def finished(folder, value, losses=(3.0, 2.0)):
    """A training that has been done: its model, and its curve."""
    record = ModelRecord(app="music", name=folder.name, architecture={}, labels=[], metrics={"nll_per_token": value})
    save(folder, {"a": torch.zeros(3, 4), "b": torch.zeros(5)}, record)
    (folder / "run").mkdir()
    rows = [f"{epoch},{60 * (epoch + 1)},{loss}" for epoch, loss in enumerate(losses)]
    (folder / "run" / "metrics.csv").write_text("\n".join(["epoch,seconds,val_loss", *rows]) + "\n")


PLAN = Plan("music", "no such data", 1, ("--width", "8"))


def test_what_is_trained_is_read_and_not_trained_again(tmp_path):
    for name, value in {"softmax-0": 1.5, "softmax-1": 1.7}.items():
        finished(tmp_path / name, value)
    said = []
    found = compare(PLAN, ["softmax"], 2, tmp_path, said.append)
    assert [(each.mixer, each.seed, each.value) for each in found] == [("softmax", 0, 1.5), ("softmax", 1, 1.7)]
    assert (found[0].parameters, found[0].epochs, found[0].minutes) == (17, 2, 2.0)
    assert found[0].curve == ((1.0, 3.0), (2.0, 2.0))
    assert said == ["softmax, seed 0: nll_per_token 1.5", "softmax, seed 1: nll_per_token 1.7"]
    with pytest.raises(UsageError, match="holds a comparison with minutes = 1, now it is 2; give another --out"):
        compare(Plan("music", "no such data", 2, ("--width", "8")), ["softmax"], 1, tmp_path)


def test_a_training_that_fails_is_a_row_with_its_reason(tmp_path):
    (each,) = compare(PLAN, ["softmax"], 1, tmp_path)
    assert each.error is not None and "no such data" in each.error and math.isnan(each.value)
    (row,) = table([each], "nll_per_token")
    assert row["nll_per_token"] is None and row["seeds"] == 0 and row["error"] == each.error


def test_a_started_training_is_resumed(tmp_path):
    folder = tmp_path / "a"
    assert PLAN.command("softmax", 3, folder)[-1] == str(folder)
    (folder / "run" / "checkpoints").mkdir(parents=True)
    (folder / "run" / "checkpoints" / "last.safetensors").touch()
    command = PLAN.command("softmax", 3, folder)
    assert command[-1] == "--resume"
    typed = "attn music train no such data --width 8 --mixer softmax --seed 3 --minutes 1"
    assert " ".join(command).startswith(typed)


def test_mean_deviation_and_paired_differences():
    values = {"a": (1.0, 2.0, 4.0), "b": (1.5, 2.1, 4.9), "c": (0.0, 1.0)}
    found = [Trained(name, seed, value) for name, each in values.items() for seed, value in enumerate(each)]
    first, second, third = table(found, "nll")
    assert (first["nll"], first["difference"], first["p"]) == (pytest.approx(7 / 3), None, None)
    assert first["deviation"] == pytest.approx(torch.tensor(values["a"]).std().item())
    assert second["difference"] == pytest.approx(0.5)
    assert second["p"] == pytest.approx(ttest_rel(values["b"], values["a"]).pvalue)
    assert (third["seeds"], third["difference"], third["p"]) == (2, -1.0, None), "no spread, no test"


def test_one_pair_decides_nothing():
    assert paired_p([0.3]) is None
    assert paired_p([]) is None


def test_choices_are_names_with_options_and_stacks():
    assert choices("music", "softmax,relative_local:block=8,softmax+static+softmax,softmax") == [
        "softmax", "relative_local:block=8", "softmax+static+softmax",
    ]  # fmt: skip
    for text, said in {"softmax,halo": "'halo'", "interacting": "'interacting'", "softmax+": "names no mixer"}.items():
        with pytest.raises(UsageError, match=said):
            choices("music", text)
    assert choices("ctr", None) == ["softmax", "dual", "interacting", "neighborhood", "routing", "selective"]
    assert choices("ctr", "interacting,dual") == ["interacting", "dual"]


def test_example_data_are_this_repositorys(tmp_path, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    assert plan_of("music", None, 1, ["--depth", "2"]).options == ("--style", "chorale", "--depth", "2")
    for form in ("ctr", "music"):
        assert Path(plan_of(form, None, 1, []).data).exists()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"examples/clicks.csv: there are no example data here; give --data"):
        plan_of("ctr", None, 1, [])
    with pytest.raises(UsageError, match="there are no example data for galaxy; give --data"):
        plan_of("galaxy", None, 1, [])


def test_the_command_prints_writes_and_draws(tmp_path):
    for name, value in {"softmax-0": 1.5, "relative-0": 1.2}.items():
        finished(tmp_path / "c" / name, value)
    (tmp_path / "c" / ".attn").touch()
    arguments = ["mixers", "compare", "music", "--mixers", "softmax,relative", "--minutes", "1", "--seeds", "1"]
    arguments += ["--data", "no such data", "--out", str(tmp_path / "c")]
    done = CliRunner().invoke(app, [*arguments, "--json", "--", "--width", "8"], prog_name="attn")
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["budget"] == "1 minutes a training" and report["better"] == "lower"
    assert [row["difference"] for row in report["rows"]] == [None, pytest.approx(-0.3)]
    assert json.loads((tmp_path / "c" / "report.json").read_text())["rows"] == report["rows"]
    assert (tmp_path / "c" / "comparison.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("piano",), "'piano' has no mechanisms to compare; choose chest, ctr, galaxy, reid, music"),
        (("galaxy",), "there are no example data for galaxy"),
        (("music", "--mixers", "halo"), "no mixer 'halo' for 1-D tokens"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["mixers", "compare", *arguments], prog_name="attn")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {said}") and done.stderr.count("\n") == 1
    assert not [*tmp_path.iterdir()]


@pytest.mark.slow
def test_an_interrupted_comparison_goes_on(tmp_path):
    """Killed in its second training; the first one stays as it is."""
    command = [sys.executable, "-m", "attn.cli", "mixers", "compare", "music", "--mixers", "softmax,relative"]
    command += ["--minutes", "0.05", "--seeds", "1", "--out", str(tmp_path / "c")]
    command += ["--", "--width", "8", "--depth", "1", "--heads", "2", "--length", "64"]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr.readline().startswith("softmax, seed 0: ")
        end = time.monotonic() + 60
        while not (tmp_path / "c" / "relative-0" / "run").exists() and time.monotonic() < end:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    made = (tmp_path / "c" / "softmax-0" / "model.json").stat().st_mtime_ns
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["mixer", "softmax", "relative"]
    assert (tmp_path / "c" / "softmax-0" / "model.json").stat().st_mtime_ns == made
