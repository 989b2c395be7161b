"""`relative`: equal to timm's CoAtNet attention with carried-over weights, and its bias to a double loop."""

import pytest
import torch
from timm.layers import RelPosBias
from timm.layers.pos_embed_rel import resize_rel_pos_bias_table_simple
from timm.models.maxxvit import Attention2d
from tolerances import assert_close

from attn.core import mixers
from attn.core.attention import reference
from attn.core.attention.attend import attend, merge_heads, split_heads
from attn.core.attention.grid_bias import grid_bias, resize_table


def head_first(rows, heads):
    """Our order of rows (q, k, v; head; D) in timm's (head; q, k, v; D)."""
    return rows.unflatten(0, (3, heads, -1)).transpose(0, 1).flatten(0, 2)


def timm_twin(mixer, channels, heads, size):
    twin = Attention2d(
        channels, dim_head=channels // heads, rel_pos_cls=lambda **kw: RelPosBias(window_size=size, **kw)
    )
    with torch.no_grad():
        mixer.table.normal_()
        mixer.qkv.bias.normal_()
        twin.qkv.weight.copy_(head_first(mixer.qkv.weight, heads)[..., None, None])
        twin.qkv.bias.copy_(head_first(mixer.qkv.bias, heads))
        twin.proj.weight.copy_(mixer.out.weight[..., None, None])
        twin.proj.bias.copy_(mixer.out.bias)
        twin.rel_pos.relative_position_bias_table.copy_(mixer.table.flatten(1).T)
    return twin


@pytest.mark.parametrize("size", [(8, 8), (3, 5)])
def test_equals_timm_forward_and_backward(size):
    torch.manual_seed(0)
    mixer = mixers.create("relative", dims=2, channels=24, heads=3, size=size)
    twin = timm_twin(mixer, 24, 3, size)
    x = torch.randn(2, *size, 24)
    ours, theirs = x.clone().requires_grad_(), x.permute(0, 3, 1, 2).clone().requires_grad_()
    actual, expected = mixer(ours), twin(theirs).permute(0, 2, 3, 1)
    assert_close(actual, expected)

    towards = torch.randn_like(x)
    (actual * towards).sum().backward()
    (expected * towards).sum().backward()
    assert_close(ours.grad, theirs.grad.permute(0, 2, 3, 1))
    assert_close(head_first(mixer.qkv.weight.grad, 3), twin.qkv.weight.grad[..., 0, 0])
    assert_close(head_first(mixer.qkv.bias.grad, 3), twin.qkv.bias.grad)
    assert_close(mixer.out.weight.grad, twin.proj.weight.grad[..., 0, 0])
    assert_close(mixer.table.grad.flatten(1).T, twin.rel_pos.relative_position_bias_table.grad)


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (4, 1), (3, 3), (2, 5)])
def test_bias_equals_the_double_loop(size):
    table = torch.randn(2, 2 * size[0] - 1, 2 * size[1] - 1)
    assert torch.equal(grid_bias(table, size), reference.relative_bias(table, *size))


def test_the_formula_with_loops():
    torch.manual_seed(0)
    mixer = mixers.create("relative", dims=2, channels=8, heads=2, size=(3, 4)).double()
    x = torch.randn(2, 12, 8, dtype=torch.float64)
    q, k, v = (split_heads(part, 2) for part in mixer.qkv(x).chunk(3, -1))
    y = reference.attention(q, k, v, bias=reference.relative_bias(mixer.table, 3, 4))
    assert_close(mixer(x.view(2, 3, 4, 8)).flatten(1, 2), mixer.out(merge_heads(y)))


def test_table_of_the_same_size_is_used_as_it_is():
    table = torch.randn(2, 15, 13)
    assert resize_table(table, (8, 7)) is table


def test_resized_table_equals_timm():
    table = torch.randn(3, 15, 15)
    theirs = resize_rel_pos_bias_table_simple(table.flatten(1).T, (5, 9), (9 * 17, 3))
    assert_close(resize_table(table, (5, 9)).flatten(1).T, theirs)


def test_resizing_keeps_offset_zero_symmetry_and_smooth_tables():
    offsets = torch.linspace(-1, 1, 15)
    table = (offsets[:, None] ** 2 + offsets**2)[None]
    larger = resize_table(table, (16, 16))
    assert larger.shape == (1, 31, 31)
    assert larger.argmin() == 31 * 15 + 15
    assert_close(larger, larger.flip(1, 2))
    fine = torch.arange(-15, 16) * 15 / 31 / 7
    difference = (larger[0] - (fine[:, None] ** 2 + fine**2)).abs()
    assert difference[3:-3, 3:-3].max() < 0.03, "cubic convolution keeps a parabola to 2 %"


def test_at_another_size_it_attends_with_the_resized_table():
    torch.manual_seed(0)
    mixer = mixers.create("relative", dims=2, channels=8, heads=2, size=(3, 4))
    x = torch.randn(1, 5, 5, 8)
    q, k, v = (split_heads(part, 2) for part in mixer.qkv(x.flatten(1, 2)).chunk(3, -1))
    y = attend(q, k, v, bias=reference.relative_bias(resize_table(mixer.table, (5, 5)), 5, 5))
    assert_close(mixer(x), mixer.out(merge_heads(y)).view_as(x))
