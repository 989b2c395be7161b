"""Outputs and numbers: what is learned is what comes back."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from attn.apps.galaxy.number import Number, numbers_of
from attn.core.errors import InputError

SHARE = Number(name="smooth_frac", share=True, mean=0.4, std=0.2)
REDSHIFT = Number(name="z", share=False, mean=0.1, std=0.05)


def test_values_and_the_loss_agree_on_what_is_right() -> None:
    true = torch.tensor([0.25, 0.9])
    for number in (SHARE, REDSHIFT):
        output = torch.zeros(2, requires_grad=True)
        for _ in range(4000):
            (grad,) = torch.autograd.grad(number.loss(output, true), output)
            output = (output - 1.0 * grad).detach().requires_grad_()
        np.testing.assert_allclose(number.value(output).detach(), true, atol=1e-3)


def test_a_share_is_learned_as_votes_are() -> None:
    """Of 10 votes 3 are for: the loss is the mean cross-entropy of the votes."""
    output = torch.tensor([0.7])
    votes = torch.tensor([1.0] * 3 + [0.0] * 7)
    expected = F.binary_cross_entropy_with_logits(output.expand(10), votes)
    assert SHARE.loss(output, torch.tensor([0.3])).item() == pytest.approx(expected.item())
    assert SHARE.value(output).item() == pytest.approx(1 / (1 + math.exp(-0.7)))


def test_other_numbers_are_standardised() -> None:
    assert REDSHIFT.value(torch.tensor([0.0, 2.0])).tolist() == pytest.approx([0.1, 0.2])
    assert REDSHIFT.loss(torch.tensor([1.0]), torch.tensor([0.15])).item() == pytest.approx(0)


@pytest.mark.parametrize("cell", ["Sb", "nan", "inf", "1,5", "-"])
def test_a_cell_that_is_no_number_is_named(cell: str) -> None:
    np.testing.assert_array_equal(numbers_of(["0.5", " 1e-3 "], "z"), [0.5, 0.001])
    with pytest.raises(InputError, match=r"row 2: .* in the column 'z' is not a number"):
        numbers_of(["0.5", cell], "z")
