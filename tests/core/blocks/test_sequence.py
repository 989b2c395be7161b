"""Sequence blocks: equal to PyTorch's layers with the same weights; steps equal the full pass; masks hold."""

import pytest
import torch
from tolerances import assert_close
from torch import nn

from attn.core import mixers
from attn.core.attention.watch import record
from attn.core.blocks.sequence import SequenceBlock
from attn.core.errors import UsageError


def make(name="relative", cross=None, dropout=0.0, **options):
    torch.manual_seed(0)
    mixer = mixers.create(name, dims=1, channels=8, heads=2, size=(12,), **options)
    block = SequenceBlock(mixer, 8, 20, dropout, cross)
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.4)
    return block


def draw(*shape):
    torch.manual_seed(1)
    return torch.randn(*shape)


def copy_attention(theirs, qkv_weight, qkv_bias, out):
    theirs.in_proj_weight.copy_(qkv_weight)
    theirs.in_proj_bias.copy_(qkv_bias)
    theirs.out_proj.weight.copy_(out.weight)
    theirs.out_proj.bias.copy_(out.bias)


def test_equals_torch_decoder_layer():
    block = make("softmax", cross=2, causal=True)
    theirs = nn.TransformerDecoderLayer(8, 2, 20, 0.0, "gelu", norm_first=True, batch_first=True)
    with torch.no_grad():
        copy_attention(theirs.self_attn, block.mixer.qkv.weight, block.mixer.qkv.bias, block.mixer.out)
        cross = block.cross
        weight, bias = torch.cat([cross.q.weight, cross.kv.weight]), torch.cat([cross.q.bias, cross.kv.bias])
        copy_attention(theirs.multihead_attn, weight, bias, cross.out)
        for ours, other in [
            (block.norm1, theirs.norm1),
            (block.norm_cross, theirs.norm2),
            (block.norm2, theirs.norm3),
            (block.mlp[0], theirs.linear1),
            (block.mlp[2], theirs.linear2),
        ]:
            other.load_state_dict(ours.state_dict())
    x, memory = draw(2, 9, 8), draw(2, 5, 8)
    known = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    future = torch.ones(9, 9, dtype=torch.bool).triu(1)
    expected = theirs(x, memory, tgt_mask=future, memory_key_padding_mask=~known)
    assert_close(block(x, memory_bmc=memory, memory_mask=known), expected)


NAMES = [("softmax", {"causal": True}), ("relative", {}), ("relative_local", {"block": 3}), ("relative_places", {})]


@pytest.mark.parametrize("cross", [None, 4])
@pytest.mark.parametrize(("name", "options"), NAMES)
def test_steps_equal_the_full_pass(name, options, cross):
    block = make(name, cross, **options).eval()
    x = draw(2, 14, 8)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    memory = {} if cross is None else {"memory_bmc": draw(2, 5, 8), "memory_mask": mask}
    where = torch.randint(0, 9, (2, 14, 2))
    with torch.no_grad():
        expected = block(x, **memory, coordinates=where)
        state = block.start(2, 14, *memory.values())
        parts = [block(x[:, :6], state, coordinates=where[:, :6])]
        parts += [block(x[:, i : i + 1], state, coordinates=where[:, i : i + 1]) for i in range(6, 14)]
    assert state.length == 14
    assert_close(torch.cat(parts, 1), expected)


def test_padding_of_the_memory_does_not_matter():
    block = make(cross=2)
    x, memory = draw(2, 9, 8), draw(2, 5, 8)
    padded = torch.cat([memory, torch.full((2, 5, 8), 1e3)], 1)
    known = torch.arange(10).expand(2, -1) < 5
    assert_close(block(x, memory_bmc=padded, memory_mask=known), block(x, memory_bmc=memory))


def test_sites_have_their_names():
    block = make(cross=2)
    with record(block) as seen:
        block(draw(2, 9, 8), memory_bmc=draw(2, 5, 8))
    assert {name: site.weights.shape for name, site in seen.items()} == {"mixer": (2, 2, 9, 9), "cross": (2, 2, 9, 5)}


def test_dropout_is_for_training_only_and_leaves_the_residual():
    block = make(dropout=0.999999)
    x = draw(2, 9, 8)
    assert torch.equal(block.train()(x), x)
    assert not torch.equal(block.eval()(x), x)


def test_a_mixer_that_cannot_step_says_so_at_the_start():
    with pytest.raises(UsageError, match="cannot decode step by step"):
        make("softmax").start(1, 4)
