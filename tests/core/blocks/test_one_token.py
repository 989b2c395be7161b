"""The short cut for one token: taken where it is right, and equal to the block; else the block itself."""

import pytest
import torch
from tolerances import assert_close
from torch import nn

from attn.core import mixers
from attn.core.attention.watch import intervene, record
from attn.core.blocks.one_token import TokenStep
from attn.core.blocks.sequence import SequenceBlock
from attn.core.mixers.projections import ProjectedMixer
from attn.core.mixers.softmax import SoftmaxMixer


def block_of(mixer=None, dropout=0.0):
    torch.manual_seed(0)
    if mixer is None:
        mixer = mixers.create("relative", dims=1, channels=8, heads=2, size=(12,))
    block = SequenceBlock(mixer, 8, 20, dropout).eval()
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.4)
    return block


def draw(length=7):
    torch.manual_seed(1)
    return torch.randn(2, length, 8)


def stepped(block, x):
    past = block.start(2, x.shape[1])
    with torch.no_grad():
        return past, torch.cat([block(x_b1c, past) for x_b1c in x.split(1, 1)], 1)


@pytest.fixture
def taken(monkeypatch):
    """How often the short cut was taken."""
    calls, whole = [], TokenStep.__call__
    monkeypatch.setattr(TokenStep, "__call__", lambda self, x: calls.append(1) or whole(self, x))
    return calls


@pytest.mark.parametrize("mixer", ["softmax", "relative:clip=true", "relative_local:block=3"])
def test_taken_where_the_class_declares_it(mixer, taken):
    block, x = block_of(mixers.create(mixer, dims=1, causal=True, channels=8, heads=2, size=(4,))), draw()
    assert_close(stepped(block, x)[1], block(x))
    assert len(taken) == 7


class ScaledQueries(SoftmaxMixer):
    """A mechanism that changes its queries, as SSA does; it declares no short cut."""

    def project(self, x, past=None):
        q, k, v = super().project(x, past)
        return 3 * q, k, v


def test_a_subclass_that_scales_its_queries_decodes_rightly(taken):
    block, x = block_of(ScaledQueries(SoftmaxMixer.Config(channels=8, heads=2, causal=True))), draw()
    assert_close(stepped(block, x)[1], block(x))
    assert not taken


def test_a_mixer_whose_projection_was_replaced_decodes_rightly(taken):
    block, x = block_of(), draw()
    project = block.mixer.project
    block.mixer.project = lambda x, past=None: (3 * project(x)[0], *project(x)[1:])
    assert_close(stepped(block, x)[1], block(x))
    assert not taken


class WithoutBias(SoftmaxMixer):
    """Declares the short cut again, and has a `qkv` without bias."""

    one_token = SoftmaxMixer.one_token

    def __init__(self, config):
        ProjectedMixer.__init__(self, config, bias=False)
        self.causal = True


def test_projections_without_bias(taken):
    block, x = block_of(WithoutBias(SoftmaxMixer.Config(channels=8, heads=2, causal=True))), draw()
    block.norm1.bias = None
    block.mlp[0].bias = None
    assert_close(stepped(block, x)[1], block(x))
    assert len(taken) == 7


def test_parts_of_another_kind_decode_rightly():
    block, x = block_of(), draw()
    block.norm2 = nn.RMSNorm(8)
    assert_close(stepped(block, x)[1], block(x))
    block = block_of()
    block.mlp = nn.Sequential(nn.Linear(8, 20), nn.Linear(20, 8))
    assert_close(stepped(block, x)[1], block(x))


def test_dropout_is_drawn_in_training_without_gradients(taken):
    block, x = block_of(dropout=0.5).train(), draw(1)
    outs = [stepped(block, x)[1] for _ in range(2)]
    assert not torch.equal(*outs)
    assert not taken


def test_hooks_fire_in_every_step_on_every_module(taken):
    block, x = block_of(), draw()
    names = {name: 0 for name, _ in block.named_modules()}

    def count(name):
        def hook(*_):
            names[name] += 1

        return hook

    for name, module in block.named_modules():
        module.register_forward_hook(count(name))
    stepped(block, x)
    assert names.pop("dropout") == 2 * 7, "of both branches"
    assert set(names.values()) == {7}, names
    assert not taken


def test_a_hook_on_all_modules_sees_every_step():
    block, x, seen = block_of(), draw(), []
    with torch.nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(type(module).__name__)):
        stepped(block, x)
    assert seen.count("RelativeMixer") == 7


@pytest.mark.parametrize("part", ["block", "mixer"])
def test_who_watches_the_block_or_its_mixer_alone_sees_every_step(part, taken):
    block, x = block_of(), draw()
    watched, name = (block, "mixer") if part == "block" else (block.mixer, "")
    with record(watched) as seen:
        stepped(block, x)
    assert seen[name].passes == 7
    assert not taken


def test_outputs_are_recorded_and_changed_in_steps():
    block, x = block_of(), draw()
    with torch.no_grad(), record(block, (), outputs="*") as whole:
        expected = block(x)
    with record(block, (), outputs="*") as seen:
        stepped(block, x)
    assert seen.outputs.keys() == whole.outputs.keys()
    for name, output in seen.outputs.items():
        assert_close(output, whole.outputs[name][:, -1:])
    with intervene(block, outputs={"mlp": lambda out: out + 1}):
        assert_close(stepped(block, x)[1][:, :1], expected[:, :1] + 1)


def test_gradients_and_autocast_take_the_block(taken):
    block, x = block_of(), draw(1)
    block(x, block.start(2, 1)).sum().backward()
    assert block.mixer.qkv.weight.grad is not None
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        block(x, block.start(2, 1))
    assert not taken


def test_a_mixer_of_another_kind_takes_no_short_cut():
    with torch.no_grad():
        past, _ = stepped(block_of(mixers.create("relative_places", dims=1, channels=8, heads=2, size=(4,))), draw())
    assert past.token_step is None
