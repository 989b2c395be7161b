"""A single query: equal to the reference; takes only what it computes rightly."""

import pytest
import torch
from tolerances import assert_close

from attn.core.attention import reference
from attn.core.attention.kernels import one_query
from attn.core.attention.problem import Problem
from attn.core.attention.relative import Relative


def draw(batch=2, keys=9, dtype=torch.float64):
    torch.manual_seed(0)
    q, k, v = (torch.randn(batch, 3, keys, 4, dtype=dtype) for _ in range(3))
    return q[:, :, -1:], k, v, q


@pytest.mark.parametrize("bias", [None, torch.randn(3, 1, 9), torch.randn(9)], ids=["none", "of heads", "of keys"])
def test_equals_the_reference(bias):
    q, k, v, _ = draw()
    problem = Problem(q, k, v, 0.7, bias=bias, causal=True)
    assert one_query.takes(problem)
    assert_close(one_query.run(problem), reference.attention(q, k, v, bias=bias, scale=0.7))


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("rows", [1, 4, 9, 20])
@pytest.mark.parametrize("clip", [False, True])
def test_relative_equals_the_last_row_of_the_reference(batch, rows, clip):
    q, k, v, every = draw(batch)
    table = torch.randn(3, rows, 4, dtype=torch.float64)
    problem = Problem(q, k, v, 0.5, relative=Relative(table, clip), causal=True)
    assert_close(one_query.run(problem), reference.relative(every, k, v, table, clip)[:, :, -1:])


def test_which_problems():
    q, k, v, every = draw()
    assert one_query.takes(Problem(q, k, v, 1.0))
    assert not one_query.takes(Problem(every, k, v, 1.0))
    assert not one_query.takes(Problem(q, k, v, 1.0, mask=torch.ones(9, dtype=torch.bool)))
    assert not one_query.takes(Problem(q, k, v, 1.0, dropout=0.1))
    assert not one_query.takes(Problem(q.bfloat16(), k.bfloat16(), v.bfloat16(), 1.0))
    assert not one_query.takes(Problem(q, k, v.float(), 1.0))
    assert not one_query.takes(Problem(q, k, v, 1.0, relative=Relative(torch.randn(3, 4, 4), block=2), causal=True))
