"""`dual`: equal to timm's two attentions, and to loops over channels."""

import pytest
import torch
from timm.models.davit import ChannelAttention, ChannelAttentionV2, WindowAttention, window_partition, window_reverse
from tolerances import assert_close
from torch import nn

from attn.core import mixers
from attn.core.attention.attend import merge_heads, split_heads
from attn.core.attention.watch import record


def make(size, channels=16, heads=2, **options):
    torch.manual_seed(0)
    mixer = mixers.create("dual", dims=len(size), channels=channels, heads=heads, size=size, **options).double()
    for parameter in mixer.parameters():
        nn.init.normal_(parameter, std=0.4)
    return mixer


def twin_of(mixer, twin):
    """timm's operator with our weights."""
    ours = {
        f"{theirs}.{kind}": getattr(getattr(mixer, our), kind)
        for our, theirs in (("qkv", "qkv"), ("out", "proj"))
        for kind in ("weight", "bias")
    }
    twin = twin.double()
    twin.load_state_dict(ours)
    return twin


@pytest.mark.parametrize(("version", "kind"), [(1, ChannelAttention), (2, ChannelAttentionV2)])
@pytest.mark.parametrize("length", [1, 2, 11])
def test_the_channel_part_equals_timm(version, kind, length):
    mixer = make((length,), version=version)
    twin = twin_of(mixer, kind(16, 2, qkv_bias=True))
    x = torch.randn(3, length, 16, dtype=torch.float64)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    actual, expected = mixer(ours), twin(theirs)
    assert_close(actual, expected)
    actual.square().sum().backward()
    expected.square().sum().backward()
    assert_close(ours.grad, theirs.grad)
    assert_close(mixer.qkv.weight.grad, twin.qkv.weight.grad)


def test_the_window_part_equals_timm_where_windows_fit():
    mixer = make((6, 9), part="window", window=3)
    twin = twin_of(mixer.window, WindowAttention(16, (3, 3), 2))
    x = torch.randn(2, 6, 9, 16, dtype=torch.float64)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    windows = window_partition(theirs, (3, 3)).flatten(1, 2)
    actual, expected = mixer(ours), window_reverse(twin(windows).view(-1, 3, 3, 16), (3, 3), 6, 9)
    assert_close(actual, expected)
    actual.square().sum().backward()
    expected.square().sum().backward()
    assert_close(ours.grad, theirs.grad)
    assert_close(mixer.window.qkv.weight.grad, twin.qkv.weight.grad)


def test_windows_at_the_end_are_smaller():
    """The last window of 5 x 7 tokens, cut by 3, is 2 x 1."""
    mixer = make((5, 7), part="window", window=3)
    x = torch.randn(1, 5, 7, 16, dtype=torch.float64)
    assert_close(mixer(x)[:, 3:, 6:], mixer(x[:, 3:, 6:]))
    assert_close(mixer(x)[:, :3, 3:6], mixer(x[:, :3, 3:6]))


def test_both_is_the_sum_of_the_parts():
    both, x = make((5, 4), window=2), torch.randn(2, 5, 4, 16, dtype=torch.float64)
    assert_close(both(x), both.window(x) + both.channel(x))


def test_the_channel_part_equals_loops_over_channels():
    mixer, x = make((5,)), torch.randn(2, 5, 16, dtype=torch.float64)
    q, k, v = (split_heads(part, 2) for part in mixer.qkv(x).chunk(3, -1))
    y = torch.zeros_like(q)
    for c in range(8):
        logits = torch.stack([(k[..., c] * v[..., d]).sum(-1) / 8**0.5 for d in range(8)], -1)
        weights = logits.exp() / logits.exp().sum(-1, keepdim=True)
        for d in range(8):
            y[..., c] += weights[..., d, None] * q[..., d]
    assert_close(mixer(x), mixer.out(merge_heads(y)))


def test_the_order_of_tokens_plays_no_part_for_channels():
    mixer, x = make((7,)), torch.randn(2, 7, 16, dtype=torch.float64)
    order = torch.randperm(7)
    assert_close(mixer(x[:, order]), mixer(x)[:, order])


def test_what_channels_attend_over_is_said():
    mixer, x = make((4, 4), window=2), torch.randn(2, 4, 4, 16, dtype=torch.float64)
    with record(mixer) as seen:
        mixer(x)
    assert seen["channel"].over == "channels"
    assert seen["channel"].weights.shape == (2, 2, 8, 8)
    assert seen["window"].over == "tokens"
    assert ((seen["window"].dense(16) > 0).sum(-1) == 4).all()
