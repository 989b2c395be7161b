"""`softmax`: equal to `torch.nn.MultiheadAttention` with the same weights, forward and backward."""

import pytest
import torch
from tolerances import assert_close
from torch import nn

from attn.core import mixers


def torch_twin(mixer, channels, heads):
    twin = nn.MultiheadAttention(channels, heads, batch_first=True)
    with torch.no_grad():
        twin.in_proj_weight.copy_(mixer.qkv.weight)
        twin.in_proj_bias.copy_(mixer.qkv.bias.normal_())
        twin.out_proj.weight.copy_(mixer.out.weight)
        twin.out_proj.bias.copy_(mixer.out.bias)
    return twin


@pytest.mark.parametrize("causal", [False, True])
def test_equals_torch_multihead_attention(causal):
    torch.manual_seed(0)
    mixer = mixers.create("softmax", dims=1, channels=12, heads=3, size=(9,), causal=causal)
    twin = torch_twin(mixer, 12, 3)
    x = torch.randn(2, 9, 12)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    future = torch.ones(9, 9, dtype=torch.bool).triu(1) if causal else None
    expected, _ = twin(theirs, theirs, theirs, attn_mask=future, need_weights=False)
    actual = mixer(ours)
    assert_close(actual, expected)

    towards = torch.randn_like(x)
    (actual * towards).sum().backward()
    (expected * towards).sum().backward()
    assert_close(ours.grad, theirs.grad)
    assert_close(mixer.qkv.weight.grad, twin.in_proj_weight.grad)
    assert_close(mixer.qkv.bias.grad, twin.in_proj_bias.grad)


def test_causal_is_blind_to_the_future():
    mixer = mixers.create("softmax", dims=1, channels=8, heads=2, size=(6,), causal=True)
    x = torch.randn(1, 6, 8)
    later = x.clone()
    later[:, 4:] += 1
    assert_close(mixer(later)[:, :4], mixer(x)[:, :4])
    assert not torch.allclose(mixer(later)[:, 4], mixer(x)[:, 4])


def test_a_grid_is_a_sequence_in_raster_order():
    torch.manual_seed(0)
    on_grid = mixers.create("softmax", dims=2, channels=8, heads=2, size=(3, 5))
    in_line = mixers.create("softmax", dims=1, channels=8, heads=2, size=(15,))
    in_line.load_state_dict(on_grid.state_dict())
    x = torch.randn(2, 3, 5, 8)
    assert_close(on_grid(x).flatten(1, 2), in_line(x.flatten(1, 2)))
