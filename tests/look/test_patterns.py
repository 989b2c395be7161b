"""Patterns that were planted are told apart and named; maps of one kind are one pattern."""

import numpy as np
import pytest
import torch
from look_fixtures import SIDE, N, Planted, probe_of, tokens, weights_of
from sklearn.metrics import adjusted_rand_score

from attn.look.layout import on_grid
from attn.look.patterns import clusters, codes, features_of, name_of, patterns, traits_of
from attn.look.sites import find_sites

KINDS = ("uniform", "self", "offset", "row", "column", "sink")
NAMES = ("evenly over all", "itself", "1 token on", "its line", "its column", "one token for all")


def noisy(kind: str, seed: int) -> torch.Tensor:
    weights = weights_of(kind).double()
    noise = torch.rand(N, N, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return 0.95 * weights + 0.05 * noise / noise.sum(-1, keepdim=True)


def test_planted_kinds_are_the_clusters() -> None:
    kinds = [kind for kind in KINDS for _ in range(6)]
    maps_mf = torch.stack([features_of(noisy(kind, seed)) for seed, kind in enumerate(kinds)]).float()
    assert adjusted_rand_score(kinds, clusters(codes(maps_mf))) == pytest.approx(1)


def test_maps_of_one_kind_are_one_pattern() -> None:
    random = [torch.rand(N, N, generator=torch.Generator().manual_seed(seed)) + 0.1 for seed in range(24)]
    maps_mf = torch.stack([features_of(each / each.sum(-1, keepdim=True)) for each in random])
    assert set(clusters(codes(maps_mf)).tolist()) == {0}
    assert set(clusters(np.zeros((9, 3))).tolist()) == {0}


@pytest.mark.parametrize(("kind", "name"), [*zip(KINDS, NAMES, strict=True)])
def test_a_pattern_has_its_name(kind: str, name: str) -> None:
    assert name_of(traits_of(noisy(kind, 0), on_grid(SIDE, SIDE), causal=False)) == name


def test_heads_of_a_network_get_their_patterns() -> None:
    probe, batch = probe_of(Planted(KINDS, KINDS)), tokens(len(KINDS), examples=1)
    before = torch.random.get_rng_state()
    found = patterns(probe, [batch], find_sites(probe, batch))
    assert found["heads"] == {f"{layer}.{head}": NAMES[head] for layer in (0, 1) for head in range(6)}
    assert sorted(row["maps"] for row in found["clusters"]) == [2] * 6
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("n", [9, 16, 100])
def test_a_small_map_keeps_the_rows_sums(n: int) -> None:
    a_nn = torch.rand(n, n)
    a_nn = a_nn / a_nn.sum(-1, keepdim=True)
    small = features_of(a_nn)[: 16 * 16].square().reshape(16, 16)
    torch.testing.assert_close(small.sum(-1).mean(), torch.tensor(1.0), atol=0.1, rtol=0)
