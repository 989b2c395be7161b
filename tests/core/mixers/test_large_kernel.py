"""`large_kernel`: equal to loops over taps, its reach, and what a step keeps."""

import torch
from tolerances import assert_close
from torch import nn
from torch.nn import functional as F

from attn.core import mixers


def make(dims, channels=4, **options):
    torch.manual_seed(0)
    mixer = mixers.create("large_kernel", dims=dims, channels=channels, heads=2, size=(25,) * dims, **options).double()
    for parameter in mixer.parameters():
        nn.init.normal_(parameter, std=0.4)
    return mixer


def taps(x, conv, size, dilation, first):
    """A depthwise convolution, tap by tap; `first` is the offset of tap 0 and zeros lie beyond the border."""
    out = torch.zeros_like(x) + conv.bias
    for tap in torch.cartesian_prod(*[torch.arange(size)] * (x.dim() - 2)).view(-1, x.dim() - 2).tolist():
        shifted = x
        for axis, n in enumerate(tap, 1):
            offset = first + n * dilation
            index = torch.arange(x.shape[axis]) + offset
            inside = ((index >= 0) & (index < x.shape[axis])).double()
            moved = shifted.index_select(axis, index.clamp(0, x.shape[axis] - 1))
            shifted = moved * inside.view(-1, *(1,) * (x.dim() - 1 - axis))
        out = out + shifted * conv.weight[(slice(None), 0, *tap)]
    return out


def check(dims, size, first):
    mixer = make(dims)
    x = torch.randn(2, *size, 4, dtype=torch.float64, requires_grad=True)
    u = F.gelu(mixer.before(x))
    wide = taps(taps(u, mixer.near, 5, 1, first[0]), mixer.wide, 7, 3, first[1])
    expected, actual = mixer.out(u * mixer.gate(wide)) + x, mixer(x)
    assert_close(actual, expected)
    inputs = (x, *mixer.parameters())
    ours = torch.autograd.grad(actual.square().sum(), inputs)
    theirs = torch.autograd.grad(expected.square().sum(), inputs)
    for a, b in zip(ours, theirs, strict=True):
        assert_close(a, b)


def test_a_map_equals_the_loops_forward_and_backward():
    check(2, (6, 11), (-2, -9))
    check(2, (1, 3), (-2, -9))


def test_a_sequence_equals_the_loops_forward_and_backward():
    check(1, (30,), (-4, -18))


def reached(mixer, size, token):
    x = torch.randn(1, *size, 4, dtype=torch.float64, requires_grad=True)
    mixer(x)[(0, *token)].sum().backward()
    return x.grad[0].abs().sum(-1) > 0


def test_a_token_is_gated_by_23_x_23_tokens():
    expected = torch.zeros(31, 31, dtype=torch.bool)
    expected[15 - 11 : 15 + 12, 15 - 11 : 15 + 12] = True
    assert torch.equal(reached(make(2), (31, 31), (15, 15)), expected)


def test_a_token_is_gated_by_the_23_newest():
    expected = torch.zeros(40, dtype=torch.bool)
    expected[30 - 22 : 31] = True
    assert torch.equal(reached(make(1), (40,), (30,)), expected)


def test_inside_a_map_a_shift_of_the_input_shifts_the_output():
    mixer, x = make(2), torch.zeros(1, 36, 36, 4, dtype=torch.float64)
    x[:, 17:20, 17:20] = torch.randn(3, 3, 4)
    moved = x.roll((1, 2), (1, 2))
    assert_close(mixer(moved)[:, 15:21, 15:21], mixer(x)[:, 14:20, 13:19])


def test_what_a_step_keeps_does_not_grow():
    mixer = make(1)
    cache = mixer.start(2, 1)
    kept = []
    for _ in range(60):
        mixer(torch.randn(2, 1, 4, dtype=torch.float64), cache)
        kept.append({name: x.shape[-1] for name, x in cache._kept.items()})
    assert all(each == {"near": 4, "wide": 18} for each in kept)
    assert cache.length == 60


def test_a_wider_output_has_no_shortcut():
    mixer = make(2, channels=8, channels_in=6)
    with torch.no_grad():
        mixer.out.weight.zero_()
        mixer.out.bias.zero_()
    assert (mixer(torch.randn(1, 3, 3, 6, dtype=torch.float64)) == 0).all()
