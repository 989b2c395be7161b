"""A training that was killed, interrupted or told to end, and is resumed, ends as the uninterrupted one."""

import csv
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from core.training import small_run
from core.training.small_run import CONFIG, Data, Net, Stopped, without_time

from attn.core.errors import TrainingError
from attn.core.training.fit import fit
from attn.core.training.resume import read_tree


@pytest.mark.slow
def test_sigkill_mid_epoch_then_resume_ends_as_uninterrupted(whole: Any, tmp_path: Path) -> None:
    killed = subprocess.run(
        [sys.executable, small_run.__file__, str(tmp_path)], check=False, capture_output=True, text=True
    )
    assert killed.returncode == -signal.SIGKILL
    assert killed.stdout + killed.stderr == "", "a training that is not on a terminal says nothing"
    assert len(read_tree(tmp_path / "checkpoints/last.safetensors", "callbacks", "Journal", "history")) == 2
    gone = int(subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True).stdout)
    left = [tmp_path / "checkpoints" / f".last.{gone}.part.safetensors", tmp_path / f".curves.{gone}.part.png"]
    for path in left:
        path.write_bytes(b"killed while writing")

    resumed, (expected, _) = fit(Net(), Data(), CONFIG, tmp_path, resume=True), whole

    assert not any(path.exists() for path in left)

    assert without_time(resumed.history) == without_time(expected.history)
    assert abs(resumed.final_train_loss - expected.final_train_loss) < 1e-6
    assert resumed.best_epoch == expected.best_epoch
    for name, weight in expected.best_state.items():
        assert torch.equal(resumed.best_state[name], weight), name


@pytest.mark.parametrize("how", ["interrupt", "terminate"])
def test_interrupt_is_raised_again_and_resumes(whole: Any, tmp_path: Path, how: str) -> None:
    """Lightning alone ends a process that is told to terminate with exit code 0."""
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in signals]
    with pytest.raises(KeyboardInterrupt):
        fit(Stopped((0, 2), how), Data(), CONFIG, tmp_path)
    assert [signal.getsignal(number) for number in signals] == before
    resumed = fit(Net(), Data(), CONFIG, tmp_path, resume=True)
    assert without_time(resumed.history) == without_time(whole[0].history)


def test_workers_are_repeatable_across_a_resume(tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=2)
    with pytest.raises(KeyboardInterrupt):
        fit(Stopped((1, 2), "interrupt"), Data(workers=1), config, tmp_path / "cut")
    resumed = fit(Net(), Data(workers=1), config, tmp_path / "cut", resume=True)
    expected = fit(Net(), Data(workers=1), config, tmp_path / "whole")
    assert without_time(resumed.history) == without_time(expected.history)


def test_workers_without_seeds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="seed_worker"):
        fit(Net(), Data(workers=1, seeded=False), CONFIG, tmp_path)


def test_finished_run_resumes_to_its_result_and_may_grow(whole: Any, tmp_path: Path) -> None:
    short = replace(CONFIG, epochs=2)
    first = fit(Net(), Data(), short, tmp_path)
    again = fit(Net(), Data(), short, tmp_path, resume=True)
    assert again.history == first.history
    grown = fit(Net(), Data(), CONFIG, tmp_path, resume=True)
    assert without_time(grown.history) == without_time(whole[0].history)
    assert grown.seconds > first.seconds


@pytest.mark.slow
@pytest.mark.skipif(torch.accelerator.is_available(), reason="two processes on the CPU")
def test_two_processes_keep_one_journal(tmp_path: Path) -> None:
    run = [sys.executable, small_run.__file__, str(tmp_path), "2"]
    subprocess.run(run, check=True, timeout=300)
    with (tmp_path / "metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1", "2", "3"]
    assert read_tree(tmp_path / "checkpoints/last.safetensors", "global_step") == 4 * 3


@pytest.mark.slow
@pytest.mark.skipif(torch.accelerator.is_available(), reason="two processes on the CPU")
def test_two_processes_end_when_the_first_is_told_to(tmp_path: Path) -> None:
    """The second waits for the first in the middle of a step; both have ended when their standard error is closed."""
    run = [sys.executable, small_run.__file__, str(tmp_path), "terminate"]
    done = subprocess.run(run, timeout=250, capture_output=True, text=True)
    # Threads of torch's process group may abort while the interpreter ends, after all is written.
    assert done.returncode in (-signal.SIGINT, -signal.SIGABRT) and "KeyboardInterrupt" in done.stderr
    with (tmp_path / "metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0"]
    assert not list(tmp_path.rglob("*.part*"))
