"""Relative attention in blocks of queries; that it equals the naive form is in `test_relative.py`."""

import pytest
import torch
from torch.autograd import gradcheck

from attn.core.attention.kernels import fused, skewed
from attn.core.attention.problem import Problem
from attn.core.attention.relative import Relative


def problem(length=11, queries=11, rows=4, clip=False, block=None, **options):
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 2, length, 3, dtype=torch.float64) for _ in range(3))
    table = torch.randn(2, rows, 3, dtype=torch.float64)
    return Problem(q[:, :, -queries:], k, v, 0.7, relative=Relative(table, clip, block), causal=True, **options)


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("block", [None, 3])
@pytest.mark.parametrize("queries", [2, 7, 11])
def test_equals_the_fused_kernel_with_the_vectors_multiplied_out(clip, block, queries, monkeypatch):
    monkeypatch.setattr(skewed, "QUERIES_AT_ONCE", 4)
    posed = problem(queries=queries, clip=clip, block=block)
    assert skewed.takes(posed)
    torch.testing.assert_close(skewed.run(posed), fused.run(posed), rtol=1e-10, atol=1e-10)


def test_gradients_equal_finite_differences(monkeypatch):
    monkeypatch.setattr(skewed, "QUERIES_AT_ONCE", 2)
    posed = problem(length=5, queries=5, rows=3, clip=True)
    inputs = [x.requires_grad_() for x in (posed.q, posed.k, posed.v, posed.relative.table)]

    def call(q, k, v, table):
        return skewed.run(Problem(q, k, v, 0.7, relative=Relative(table, True), causal=True))

    assert gradcheck(call, inputs, fast_mode=True)


def test_which_problems():
    assert not skewed.takes(problem(queries=1))
    assert not skewed.takes(problem(bias=torch.zeros(11)))
    assert not skewed.takes(problem(mask=torch.ones(11, dtype=torch.bool)))
    assert not skewed.takes(problem(dropout=0.5))
    assert not skewed.takes(Problem(*(torch.zeros(1, 1, 3, 2),) * 3, 1.0, causal=True))
