"""Checkpoints: every tree comes back as it was, and what cannot be held or read is named."""

import math
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attn.core.errors import TrainingError
from attn.core.training.resume import SafetensorsIO, read_tree, write_tree


def test_checkpoint_round_trip(tmp_path: Path) -> None:
    net = nn.Linear(2, 2)
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    shared = torch.arange(6.0).reshape(2, 3)
    tree = {
        "optimizer_states": [optimizer.state_dict()],
        "views": OrderedDict(whole=shared, turned=shared.T, scalar=torch.tensor(3), none=torch.empty(0, 2)),
        "half": torch.tensor([1.5, math.inf], dtype=torch.bfloat16),
        "numbers": [1, True, -0.1, math.inf, -math.inf, 2**80, None, "text", (1, (2.5, "a"))],
        "a.b": torch.tensor(1), "a": {"b": torch.tensor(2)},
        "keys": {3: "x", "3": "y", "$tensor": "z"},
        "milestones": Counter({30: 1, 60: 2}),
        "nothing": {}, "empty": [],
    }  # fmt: skip
    path = tmp_path / "tree.safetensors"
    write_tree(path, tree)
    back = read_tree(path)
    assert list(back) == list(tree)
    assert_same(back, tree)
    assert isinstance(back["milestones"], Counter)
    assert math.isnan(SafetensorsIO().load_checkpoint(written(tmp_path / "nan", {"x": math.nan}))["x"])
    optimizer.load_state_dict(back["optimizer_states"][0])


def written(path: Path, tree: dict[str, Any]) -> Path:
    SafetensorsIO().save_checkpoint(tree, path)
    return path


def assert_same(got: Any, expected: Any) -> None:
    if isinstance(expected, Tensor):
        assert got.dtype == expected.dtype and got.shape == expected.shape and torch.equal(got, expected)
    elif isinstance(expected, dict):
        assert list(got) == list(expected)
        for key, value in expected.items():
            assert_same(got[key], value)
    elif isinstance(expected, (list, tuple)):
        assert type(got) is type(expected) and len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            assert_same(one, other)
    else:
        assert type(got) is type(expected) and got == expected


def test_checkpoint_names_what_it_cannot_hold_or_read(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    write_tree(path, {"kept": 1})
    with pytest.raises(TrainingError, match=r"cannot hold states\.2\.where, a pathlib\..*Path"):
        write_tree(path, {"states": [0, 1, {"where": tmp_path}]})
    with pytest.raises(TrainingError, match=r"the key \(1, 2\) of states"):
        write_tree(path, {"states": {(1, 2): 3}})
    assert read_tree(path) == {"kept": 1}, "the earlier file is untouched"
    write_tree(path, {"weights": torch.arange(8.0), "epoch": 1})
    good = path.read_bytes()
    for damaged in (good[:-4], good[:-4] + b"abcd", good.replace(b'epoch\\": 1', b'epoch\\": 2'), b"", good[:100]):
        assert damaged != good
        path.write_bytes(damaged)
        with pytest.raises(TrainingError, match=r"last\.safetensors: this checkpoint cannot be read .*start anew"):
            read_tree(path)
    with pytest.raises(TrainingError, match="cannot be read"):
        read_tree(tmp_path / "absent")
