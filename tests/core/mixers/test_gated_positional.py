"""`gated_positional`: equal to loops and to timm's `GPSA`, a convolution at first, and what its gates say."""

import pytest
import torch
from timm.models.convit import GPSA
from tolerances import assert_close
from torch import nn

from attn.core import mixers
from attn.core.attention import reference
from attn.core.attention.attend import merge_heads, split_heads
from attn.core.attention.watch import record
from attn.core.blocks.convolution import initialise


def make(size, channels=16, heads=4, **options):
    torch.manual_seed(0)
    return mixers.create("gated_positional", dims=2, channels=channels, heads=heads, size=size, **options)


def drawn(mixer):
    for parameter in mixer.parameters():
        nn.init.normal_(parameter, std=0.4)
    return mixer


@pytest.mark.parametrize("size", [(3, 4), (1, 5), (4, 2)])
def test_equals_the_loops_forward_and_backward(size):
    mixer = drawn(make(size, channels=8, heads=2)).double()
    x = torch.randn(2, *size, 8, dtype=torch.float64, requires_grad=True)
    q, k, v = (split_heads(part.flatten(1, 2), 2) for part in mixer.qkv(x).chunk(3, -1))
    y = reference.gated_positional(q, k, v, mixer.gate, mixer.position, *size)
    expected, actual = mixer.out(merge_heads(y)).view(x.shape), mixer(x)
    assert_close(actual, expected)
    towards = torch.randn_like(x)
    inputs = (x, *mixer.parameters())
    ours = torch.autograd.grad((actual * towards).sum(), inputs)
    theirs = torch.autograd.grad((expected * towards).sum(), inputs)
    for a, b in zip(ours, theirs, strict=True):
        assert_close(a, b)


def timm_twin(mixer):
    """timm's operator with our weights."""
    c = mixer.config.channels
    twin = GPSA(c, num_heads=mixer.heads, qkv_bias=True)
    with torch.no_grad():
        for kind in ("weight", "bias"):
            getattr(twin.qk, kind).copy_(getattr(mixer.qkv, kind)[: 2 * c])
            getattr(twin.v, kind).copy_(getattr(mixer.qkv, kind)[2 * c :])
            getattr(twin.proj, kind).copy_(getattr(mixer.out, kind))
        twin.pos_proj.weight.copy_(mixer.position)
        twin.gating_param.copy_(mixer.gate)
    return twin


@pytest.mark.parametrize("side", [1, 4, 7])
def test_equals_timm_forward_and_backward(side):
    mixer = drawn(make((side, side))).double()
    twin = timm_twin(mixer).double()
    x = torch.randn(2, side, side, 16, dtype=torch.float64)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    actual, expected = mixer(ours), twin(theirs.flatten(1, 2)).view(x.shape)
    assert_close(actual, expected)
    towards = torch.randn_like(x)
    (actual * towards).sum().backward()
    (expected * towards).sum().backward()
    assert_close(ours.grad, theirs.grad)
    assert_close(mixer.gate.grad, twin.gating_param.grad)
    assert_close(mixer.position.grad, twin.pos_proj.weight.grad)
    assert_close(mixer.qkv.weight.grad[32:], twin.v.weight.grad)


@pytest.mark.parametrize("heads", [1, 4, 9, 16])
def test_begins_as_timm_begins(heads):
    """`local_init` for square grids of heads."""
    mixer = make((4, 4), channels=16 * heads, heads=heads, strength=1.5)
    twin = GPSA(16 * heads, num_heads=heads, locality_strength=1.5)
    twin.local_init()
    assert_close(mixer.position, twin.pos_proj.weight)
    assert_close(mixer.gate, twin.gating_param)
    assert_close(mixer.qkv.weight[32 * heads :], twin.v.weight)


@pytest.mark.parametrize("heads", [9, 6, 2])
def test_at_first_each_head_is_a_shift_by_one_offset(heads):
    mixer = make((5, 6), channels=2 * heads, heads=heads, strength=100.0)
    with torch.no_grad(), record(mixer) as seen:
        mixer.gate.fill_(50.0)
        mixer(torch.randn(1, 5, 6, 2 * heads))
    weights = seen[""].weights[0].view(heads, 5, 6, 5, 6)
    offsets = set()
    for head in weights[:, 2, 3]:
        assert head.max() > 1 - 1e-6
        y, x = divmod(int(head.argmax()), 6)
        offsets.add((y - 2, x - 3))
    assert len(offsets) == heads
    assert (0, 0) in offsets
    assert all(abs(dy) <= 1 and abs(dx) <= 1 for dy, dx in offsets)


def test_gates_decide_between_content_and_position():
    mixer, x = drawn(make((3, 3))), torch.randn(1, 3, 3, 16)
    plain = mixers.create("softmax", dims=2, channels=16, heads=4, size=(3, 3))
    plain.qkv, plain.out = mixer.qkv, mixer.out
    with torch.no_grad():
        mixer.gate.fill_(-50.0)
        assert_close(mixer(x), plain(x))
        mixer.gate.fill_(50.0)
        assert_close(mixer.gates, torch.ones(4))
        with record(mixer) as seen:
            mixer(x)
        before = seen[""].weights
        with record(mixer) as seen:
            mixer(torch.randn_like(x))
        assert_close(seen[""].weights, before)


def test_a_model_that_draws_its_layers_anew_keeps_the_start():
    block = nn.Sequential(nn.Linear(16, 16), make((4, 4)))
    initialise(block)
    assert_close(block[1].gates, torch.full((4,), 0.7310586))
    assert_close(block[1].qkv.weight[32:], torch.eye(16))


def test_a_strength_that_is_no_strength_is_refused():
    for strength in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(mixers.registry.UsageError, match="strength"):
            make((4, 4), strength=strength)
