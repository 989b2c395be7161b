"""Cached pixels: read once, bounded, hashed."""

from collections import Counter

import pytest
import torch
from torch import Tensor

from attn.core.training import pixels
from attn.core.training.pixels import CachedPixels


class Reader:
    def __init__(self) -> None:
        self.reads: Counter[int] = Counter()

    def __call__(self, row: int) -> tuple[Tensor, str]:
        self.reads[row] += 1
        return torch.full((8, 8), row, dtype=torch.uint8), f"hash {row}"


def test_each_row_is_read_once() -> None:
    read, targets = Reader(), torch.arange(10.0).view(5, 2)
    dataset = CachedPixels(read, [4, 1], targets)
    for _ in range(3):
        image, target = dataset[0]
        assert (image == 4).all() and torch.equal(target, targets[4])
    assert len(dataset) == 2 and read.reads == {4: 1}
    assert dataset.hashes() == ["hash 4", "hash 1"] and read.reads == {4: 1, 1: 1}


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "CACHE_BYTES", 2 * 64)
    read = Reader()
    dataset = CachedPixels(read, range(4), torch.zeros(4, 1))
    for _ in range(2):
        assert [int(dataset[row][0][0, 0]) for row in range(4)] == [0, 1, 2, 3]
    assert read.reads == {0: 1, 1: 1, 2: 2, 3: 2}
    dataset.hashes()
    assert read.reads == {0: 1, 1: 1, 2: 2, 3: 2}
