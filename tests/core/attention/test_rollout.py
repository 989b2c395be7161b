"""Rollout: the row of a product of matrices, without the product."""

import weakref

import pytest
import torch
from tolerances import assert_close
from torch import Tensor

from attn.core.attention.rollout import rollout_row


def layers(count: int = 4, tokens: int = 7) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(3, 2, tokens, tokens, generator=generator).mul(3).softmax(-1) for _ in range(count)]


def product(first_to_last: list[Tensor]) -> Tensor:
    """S̄_n ... S̄_1 written out."""
    whole = torch.eye(first_to_last[0].shape[-1]).expand(3, -1, -1)
    for weights in first_to_last:
        whole = (0.5 * weights.mean(1) + 0.5 * torch.eye(weights.shape[-1])) @ whole
    return whole


def test_equals_the_product_of_matrices() -> None:
    first_to_last = layers()
    whole = product(first_to_last)
    assert_close(rollout_row(reversed(first_to_last)), whole[:, 0])
    assert not torch.allclose(rollout_row(first_to_last), whole[:, 0])  # order matters
    mixture = torch.tensor([0, 0.5, 0, 0.2, 0, 0.3, 0])
    assert_close(rollout_row(reversed(first_to_last), mixture), torch.einsum("n,bnm->bm", mixture, whole))


def test_rows_sum_to_one() -> None:
    for row in torch.eye(7):
        assert_close(rollout_row(layers(12), row).sum(1), torch.ones(3))


def test_one_layer_in_memory_at_a_time() -> None:
    made: list[weakref.ref[Tensor]] = []

    def make() -> Tensor:
        assert not any(reference() is not None for reference in made), "an earlier layer is still there"
        weights = torch.rand(1, 1, 4, 4).softmax(-1)
        made.append(weakref.ref(weights))
        return weights

    rollout_row(make() for _ in range(4))
    assert len(made) == 4


def test_what_looks_at_itself_alone_reaches_itself_alone() -> None:
    itself = torch.eye(5).expand(2, 3, 5, 5)
    assert torch.equal(rollout_row([itself] * 3, torch.eye(5)[2]), torch.eye(5)[2].expand(2, 5))


def test_a_network_without_layers() -> None:
    with pytest.raises(ValueError, match="needs a layer"):
        rollout_row([])
