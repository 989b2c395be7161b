"""Recording a long sequence: with `keep` the memory is that of one layer's weights, whatever the depth."""

import subprocess
import sys

import pytest

PEAK = """
import torch
from pathlib import Path
from torch import nn
from attn.core.attention.watch import AttentionRecord, record
from attn.core.mixers import create

def peak():
    return int(next(x.split()[1] for x in Path("/proc/self/status").open() if x.startswith("VmHWM"))) * 1024

torch.set_num_threads(1)
layers = [create("relative_local", dims=1, channels=32, heads=2, size=(2304,), block=128) for _ in range(12)]
model = nn.Sequential(*layers)
with torch.no_grad():
    model(torch.randn(1, 2304, 32))
    before = peak()
    with record(model, keep=lambda seen: seen.weights[..., -1, :].mean(1)) as seen:
        model(torch.randn(1, 2304, 32))
assert len(seen) == 12
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_keep_holds_no_weights_of_the_layers_before():
    out = subprocess.run([sys.executable, "-c", PEAK], check=True, capture_output=True, text=True).stdout
    one_layer = 2 * 2304 * 2304 * 4
    assert int(out) < 7 * one_layer < 12 * one_layer, "less than the twelve layers' weights"
