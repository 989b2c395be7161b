"""The split: no group on two sides, each class in each part, the same for every call."""

import numpy as np
import pytest
import torch

from attn.apps.chest.split import grouped_split, rarest_finding
from attn.core.errors import TrainingError


def drawn(groups: int = 300, seed: int = 0) -> tuple[list[str], list[int]]:
    """Patients with 1 to 6 images each; a fifth of the patients have images of two classes."""
    draw = np.random.default_rng(seed)
    labels, numbers = [], []
    for group in range(groups):
        own = draw.choice(["a", "b", "c"], p=[0.7, 0.25, 0.05])
        for _ in range(draw.integers(1, 7)):
            labels.append(str(draw.choice(["a", "b", "c"])) if draw.random() < 0.2 else str(own))
            numbers.append(group)
    order = draw.permutation(len(labels))
    return [labels[i] for i in order], [numbers[i] for i in order]


@pytest.mark.parametrize("seed", range(3))
def test_no_group_is_on_two_sides(seed: int) -> None:
    labels, groups = drawn(seed=seed)
    split = grouped_split(labels, groups)
    parts = [split.train, split.validation, split.held_out]
    assert sorted(row for part in parts for row in part) == list(range(len(labels)))
    held = [{groups[row] for row in part} for part in parts]
    assert not held[0] & held[1] and not held[0] & held[2] and not held[1] & held[2]
    for part, share in zip(parts, (0.7, 0.1, 0.2), strict=True):
        assert len(part) / len(labels) == pytest.approx(share, abs=0.06)
        assert {labels[row] for row in part} == {"a", "b", "c"}
    assert split == grouped_split(labels, groups)


def test_the_smallest_set_has_each_class_in_each_part() -> None:
    labels, groups = ["a"] * 4 + ["b"] * 4, [0, 0, 1, 2, 3, 4, 5, 5]
    split = grouped_split(labels, groups)
    for part in (split.train, split.validation, split.held_out):
        assert {labels[row] for row in part} == {"a", "b"}


def test_sets_that_cannot_be_split() -> None:
    with pytest.raises(TrainingError, match="one label, so there is nothing to learn"):
        grouped_split(["a"] * 9, range(9))
    with pytest.raises(TrainingError, match="class 'b' has only 2 patients; every class needs at least 3"):
        grouped_split(["a"] * 9 + ["b"] * 9, [*range(9), 10, 10, 10, 10, 11, 11, 11, 11, 11])


def test_several_findings_are_stratified_by_the_rarest() -> None:
    nan = float("nan")
    targets = torch.tensor([[1, 1, 0], [1, 0, nan], [0, nan, 0], [1, 0, 1.0], [1, 1, 0]])
    assert rarest_finding(targets, ["x", "y", "z"]) == ["y", "x", "", "z", "y"]
