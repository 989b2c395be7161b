"""Freed memory that is kept is not faulted in again."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import numpy as np
from attn.core.memory import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()
np.ones(10_000_000)  # 80 MB, beyond what malloc keeps by itself
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    np.ones(10_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is told")
def test_kept_memory_costs_no_page_faults():
    def faults(mode: str) -> int:
        done = subprocess.run([sys.executable, "-c", SCRIPT, mode], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert faults("keep") < 0.2 * faults("as it is")
