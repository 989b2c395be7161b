"""Every mixer compiled to one graph, and as ONNX."""

import json
import subprocess
import sys

import pytest
from mixer_fixtures import EACH, make, tokens
from torch import nn

from attn.core.models.onnx import to_onnx

COMPILE = """
import json, sys, torch
from attn.core import mixers
for name, dims, options in json.loads(sys.argv[1]):
    torch._dynamo.reset()  # all share the code of one forward, which is compiled anew only so many times
    torch.manual_seed(0)
    mixer = mixers.create(name, dims=dims, channels=8, heads=2, size=(4,) * dims, **options)
    x = torch.randn(2, *(4,) * dims, 8)
    expected, actual = mixer(x), torch.compile(mixer, fullgraph=True, backend="aot_eager")(x)
    torch.testing.assert_close(actual, expected, msg=name)
    ours, theirs = (torch.autograd.grad(y.square().sum(), mixer.parameters()) for y in (actual, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5, msg=name)
"""


@pytest.mark.slow
def test_each_compiles_to_one_graph():
    """In a process without the checks of shapes that all tests have: they cannot be compiled."""
    done = subprocess.run([sys.executable, "-c", COMPILE, json.dumps(EACH)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("dims", [1, 2])
def test_onnx_file_with_a_free_batch_gives_the_same_numbers(dims, tmp_path):
    """All mechanisms in one file; exporting takes seconds."""
    sweep = nn.Sequential(*(make(name, n, options) for name, n, options in EACH if n == dims))
    for parameter in sweep.parameters():
        parameter.data.mul_(0.5)
    assert to_onnx(sweep, tokens(dims, (4,) * dims), tmp_path / "mixers.onnx", (1, 3), input_name="tokens") < 1e-5


LENGTHS = """
import torch
from attn.core import mixers
mixer = mixers.create("softmax", dims=1, channels=8, heads=2, size=(4,), causal=True)
compiled = torch.compile(mixer, fullgraph=True, backend="aot_eager")
for length in (4, 6, 9):
    x = torch.randn(2, length, 8)
    torch.testing.assert_close(compiled(x), mixer(x))
"""


@pytest.mark.slow
def test_a_causal_mixer_compiles_for_several_lengths():
    done = subprocess.run([sys.executable, "-c", LENGTHS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
