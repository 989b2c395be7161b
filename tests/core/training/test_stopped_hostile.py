"""A training that is stopped from outside: by a signal, a full disk, a folder without permission, no home."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

TRAIN = ("ctr", "train", "clicks.csv", "--label", "click", "--out", "run", "--epochs", "400", "--patience", "400")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a small click log; the command runs there."""
    draw = np.random.default_rng(0)
    site_n = draw.integers(0, 9, 600)
    clicks = pl.DataFrame({"site": site_n, "click": (draw.random(600) < site_n / 9).astype(int)})
    clicks.write_csv(tmp_path / "clicks.csv")
    return tmp_path


def attn(place: Path, *arguments: str, largest: int | None = None, **changes: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **changes}
    limit = "" if largest is None else f"resource.setrlimit(resource.RLIMIT_FSIZE, ({largest}, {largest})); "
    script = f"import resource; {limit}from attn.cli import main; main()"
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(
        command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def sentences(said: str) -> list[str]:
    return [line for line in said.splitlines() if line.strip()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_an_interruption_that_says_how_to_go_on(place: Path, number: int) -> None:
    process = attn(place, *TRAIN, "--json")
    table = place / "run" / "run" / "metrics.csv"
    end = time.monotonic() + 120
    while not table.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(number)
    out, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert out == ""
    assert "the same command with --resume goes on with the run in run" in said
    assert "Traceback" not in said and len(sentences(said)) == 2
    left = [path.name for path in (place / "run").rglob("*.part*")]
    assert left == [], "nothing half-written"


def test_a_full_disk_is_one_sentence(place: Path) -> None:
    """A limit on the size of files is what a full disk is to a program, but for the number of the error."""
    process = attn(place, *TRAIN, largest=20_000)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1, said
    last = sentences(said)[-1]
    assert "Traceback" not in said and last.startswith("error: ") and "File too large" in last
    assert not list((place / "run").rglob("*.part*"))


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs a folder that nobody may write to, not even root")
def test_a_folder_that_may_not_be_written_is_one_sentence(place: Path) -> None:
    process = attn(place, *(word if word != "run" else "/sys/attn" for word in TRAIN))
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert re.fullmatch(r"error: /sys/attn: \w.*", sentences(said)[-1]) and "Traceback" not in said


def test_no_home_and_nowhere_to_keep_settings(place: Path) -> None:
    """A service account: no HOME, a home that does not exist, and a model trained and used all the same."""
    nowhere = str(place / "nowhere")
    training = attn(place, *TRAIN[:-4], "--epochs", "1", HOME=nowhere, XDG_CACHE_HOME=nowhere, XDG_CONFIG_HOME=nowhere)
    _, said = training.communicate(timeout=120)
    assert training.returncode == 0, said
    assert (place / "run" / "model.json").exists()
    assert "Traceback" not in said
