"""The planned policy against all policies, and what a policy cannot be."""

from itertools import product

import numpy as np
import pytest
from pydantic import ValidationError

from attn.core.decoding.policy import COMPUTE, Policy, plan


def brute(overlap_ll: np.ndarray, least: float, computing: set[int]) -> tuple[int, float]:
    """Over all choices of layers that compute: the fewest, and of those the largest sum of overlaps."""
    best = (len(overlap_ll) + 1, 0.0)
    for chosen in product([True, False], repeat=len(overlap_ll) - 1):
        computes = [True, *chosen]
        total, source, fits = 0.0, 0, all(computes[layer] for layer in computing)
        for layer, alone in enumerate(computes):
            source = layer if alone else source
            if not alone:
                fits &= bool(overlap_ll[layer, source] >= least)
                total += float(overlap_ll[layer, source])
        if fits:
            best = min(best, (sum(computes), -total))
    return best


@pytest.mark.parametrize("seed", range(30))
def test_dynamic_programming_equals_all_choices(seed: int) -> None:
    rng = np.random.default_rng(seed)
    layers = 1 + seed % 10
    overlap_ll = rng.random((layers, layers))
    computing = {*np.flatnonzero(rng.random(layers) < 0.1).tolist()}
    for least in (0.2, 0.5, 0.85):
        found = plan(overlap_ll, least, computing)
        total = sum(float(overlap_ll[layer, source]) for layer, source in enumerate(found) if source != COMPUTE)
        count, expected = brute(overlap_ll, least, computing)
        assert (found.count(COMPUTE), pytest.approx(total)) == (count, -expected)
        policy(found)  # it is one
        assert all(found[layer] == COMPUTE for layer in computing)


def policy(layers: list[int], **changes: object) -> Policy:
    values = {"app": "music", "model": "m", "fingerprint": "f", "keys": 4, "layers": tuple(layers)}
    return Policy.model_validate(values | changes)


def test_identical_layers_are_all_reused_and_unlike_ones_compute() -> None:
    assert plan(np.ones((5, 5)), 0.85) == [COMPUTE, 0, 0, 0, 0]
    assert plan(np.eye(5), 0.85) == [COMPUTE] * 5
    planted = np.kron(np.eye(2), np.ones((3, 3)))  # two runs of three
    assert plan(planted, 0.85) == [COMPUTE, 0, 0, COMPUTE, 3, 3]
    assert plan(np.ones((4, 4)), 0.85, {2}) == [COMPUTE, 0, COMPUTE, 2]


@pytest.mark.parametrize("layers", [[0], [COMPUTE, 1], [COMPUTE, 0, 1], [COMPUTE, -2], []])
def test_what_is_no_policy(layers: list[int]) -> None:
    with pytest.raises(ValidationError):
        policy(layers)
