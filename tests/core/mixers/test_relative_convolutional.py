"""`relative_convolutional`: equal to loops, Transformer-XL's attention where the convolution does nothing."""

import pytest
import torch
from tolerances import assert_close
from torch import nn

from attn.core import mixers
from attn.core.attention import reference
from attn.core.attention.attend import merge_heads, split_heads


def make(**options):
    torch.manual_seed(0)
    return mixers.create("relative_convolutional", dims=1, channels=8, heads=2, size=(9,), causal=True, **options)


def drawn(mixer):
    for parameter in mixer.parameters():
        nn.init.normal_(parameter, std=0.4)
    return mixer.double()


def heads_of(mixer, x):
    return [split_heads(part, 2) for part in mixer.qkv(x).chunk(3, -1)]


@pytest.mark.parametrize("rows", [3, 9])
def test_equals_the_loops_forward_and_backward(rows):
    mixer = drawn(make(max_distance=rows))
    x = torch.randn(2, 9, 8, dtype=torch.float64, requires_grad=True)
    table = mixer.table
    y = reference.relative_convolutional(
        *heads_of(mixer, x), mixer.taps, mixer.content, table[..., :-1], table[..., -1]
    )
    expected, actual = mixer.out(merge_heads(y)), mixer(x)
    assert_close(actual, expected)
    inputs = (x, *mixer.parameters())
    ours = torch.autograd.grad(actual.square().sum(), inputs)
    theirs = torch.autograd.grad(expected.square().sum(), inputs)
    for a, b in zip(ours, theirs, strict=True):
        assert_close(a, b)


def test_begins_as_plain_attention():
    mixer = make()
    plain = mixers.create("softmax", dims=1, channels=8, heads=2, size=(9,), causal=True)
    plain.qkv, plain.out = mixer.qkv, mixer.out
    x = torch.randn(2, 9, 8)
    assert_close(mixer(x), plain(x))


def test_taps_that_pass_tokens_on_are_the_attention_of_transformer_xl():
    """Dai et al. 2019, section 3.3: (q + u) k + (q + v) r, where v r is a number for each distance."""
    mixer = drawn(make())
    with torch.no_grad():
        mixer.taps.zero_()
        mixer.taps[..., -1] = 1
        v = torch.randn(2, 4, dtype=torch.float64)
        mixer.table[..., -1] = (mixer.table[..., :-1] * v[:, None]).sum(-1)
    x = torch.randn(1, 9, 8, dtype=torch.float64)
    q, k, values = heads_of(mixer, x)
    logits = torch.full((1, 2, 9, 9), -torch.inf, dtype=torch.float64)
    for i in range(9):
        for j in range(i + 1):
            r = mixer.table[:, 8 - (i - j), :-1]
            logits[:, :, i, j] = ((q[:, :, i] + mixer.content) * k[:, :, j] + (q[:, :, i] + v) * r).sum(-1) / 2
    assert_close(mixer(x), mixer.out(merge_heads(logits.softmax(-1) @ values)))


def test_a_token_changes_no_output_before_it():
    mixer, x = drawn(make()), torch.randn(1, 9, 8, dtype=torch.float64)
    later = x.clone()
    later[:, 5] += 1
    assert torch.equal(mixer(later)[:, :5], mixer(x)[:, :5])
    assert not torch.isclose(mixer(later)[:, 5:], mixer(x)[:, 5:]).all(-1).any()
