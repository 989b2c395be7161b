"""Damaged checkpoints: every part that a resumed training reads, from any bytes and from any tree."""

import json
import shutil
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from fuzz.mutate import fuzz, json_mutants, mutants
from lightning import LightningModule
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from training_fixtures import read, run, write

from attn.core.training.config import FitConfig
from attn.core.training.ema import EMA
from attn.core.training.fit import take_up
from attn.core.training.journal import Journal
from attn.core.training.resume import CHECKSUM, HEADER, read_tree, write_tree

CONFIG = FitConfig(epochs=4, ema_decay=0.9)


class Net(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(3, 2)


def checkpoint(net: Net) -> dict[str, Any]:
    """What Lightning and the callbacks of `fit` keep."""
    rows = [
        {"epoch": n, "step": 6 * n, "train_loss": 1 / (n + 1), "val_loss": 0.5, "seconds": 2.0 * n} for n in range(3)
    ]
    journal = Journal(CONFIG, Path(), None)
    journal.history, journal.best_epoch = rows, 1
    optimizer = torch.optim.AdamW(net.parameters())
    net.net(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return {
        "epoch": 2,
        "global_step": 18,
        "state_dict": net.state_dict(),
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [{"milestones": Counter({3: 1}), "last_epoch": 18, "betas": (0.9, 0.99)}],
        "callbacks": {"Journal": journal.state_dict(), "EMA": {"steps": 18, "average": net.state_dict()}},
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    write_tree(tmp_path / "checkpoints" / "last.safetensors", checkpoint(Net()))
    return tmp_path


def test_bytes(folder: Path, fuzz_count: int) -> None:
    """Checksums tell every damage, wherever it is."""
    path = folder / "checkpoints" / "last.safetensors"
    good = path.read_bytes()

    def read(data: bytes) -> None:
        path.write_bytes(data)
        read_tree(path)
        assert data[8:] == good[8:] or read_tree(path).keys() == checkpoint(Net()).keys()

    outcomes = fuzz(read, mutants([good], fuzz_count // 2, "checkpoint"))
    assert outcomes["TrainingError"] > 0.4 * fuzz_count


def test_trees(folder: Path, fuzz_count: int) -> None:
    """A whole file with any tree in it, as if another program had written it."""
    path = folder / "checkpoints" / "last.safetensors"
    net = Net()
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()[HEADER])
    tree = {"callbacks": {"Journal": header["callbacks"]["Journal"]}, "state_dict": header["state_dict"]}

    def resume(changed: Any) -> None:
        text = json.dumps(changed)
        save_file(tensors, path, metadata={HEADER: text, CHECKSUM: str(zlib.crc32(text.encode()))})
        journal = Journal(CONFIG, folder, EMA(0.9))
        take_up(journal, net)
        assert journal.seconds >= 0 and journal.finished in (True, False)

    outcomes = fuzz(resume, json_mutants(tree, fuzz_count // 2, "tree"))
    assert outcomes["TrainingError"] and outcomes["read"]


def test_resumed_trainings(tmp_path: Path, fuzz_count: int) -> None:
    """Every part of a real checkpoint: the training ends, or says what is wrong before its second step."""
    run(tmp_path / "good", 2)
    last = Path("checkpoints") / "last.safetensors"
    tensors, tree = read(tmp_path / "good" / last)

    def resume(changed: Any) -> None:
        shutil.rmtree(tmp_path / "bad", ignore_errors=True)
        shutil.copytree(tmp_path / "good", tmp_path / "bad")
        write(tmp_path / "bad" / last, tensors, changed)
        run(tmp_path / "bad", 3, resume=True)

    outcomes = fuzz(resume, json_mutants(tree, max(10, fuzz_count // 50), "resumed"))
    assert outcomes["TrainingError"]
