"""Market-1501 at 768 channels is measured within 400 MB, the interpreter and the vectors included."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import numpy as np
from attn.core.measures.retrieval import Rules, cosine_distances, evaluate_retrieval
rng = np.random.default_rng(0)
query, gallery = (rng.standard_normal((n, 768), dtype=np.float32) for n in (1200, 15_913))
who, others = rng.integers(0, 751, 1200), rng.integers(-1, 751, 15_913)
camera = rng.integers(0, 6, 1200), rng.integers(0, 6, 15_913)
evaluate_retrieval(cosine_distances(query, gallery), who, others, Rules(apart={"camera": camera})).summary()
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of a process from /proc")
def test_peak_of_an_evaluation() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 400 * 1024  # all 3,368 queries would add 6 MB: blocks of distances take their turn
