"""A training that is stopped from outside: by a signal, a full disk, a folder without permission, no home."""

import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from attn.apps.ctr.data import open_clicks
from attn.apps.ctr.train import Recipe, train
from attn.cli import main
from attn.core.training.config import FitConfig
from attn.exits import run

TRAIN = ("ctr", "train", "clicks.csv", "--label", "click", "--out", "run", "--epochs", "400", "--patience", "400")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a small click log; the command runs there."""
    draw = np.random.default_rng(0)
    site_n = draw.integers(0, 9, 600)
    clicks = pl.DataFrame({"site": site_n, "click": (draw.random(600) < site_n / 9).astype(int)})
    clicks.write_csv(tmp_path / "clicks.csv")
    return tmp_path


def attn(place: Path, *arguments: str, start_new_session: bool = False, **changes: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **changes}
    command = [sys.executable, "-m", "attn.cli", *arguments]
    return subprocess.Popen(
        command,
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def sentences(said: str) -> list[str]:
    return [line for line in said.splitlines() if line.strip()]


def test_a_signal_is_an_interruption_that_says_how_to_go_on(
    place: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the command of a shell, but in this process: sent by a thread once the first epoch is written down."""
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", ["attn", *TRAIN, "--json"])
    table, over = place / "run" / "run" / "metrics.csv", threading.Event()

    def terminate() -> None:
        while not over.wait(0.02):
            if table.exists():
                os.kill(os.getpid(), signal.SIGTERM)
                return

    thread = threading.Thread(target=terminate)
    thread.start()
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        over.set()
        thread.join()
    out, said = capfd.readouterr()
    assert ended.value.code == 130, said
    stopped_in_two_sentences(place, out, said)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_gets_a_signal_ends(place: Path, number: int) -> None:
    process = attn(place, *TRAIN, "--json")
    table = place / "run" / "run" / "metrics.csv"
    end = time.monotonic() + 120
    while not table.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(number)
    out, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    stopped_in_two_sentences(place, out, said)


def stopped_in_two_sentences(place: Path, out: str, said: str) -> None:
    assert out == ""
    assert "--resume" in said and "the run in run" in said
    after = [line for line in sentences(said) if not line.startswith("epoch ")]  # these say how far it is
    assert "Traceback" not in said and len(after) == 2
    left = [path.name for path in (place / "run").rglob("*.part*")]
    assert left == [], "nothing half-written"


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """What a full disk is to a program, but for the number of the error."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def trained(place: Path, out: Path) -> int:
    """The exit code of a training in this process."""

    def command() -> int:
        train(open_clicks(place / "clicks.csv", label="click"), out, Recipe(), FitConfig(epochs=2))
        return 0

    return run(command)


def test_a_full_disk_is_one_sentence(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with files_of_at_most(4000):
        assert trained(place, place / "run") == 1
    said = capfd.readouterr().err
    assert said.startswith("error: ") and "File too large" in said and len(sentences(said)) == 1
    assert not list((place / "run").rglob("*.part*"))


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs a folder that nobody may write to, not even root")
def test_a_folder_that_may_not_be_written_is_one_sentence(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert trained(place, Path("/sys/attn")) == 1
    assert re.fullmatch(r"error: /sys/attn: \w.*\n", capfd.readouterr().err)


@pytest.mark.slow
def test_no_home_and_nowhere_to_keep_settings(place: Path) -> None:
    """A service account: no HOME, a home that does not exist, and a model trained and used all the same."""
    nowhere = str(place / "nowhere")
    training = attn(place, *TRAIN[:-4], "--epochs", "1", HOME=nowhere, XDG_CACHE_HOME=nowhere, XDG_CONFIG_HOME=nowhere)
    _, said = training.communicate(timeout=120)
    assert training.returncode == 0, said
    assert (place / "run" / "model.json").exists()
    assert "Traceback" not in said
