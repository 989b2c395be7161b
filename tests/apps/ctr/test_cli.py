"""The commands end to end on a small log, and what they say to bad tables."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from ctr_fixtures import click_log, click_model

from attn.cli import app

COLUMNS = ["id", "label", "p_not click", "p_click", "uncertainty", "flags", "error", "model", "user_id"]
TINY = ("--embedding", "4", "--width", "8", "--depth", "1", "--epochs", "2")


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def attn(*arguments: object) -> Done:
    """The command in this process: what it prints, and its exit code."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        app(["ctr", *map(str, arguments)])
    return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "clicks.csv"
    click_log(600).write_csv(path)
    return path


def test_every_verb_end_to_end(log: Path, tmp_path: Path):
    done = attn("inspect", log, "--label", "click", "--json")
    fields = {row["field"]: row for row in json.loads(done.stdout)["fields"]}
    assert fields["tags"]["kind"].startswith("multi") and fields["at: hour"]["kind"] == "time (hour)"
    done = attn("train", log, "--label", "click", "--out", tmp_path / "m", *TINY, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["app"] == "ctr"
    done = attn("train", log, "--label", "click", "--out", tmp_path / "m", *TINY)
    assert done.returncode == 1 and "earlier run" in done.stderr
    done = attn("evaluate", log, "--model", tmp_path / "m", "--by", "user_id", "--out", tmp_path / "e", "--json")
    report = json.loads(done.stdout)
    assert 0 < report["auc"] < 1 and report["logloss"] > 0 and report["grouped_auc"] > 0
    assert (tmp_path / "e" / "calibration.png").exists()
    assert json.loads((tmp_path / "e" / "report.json").read_text())["auc"] == report["auc"]
    done = attn("predict", log, "--model", tmp_path / "m", "--keep", "user_id", "--out", tmp_path / "p.csv")
    assert done.returncode == 0 and pl.read_csv(tmp_path / "p.csv").columns == COLUMNS
    done = attn("predict", log, "--model", tmp_path / "m", "--keep", "", "--json")
    assert len([json.loads(line) for line in done.stdout.splitlines()]) == 600
    done = attn("predict", log, "--model", tmp_path / "m", "--out", tmp_path / "p.csv", "--json")
    assert json.loads(done.stdout) == {"written": str(tmp_path / "p.csv"), "rows": 600, "failed": 0}
    done = attn("calibrate", log, "--model", tmp_path / "m", "--format", "csv", "--device", "cpu", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["slope"] > 0
    done = attn("explain", log, "--model", tmp_path / "m", "--rows", "200", "--out", tmp_path / "x", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["interactions"][0]["contrast"] >= 0
    done = attn("explain", log, "--model", tmp_path / "m", "--row", "2", "--out", tmp_path / "x")
    assert done.returncode == 0 and (tmp_path / "x" / "row-2.png").exists()
    done = attn("export", "--model", tmp_path / "m", "--out", tmp_path / "served", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["largest_difference"] < 1e-4


def csv(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


GOOD = "a,b,click\n" + "".join(f"{n},x{n % 7},{n % 2}\n" for n in range(80))
BAD = {
    "empty": (b"", "empty"),
    "header": (b"a,b,click\n", "row"),
    "null": (GOOD + "1,x,\n", "the label 'click' is empty in row 81"),
    "two": (GOOD + "1,x,2\n", "the label 'click' is '2' in row 81"),
    "constant": (GOOD.replace(",1\n", ",0\n"), "the label 'click' is 0 in"),
    "quotes": (GOOD + '5,"open,1\n6,y,0\n', "line 82"),
    "ragged": (GOOD + "1,2,0,4\n", "line 82"),
    "twice": (GOOD.replace("a,b", "a,a", 1), "a"),
    "long": (GOOD + "1," + "x" * 10_000_000 + ",0\n", "1,000,000 characters"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("verb", ["train", "inspect"])
def test_a_bad_table_is_one_sentence(name: str, verb: str, tmp_path: Path):
    content, said = BAD[name]
    (tmp_path / "t.csv").write_bytes(csv(content))
    out = ("--out", tmp_path / "m", *TINY) if verb == "train" else ()
    done = attn(verb, tmp_path / "t.csv", "--label", "click", *out)
    assert done.returncode == 1, done.stdout
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert said in line and "t.csv" in line and len(line) < 500
    assert "Traceback" not in done.stderr and not (tmp_path / "m" / "model.json").exists()


def test_shares_are_typed_as_the_help_shows_them(log: Path, tmp_path: Path):
    done = attn("train", log, "--label", "click", "--out", tmp_path / "m", *TINY, "--shares", "0.25,0.05", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["data"]["split"]["shares"] == [0.25, 0.05]


def test_other_bad_inputs(log: Path, tmp_path: Path):
    parquet = tmp_path / "cut.parquet"
    click_log(300).write_parquet(parquet)
    parquet.write_bytes(parquet.read_bytes()[:-2000])
    cases = [
        (1, ("inspect", parquet, "--label", "click"), "cut off"),
        (1, ("inspect", log, "--label", "clicked"), "no column 'clicked'"),
        (1, ("inspect", tmp_path / "nothing.csv"), "is not there"),
        (1, ("predict", log, "--model", tmp_path), "no model.json"),
        (2, ("train", log, "--label", "click", "--out", tmp_path / "m", "--preset", "mine"), "no preset 'mine'"),
        (2, ("train", log, "--label", "click", "--out", tmp_path / "m", "--mixer", "mine"), "no mixer 'mine'"),
        (2, ("train", log, "--label", "click", "--out", tmp_path / "m", "--dnn", "abc"), "is not a list of widths"),
        (2, ("train", log, "--label", "click", "--out", tmp_path / "m", "--heads", "5"), "5 heads"),
        (2, ("train", log, "--label", "click", "--out", tmp_path / "m", "--shares", "0.1"), "write 0.1,0.1"),
        (2, ("train", log, "--label", "click", "--out", tmp_path / "m", "--shares", "0.1,x"), "write 0.1,0.1"),
        (2, ("train", log, "--label", "click", "--out", tmp_path / "m", "--shares", "nan,0"), "below 1"),
        (2, ("train", log, "--label", "click", "--out", tmp_path / "m", "--shares", "0.5,0.5"), "below 1"),
        (
            2,
            ("train", log, "--out", tmp_path / "m", "--validation", "v", "--test", "t", "--shares", "0.1,0.1"),
            "--shares has no effect with --validation",
        ),
        (2, ("train", log, "--out", tmp_path / "m", "--test", "t", "--shares", "0.1,0.1"), "second of --shares is 0"),
        (2, ("predict", log, "--model", click_model(), "--out", tmp_path / "p.txt"), "format from '.txt'"),
        (1, ("evaluate", log, "--model", click_model(), "--label", "site"), "the label 'site'"),
        (2, ("explain", log, "--row", 2, "--rows", 9), "--rows has no effect with --row"),
        (2, ("predict", log, "--model", click_model(), "--device", "cuda:99"), "this machine has no cuda:99"),
    ]
    for code, arguments, said in cases:
        done = attn(*arguments)
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), (arguments, done.stderr)
        assert said in done.stderr, (said, done.stderr)


@pytest.mark.slow
def test_a_killed_training_goes_on_and_ends_as_if_it_had_not_been(log: Path, tmp_path: Path):
    arguments = (
        "train",
        log,
        "--label",
        "click",
        "--embedding",
        "4",
        "--width",
        "8",
        "--depth",
        "1",
        "--epochs",
        "12",
    )
    more = ("--patience", "50", "--batch-size", "32")
    assert attn(*arguments, *more, "--out", tmp_path / "whole").returncode == 0
    command = [sys.executable, "-m", "attn.cli", "ctr", *map(str, (*arguments, *more, "--out", tmp_path / "cut"))]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    last = tmp_path / "cut" / "run" / "checkpoints" / "last.safetensors"
    deadline = time.monotonic() + 120
    while not last.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "cut" / "model.json").exists()
    done = attn(*arguments, *more, "--out", tmp_path / "cut", "--resume")
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / name / "model.json").read_text())["metrics"] for name in ("whole", "cut"))
    assert second["logloss"] == pytest.approx(first["logloss"], abs=1e-6) and second["epochs"] == 12


@pytest.mark.real_data
def test_the_published_layouts_train_and_predict(data_dir: Path, tmp_path: Path):
    avazu = data_dir / "ctr" / "avazu-9k"
    done = attn(
        "train",
        avazu / "train.csv",
        "--validation",
        avazu / "dev.csv",
        "--label",
        "click",
        "--out",
        tmp_path / "a",
        *TINY,
    )
    assert done.returncode == 0, done.stderr
    done = attn("predict", avazu / "test.csv", "--model", tmp_path / "a", "--out", tmp_path / "p.parquet")
    assert done.returncode == 0, done.stderr
    assert len(pl.read_parquet(tmp_path / "p.parquet")) == 432  # the file has no header, the model knows the names
    done = attn("evaluate", avazu / "test.csv", "--model", tmp_path / "a", "--label", "click", "--json")
    assert {"auc", "logloss"} <= json.loads(done.stdout).keys()
