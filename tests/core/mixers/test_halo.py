"""`halo`: masked equal to loops, unmasked equal to timm's `HaloAttn`, and its limits to plain attention."""

import pytest
import torch
from timm.layers.halo_attn import HaloAttn
from tolerances import assert_close
from torch import nn

from attn.core import mixers
from attn.core.attention import reference
from attn.core.attention.attend import merge_heads, split_heads


def make(size, channels=16, heads=2, **options):
    torch.manual_seed(0)
    return mixers.create("halo", dims=2, channels=channels, heads=heads, size=size, **options)


def with_loops(mixer, x):
    config = mixer.config
    q, k, v = (split_heads(part, config.heads) for part in mixer.qkv(x).chunk(3, -1))
    y = reference.halo(q, k, v, mixer.rows, mixer.columns, config.block, config.halo, config.masked)
    return mixer.out(merge_heads(y))


@pytest.mark.parametrize(
    ("size", "block", "halo", "masked"),
    [
        ((4, 6), 2, 1, True),
        ((4, 6), 2, 1, False),
        ((4, 4), 2, 3, True),
        ((4, 4), 2, 3, False),
        ((5, 7), 3, 1, True),
        ((3, 5), 2, 0, True),
        ((2, 5), 4, 1, True),
    ],
)
def test_equals_the_loops_forward_and_backward(size, block, halo, masked):
    mixer = make(size, channels=8, block=block, halo=halo, masked=masked).double()
    x = torch.randn(2, *size, 8, dtype=torch.float64, requires_grad=True)
    actual, expected = mixer(x), with_loops(mixer, x)
    assert_close(actual, expected)
    towards = torch.randn_like(x)
    inputs = (x, *mixer.parameters())
    ours = torch.autograd.grad((actual * towards).sum(), inputs)
    theirs = torch.autograd.grad((expected * towards).sum(), inputs)
    for a, b in zip(ours, theirs, strict=True):
        assert_close(a, b)


def timm_twin(mixer):
    """timm's operator with our weights; its kv come head by head, its tables start with 2h unused rows."""
    config = mixer.config
    c, heads = config.channels, config.heads
    twin = HaloAttn(c, num_heads=heads, block_size=config.block, halo_size=config.halo, qkv_bias=True)
    with torch.no_grad():
        for kind in ("weight", "bias"):
            q, k, v = getattr(mixer.qkv, kind).chunk(3)
            kv = torch.stack([k.unflatten(0, (heads, -1)), v.unflatten(0, (heads, -1))], 1).flatten(0, 2)
            getattr(twin.q, kind).copy_(q.view_as(getattr(twin.q, kind)))
            getattr(twin.kv, kind).copy_(kv.view_as(getattr(twin.kv, kind)))
        twin.pos_embed.height_rel[2 * config.halo :] = mixer.rows
        twin.pos_embed.width_rel[2 * config.halo :] = mixer.columns
    return twin


@pytest.mark.parametrize(("size", "block", "halo"), [((16, 8), 8, 3), ((8, 12), 4, 1), ((6, 6), 3, 2)])
def test_unmasked_equals_timm_forward_and_backward(size, block, halo):
    mixer = make(size, block=block, halo=halo, masked=False)
    nn.init.normal_(mixer.qkv.bias)
    mixer.out = nn.Identity()
    twin = timm_twin(mixer)
    x = torch.randn(2, *size, 16)
    ours, theirs = x.clone().requires_grad_(), x.permute(0, 3, 1, 2).clone().requires_grad_()
    actual, expected = mixer(ours), twin(theirs).permute(0, 2, 3, 1)
    assert_close(actual, expected)

    towards = torch.randn_like(x)
    (actual * towards).sum().backward()
    (expected * towards).sum().backward()
    assert_close(ours.grad, theirs.grad.permute(0, 2, 3, 1))
    assert_close(mixer.qkv.weight.grad[:16], twin.q.weight.grad[..., 0, 0])
    assert_close(mixer.rows.grad, twin.pos_embed.height_rel.grad[2 * halo :])
    assert_close(mixer.columns.grad, twin.pos_embed.width_rel.grad[2 * halo :])
    assert (twin.pos_embed.height_rel.grad[: 2 * halo] == 0).all(), "the rows we leave out are never used"


def test_masked_equals_timm_inside_and_differs_at_the_border():
    mixer = make((24, 24), block=8, halo=3)
    mixer.out = nn.Identity()
    x = torch.randn(1, 24, 24, 16)
    difference = (mixer(x) - timm_twin(mixer)(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)).abs()
    assert difference[:, 8:16, 8:16].max() < 1e-5
    assert difference.max() > 1e-2


def test_without_halo_windows_do_not_see_each_other():
    mixer = make((4, 8), block=4, halo=0)
    x = torch.randn(1, 4, 8, 16)
    halves = torch.cat([mixer(x[:, :, :4]), mixer(x[:, :, 4:])], 2)
    assert_close(mixer(x), halves)


@pytest.mark.parametrize("block", [5, 8])
def test_a_block_as_large_as_the_map_is_global_attention(block):
    mixer = make((5, 5), block=block, halo=0)
    nn.init.zeros_(mixer.rows)
    nn.init.zeros_(mixer.columns)
    plain = mixers.create("softmax", dims=2, channels=16, heads=2, size=(5, 5))
    plain.qkv, plain.out = mixer.qkv, mixer.out
    x = torch.randn(2, 5, 5, 16)
    assert_close(mixer(x), plain(x))


def test_the_halo_of_a_single_masked_block_changes_nothing():
    x = torch.randn(1, 4, 4, 16)
    near, far = make((4, 4), block=4, halo=1), make((4, 4), block=4, halo=3)
    far.load_state_dict(near.state_dict() | {"rows": torch.randn(13, 8), "columns": torch.randn(13, 8)})
    with torch.no_grad():
        far.rows[2:-2] = near.rows
        far.columns[2:-2] = near.columns
    assert_close(near(x), far(x))


def test_a_query_reaches_its_window_and_no_further():
    mixer = make((9, 9), block=3, halo=1)
    x = torch.randn(1, 9, 9, 16, requires_grad=True)
    mixer(x)[0, 4, 4].sum().backward()
    reached = x.grad[0].abs().sum(-1) > 0
    expected = torch.zeros(9, 9, dtype=torch.bool)
    expected[2:7, 2:7] = True
    assert torch.equal(reached, expected)
