"""Explaining a long piece takes the memory of one layer's weights, not of all layers'."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FIXTURES = str(Path(__file__).resolve().parents[1])
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([FIXTURES, os.environ.get("PYTHONPATH", "")])}
PEAK = """
import numpy as np
from pathlib import Path
from attn.apps.music.explain import _weights
from attn.apps.music.styles import Piano
from music_fixtures import tiny_generator

def peak():
    return int(next(x.split()[1] for x in Path("/proc/self/status").open() if x.startswith("VmHWM"))) * 1024

generator = tiny_generator(Piano(), depth=6, heads=4, mixer="relative_local:block=256", length=256)
ids_l = np.random.default_rng(0).integers(3, 90, 2048)
_weights(generator, ids_l[:64], np.arange(0, 64, 4), None)
before = peak()
place_n = np.arange(0, 2048, 4)
assert _weights(generator, ids_l, place_n, None).shape == (512, 512)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.slow
def test_a_long_piece_takes_the_memory_of_one_layer():
    done = subprocess.run([sys.executable, "-c", PEAK], check=False, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    one_layer = 4 * 2048 * 2048 * 4
    assert int(done.stdout) < 5 * one_layer < 6 * one_layer, "less than the six layers' weights"
