"""The order of the rows is a function of the seed and the epoch."""

import pytest
import torch

from attn.core.training.seeding import EpochSampler


def test_sampler_order_is_a_function_of_seed_and_epoch() -> None:
    sampler, same, other = EpochSampler(50, seed=1), EpochSampler(50, seed=1), EpochSampler(50, seed=2)
    first = list(sampler)
    assert sorted(first) == list(range(50)) and first == list(sampler) == list(same) != list(other)
    sampler.set_epoch(1)
    assert list(sampler) != first
    same.set_epoch(1)
    assert list(sampler) == list(same)


def test_sampler_draws_in_proportion_to_weights() -> None:
    weights = torch.tensor([0.0, 1.0, 3.0, 0.0]).repeat(2000)
    drawn = torch.bincount(torch.tensor(list(EpochSampler(8000, seed=0, weights=weights))) % 4, minlength=4)
    assert drawn[0] == drawn[3] == 0
    assert float(drawn[2] / drawn.sum()) == pytest.approx(0.75, abs=0.02)
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        EpochSampler(3, seed=0, weights=weights)


def test_sampler_parts_of_all_ranks_make_the_whole() -> None:
    parts = []
    for rank in range(3):
        sampler = EpochSampler(10, seed=4)
        sampler.num_replicas, sampler.rank, sampler.num_samples, sampler.total_size = 3, rank, 4, 12
        parts.append(list(sampler))
    assert [len(part) for part in parts] == [4, 4, 4]
    assert set().union(*parts) == set(range(10))
