"""`context_mixing`: equal to loops over places, its windows, and what a constant map gives."""

import pytest
import torch
from tolerances import assert_close
from torch import nn
from torch.nn import functional as F

from attn.core import mixers
from attn.core.attention import reference
from attn.core.attention.watch import record
from attn.core.errors import UsageError


def make(size=(8, 9), channels=8, **options):
    torch.manual_seed(0)
    mixer = mixers.create("context_mixing", dims=2, channels=channels, heads=2, size=size, **options).double()
    for parameter in mixer.parameters():
        nn.init.normal_(parameter, std=0.4)
    return mixer


def by_loops(mixer, x):
    """From the paper's equations, a place at a time."""
    config, (_, height, width, _) = mixer.config, x.shape
    means = F.adaptive_avg_pool2d(x.permute(0, 3, 1, 2), config.regions).flatten(2).mT
    keys, values = mixer.k(means), mixer.v(x)
    d = config.channels // 2 // config.heads
    mixed = torch.zeros_like(values)
    for y in range(height):
        for z in range(width):
            q = mixer.q(x[:, y, z])
            for head in range(config.heads):
                own = slice(head * d, (head + 1) * d)
                products = (q[:, None, own] * keys[..., own]).sum(-1) / (config.channels / config.heads) ** 0.5
                logits = mixer.kernels(products)
                for part, side, first in ((mixer.near, config.near, 0), (mixer.wide, config.wide, config.near**2)):
                    rows = reference.neighborhood_window(y, height, side, 1)
                    columns = reference.neighborhood_window(z, width, side, 1)
                    terms, seen = [], []
                    for n, (ky, kz) in enumerate((ky, kz) for ky in rows for kz in columns):
                        terms.append(logits[:, first + n] + part.table[head, ky - y + side - 1, kz - z + side - 1])
                        offset = 0 if part is mixer.near else config.channels // 2
                        seen.append(values[:, ky, kz, offset + head * d : offset + (head + 1) * d])
                    weights = torch.stack(terms, -1).softmax(-1)
                    where = slice(offset + head * d, offset + (head + 1) * d)
                    mixed[:, y, z, where] = (weights[..., None] * torch.stack(seen, 1)).sum(1)
    return mixer.out(mixed)


@pytest.mark.parametrize(("size", "options"), [((8, 9), {}), ((6, 5), {"near": 2, "wide": 4, "regions": 3})])
def test_equals_the_loops_forward_and_backward(size, options):
    mixer = make(size, **options)
    x = torch.randn(2, *size, 8, dtype=torch.float64, requires_grad=True)
    actual, expected = mixer(x), by_loops(mixer, x)
    assert_close(actual, expected)
    inputs = (x, *mixer.parameters())
    ours = torch.autograd.grad(actual.square().sum(), inputs)
    theirs = torch.autograd.grad(expected.square().sum(), inputs)
    for a, b in zip(ours, theirs, strict=True):
        assert_close(a, b)


@pytest.mark.parametrize("size", [(1, 1), (3, 9), (8, 8), (20, 11)])
def test_a_constant_map_stays_constant(size):
    mixer = make()
    y = mixer(torch.randn(2, 1, 1, 8, dtype=torch.float64).expand(-1, *size, -1))
    assert_close(y, y[:, :1, :1].expand_as(y))


def test_every_place_gives_its_weights_to_exactly_its_windows():
    mixer = make()
    with record(mixer) as seen:
        mixer(torch.randn(1, 8, 9, 8, dtype=torch.float64))
    for name, side in (("near", 5), ("wide", 7)):
        weights = seen[name].dense(72)
        assert_close(weights.sum(-1), torch.ones(1, 2, 72, dtype=torch.float64))
        for token in range(72):
            window = [
                y * 9 + x
                for y in reference.neighborhood_window(token // 9, 8, side, 1)
                for x in reference.neighborhood_window(token % 9, 9, side, 1)
            ]
            assert (weights[0, 0, token] > 0).nonzero()[:, 0].tolist() == window


def test_heads_that_do_not_divide_a_half_are_refused():
    with pytest.raises(UsageError, match="6 channels cannot be split into 2 halves of 2 heads"):
        make(channels=6)
