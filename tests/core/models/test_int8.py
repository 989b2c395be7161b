"""`int8`: exact on weights that eight bits hold, close on others, and the music model keeps its likelihood."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from attn.apps.music.model import MusicTransformer, configure
from attn.core import mixers
from attn.core.models.int8 import LARGEST, Int8Linear, to_int8


def test_weights_on_the_grid_are_kept_exactly():
    linear = nn.Linear(16, 8)
    with torch.no_grad():
        linear.weight.copy_(torch.randint(-LARGEST, LARGEST + 1, (8, 16)) * 2.0**-9)
        linear.weight[:, 0] = LARGEST * 2.0**-9
        x = torch.randint(-4, 5, (3, 5, 16)).float()  # small integers survive bfloat16
        y = Int8Linear(linear)(x)
        # What is left is the kernel's answer in bfloat16: eight bits of its size.
        assert (y - linear(x)).abs().max() <= 2.0**-8 * (linear(x) - linear.bias).abs().max() + 1e-6


def test_any_layer_is_close_and_smaller():
    linear = nn.Linear(128, 96)
    small = Int8Linear(linear)
    x = torch.randn(40, 128)
    with torch.no_grad():
        error = (small(x) - linear(x)).abs().max() / linear(x).abs().max()
    assert 0 < error < 0.02
    assert sum(b.nbytes for b in small.buffers()) < 0.3 * sum(p.nbytes for p in linear.parameters())


def test_a_row_of_zeros_stays_zero():
    linear = nn.Linear(8, 2)
    with torch.no_grad():
        linear.weight[1] = 0
        assert Int8Linear(linear)(torch.randn(4, 8))[:, 1].eq(linear.bias[1]).all()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("channels", [1, 8, 31, 33, 50])
def test_any_number_of_channels(channels: int, bias: bool):
    linear, x = nn.Linear(channels, 7, bias=bias), torch.randn(5, channels)
    with torch.no_grad():
        y = Int8Linear(linear)(x)
        assert y.dtype == x.dtype
        assert (y - linear(x)).abs().max() < 0.03


@pytest.mark.parametrize("batch", [1, 3])
def test_a_decoder_in_eight_bits_has_nearly_the_same_likelihood(batch: int):
    config = configure(vocabulary=40, width=64, depth=2, heads=4, hidden=128, length=32, dropout=0.0)
    model = MusicTransformer(config).eval()
    rounded = copy.deepcopy(model)
    to_int8(rounded)
    assert not any(isinstance(module, nn.Linear) for module in rounded.modules())
    ids_bl = torch.randint(2, 40, (batch, 33))
    with torch.inference_mode():
        logits, small = (m(ids_bl[:, :-1]) for m in (model, rounded))
        state = rounded.start(batch, 32)
        steps = torch.stack([rounded(ids_bl[:, i : i + 1], past=state)[:, 0] for i in range(32)], 1)
    assert not torch.equal(logits, small)
    assert torch.allclose(steps, small, atol=2e-2 * float(small.abs().max()))  # products of other shapes round apart
    nll = [F.cross_entropy(some.flatten(0, 1), ids_bl[:, 1:].flatten()).item() for some in (logits, small, steps)]
    assert max(nll) - min(nll) < 0.01


@pytest.mark.parametrize("name", [info.name for info in mixers.available() if 1 in info.dims])
def test_every_mechanism_of_sequences_works_with_rounded_layers(name):
    torch.manual_seed(0)
    mixer = mixers.create(name, dims=1, channels=16, heads=2, size=(4,)).eval()
    x = torch.randn(2, 4, 16)
    with torch.inference_mode():
        expected = mixer(x)
        to_int8(mixer)
        assert (mixer(x) - expected).abs().max() < 0.1 * expected.abs().max()
