"""PyTorch's kernel takes every problem: equal to the reference with any bias, mask and number of windows."""

import pytest
import torch
from tolerances import assert_close

from attn.core.attention import reference
from attn.core.attention.kernels import fused
from attn.core.attention.problem import Problem
from attn.core.attention.relative import Relative


def draw(*shape):
    torch.manual_seed(0)
    return [torch.randn(*shape, dtype=torch.float64) for _ in range(3)]


@pytest.mark.parametrize("lead", [(), (2,), (2, 3), (2, 3, 4), (2, 3, 4, 2)], ids=str)
@pytest.mark.parametrize(
    "options",
    [{}, {"causal": True}, {"mask": torch.rand(6, 6) > 0.2}, {"bias": torch.randn(6, 6), "causal": True}],
    ids=lambda options: "+".join(options) or "plain",
)
def test_equals_the_reference(lead, options):
    q, k, v = draw(*lead, 6, 5)
    problem = Problem(q, k, v, 0.7, **options)
    assert fused.takes(problem)
    assert_close(fused.run(problem), reference.attention(q, k, v, scale=0.7, **options))


@pytest.mark.parametrize("block", [None, 2])
def test_relative_vectors_are_multiplied_out(block):
    q, k, v = draw(2, 3, 7, 4)
    table = torch.randn(3, 5, 4, dtype=torch.float64)
    problem = Problem(q, k, v, 0.5, relative=Relative(table, block=block), causal=True)
    assert_close(fused.run(problem), reference.relative(q, k, v, table, block=block))
