"""Losses in closed form, against PyTorch's own, and what unknown targets do."""

import math

import pytest
import torch
from torch.nn import functional as F

from attn.apps.chest.losses import focal_cross_entropy, masked_binary

Z = torch.tensor([[2.0, -1.0, 0.5], [0.1, 0.2, -3.0], [-1.0, 4.0, 0.0]])
Y = torch.tensor([0, 2, 1])
WEIGHT = torch.tensor([1.0, 3.0, 0.5])


def test_without_gamma_it_is_cross_entropy() -> None:
    hard = F.one_hot(Y, 3).float()
    torch.testing.assert_close(focal_cross_entropy(Z, hard), F.cross_entropy(Z, Y))
    torch.testing.assert_close(focal_cross_entropy(Z, hard, WEIGHT), F.cross_entropy(Z, Y, WEIGHT))
    soft = hard * 0.9 + 0.1 / 3
    torch.testing.assert_close(focal_cross_entropy(Z, soft), F.cross_entropy(Z, soft))


def test_focal_in_closed_form() -> None:
    """p = 0.9 and p = 0.5: the loss is the mean of -(1 - p)^2 log p."""
    z = torch.tensor([[math.log(9.0), 0.0], [0.0, 0.0]])
    expected = -(0.1**2 * math.log(0.9) + 0.5**2 * math.log(0.5)) / 2
    torch.testing.assert_close(
        focal_cross_entropy(z, torch.tensor([[1.0, 0], [1, 0]]), gamma=2.0), torch.tensor(expected)
    )
    target = torch.tensor([[1.0, math.nan], [math.nan, 0.0]])
    binary = torch.tensor([[math.log(9.0), 5.0], [5.0, 0.0]])
    torch.testing.assert_close(masked_binary(binary, target, gamma=2.0), torch.tensor(expected))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_sure_answers_have_finite_gradients(gamma: float) -> None:
    for value in (80.0, -80.0):
        z = torch.tensor([[value, 0.0, -value]], requires_grad=True)
        focal_cross_entropy(z, torch.tensor([[1.0, 0, 0]]), gamma=gamma).backward()
        assert z.grad is not None and z.grad.isfinite().all()


def test_unknown_targets_count_for_nothing() -> None:
    target = torch.tensor([[1.0, math.nan, 0.0], [math.nan, math.nan, 1.0]])
    z = Z[:2].clone().requires_grad_()
    loss = masked_binary(z, target, WEIGHT)
    known = ~target.isnan()
    expected = F.binary_cross_entropy_with_logits(Z[:2][known], target[known], pos_weight=WEIGHT.expand(2, 3)[known])
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert z.grad is not None and torch.equal(z.grad != 0, known)


def test_nothing_known_is_no_loss() -> None:
    z = Z.clone().requires_grad_()
    loss = masked_binary(z, torch.full_like(Z, math.nan))
    loss.backward()
    assert loss == 0 and z.grad is not None and (z.grad == 0).all()
