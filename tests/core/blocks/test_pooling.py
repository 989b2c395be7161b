"""Efficient probing: equal to loops, pooling by one query and by the mean as its limits, and few parameters."""

import pytest
import torch
from tolerances import assert_close
from torch import nn

from attn.core.attention.watch import record
from attn.core.blocks.pooling import EfficientProbing
from attn.core.errors import UsageError


def make(queries=4, reduction=1, channels=16):
    torch.manual_seed(0)
    pooling = EfficientProbing(channels, queries, reduction).double()
    nn.init.normal_(pooling.queries)
    return pooling


@pytest.mark.parametrize(("queries", "reduction"), [(4, 1), (2, 4), (1, 1), (16, 1)])
def test_equals_the_loops_forward_and_backward(queries, reduction):
    pooling = make(queries, reduction)
    x = torch.randn(3, 7, 16, dtype=torch.float64, requires_grad=True)
    parts, size = [], 16 // reduction // queries
    for j in range(queries):
        scores = torch.stack([(pooling.queries[j] * x[:, n]).sum(-1) / 16**0.5 for n in range(7)], -1)
        weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
        values = x @ pooling.value.weight[j * size : (j + 1) * size].T
        parts.append(sum(weights[:, n, None] * values[:, n] for n in range(7)))
    expected, actual = torch.cat(parts, -1), pooling(x)
    assert_close(actual, expected)
    inputs = (x, *pooling.parameters())
    ours = torch.autograd.grad(actual.square().sum(), inputs)
    theirs = torch.autograd.grad(expected.square().sum(), inputs)
    for a, b in zip(ours, theirs, strict=True):
        assert_close(a, b)


def test_one_query_and_no_projection_is_pooling_by_one_query():
    pooling, x = make(queries=1), torch.randn(2, 5, 16, dtype=torch.float64)
    nn.init.eye_(pooling.value.weight)
    weights = (x @ pooling.queries[0] / 4).softmax(-1)
    assert_close(pooling(x), (weights[..., None] * x).sum(1))


def test_queries_of_zero_pool_by_the_mean():
    pooling, x = make(), torch.randn(2, 5, 16, dtype=torch.float64)
    nn.init.zeros_(pooling.queries)
    assert_close(pooling(x), pooling.value(x).mean(1))


def test_the_paper_s_count_of_parameters_and_fewer_than_multi_head_probing():
    count = {
        name: sum(p.numel() for p in module.parameters())
        for name, module in (("ep", EfficientProbing(768)), ("mha", nn.MultiheadAttention(768, 12)))
    }
    assert count["ep"] == 614_400
    assert count["ep"] < count["mha"] / 3


def test_every_query_shows_its_weights():
    pooling, x = make(), torch.randn(2, 5, 16, dtype=torch.float64)
    with record(pooling) as seen:
        pooling(x)
    assert seen[""].weights.shape == (2, 4, 1, 5)
    assert_close(seen[""].weights.sum(-1), torch.ones(2, 4, 1, dtype=torch.float64))


def test_bfloat16_and_one_token():
    pooling, x = make(), torch.randn(2, 5, 16, dtype=torch.float64)
    expected = pooling(x)
    assert_close(pooling.bfloat16()(x.bfloat16()), expected.bfloat16())
    pooling = pooling.double()
    assert_close(pooling(x[:, :1]), pooling.value(x[:, 0]))


@pytest.mark.parametrize(("queries", "reduction"), [(3, 1), (4, 3), (4, 8)])
def test_slices_that_do_not_divide_are_refused(queries, reduction):
    with pytest.raises(UsageError, match="channels cannot be split into"):
        EfficientProbing(16, queries, reduction)
