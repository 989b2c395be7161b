"""`hyper_zzw`: the operator in closed form and in loops, gradients of the slow net, and maps that are no squares."""

import torch
from tolerances import assert_close
from torch import nn

from attn.core import mixers
from attn.core.mixers.hyper_zzw import hyper_zzw


def make():
    torch.manual_seed(0)
    return mixers.create("hyper_zzw", dims=2, channels=4, heads=2, size=(5, 5)).double()


def maps():
    torch.manual_seed(1)
    x, z = torch.randn(2, 2, 5, 5, 3, dtype=torch.float64)
    return x, torch.randn(5, 5, 3, dtype=torch.float64), z


def test_a_kernel_of_ones_gives_the_product():
    x, kernel, z = maps()
    expected = torch.stack([x[..., c] @ z[..., c] for c in range(3)], -1)
    assert_close(hyper_zzw(x, torch.ones_like(kernel), z), expected)


def test_a_map_of_ones_gives_the_kernel_times_z():
    x, kernel, z = maps()
    expected = torch.stack([kernel[..., c] @ z[..., c] for c in range(3)], -1)
    assert_close(hyper_zzw(torch.ones_like(x), kernel, z), expected)


def test_an_identity_scales_each_row_of_z_by_the_diagonal():
    _, kernel, z = maps()
    x = torch.eye(5, dtype=torch.float64)[None, :, :, None].expand(2, -1, -1, 3)
    assert_close(hyper_zzw(x, kernel, z), kernel.diagonal().T[None, :, None] * z)


def test_equals_loops():
    mixer = make()
    nn.init.normal_(mixer.kernel.bias)
    x = torch.randn(2, 5, 5, 4, dtype=torch.float64)
    kernel, context, fast = mixer.kernel_of(5), mixer.context(x), mixer.fast(x)
    y = torch.zeros_like(context)
    for row in range(5):
        for column in range(5):
            for n in range(5):
                y[:, row, column] += context[:, row, n] * kernel[row, n] * fast[:, n, column] / 5
    assert_close(mixer(x), mixer.out(y))


def test_gradients_reach_the_slow_net_and_are_finite_at_any_size():
    for size in ((1, 1), (5, 5), (3, 8), (64, 64)):
        mixer = make()
        mixer(torch.randn(1, *size, 4, dtype=torch.float64)).square().mean().backward()
        for parameter in mixer.slow.parameters():
            assert parameter.grad.isfinite().all()
        assert mixer.slow[1].bias.grad.abs().sum() > 0


def test_a_map_that_is_no_square_is_one_filled_up_with_zeros():
    mixer, x = make(), torch.randn(1, 3, 5, 4, dtype=torch.float64)
    with torch.no_grad():
        mixer.context.bias.zero_()
        mixer.fast.bias.zero_()
    square = torch.zeros(1, 5, 5, 4, dtype=torch.float64)
    square[:, :3] = x
    assert_close(mixer(x), mixer(square)[:, :3])


def test_says_itself_that_it_is_experimental():
    info = next(info for info in mixers.available() if info.name == "hyper_zzw")
    assert info.experimental
