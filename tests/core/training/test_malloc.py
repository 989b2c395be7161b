"""Freed memory that is kept is not faulted in again; large memory comes in huge pages."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from attn.core.decoding.pages import empty

SCRIPT = """
import resource, sys
import numpy as np
from attn.core.training.malloc import keep_freed_memory

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


@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 1000, 700)])
def test_empty_is_a_tensor_like_any_other(shape: tuple[int, ...]):
    x = empty(shape, device=None, dtype=torch.float64)
    assert x.shape == shape and x.dtype == torch.float64 and x.is_contiguous() and x.device == torch.empty(0).device
    x.copy_(torch.arange(x.numel()).view(shape))
    assert torch.equal(x.flatten(), torch.arange(x.numel(), dtype=torch.float64))


def test_empty_knows_devices_without_memory():
    assert empty((1000, 1000), device="meta", dtype=None).device.type == "meta"


@pytest.mark.skipif(
    not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="the advice is one to a Linux with huge pages"
)
def test_large_memory_is_advised_to_come_in_huge_pages():
    x = empty((3, 2**20), device="cpu", dtype=torch.float32)
    x.zero_()
    assert x.data_ptr() % 2**21 == 0
    assert "hg" in flags_of_memory_at(x.data_ptr()) and "hg" in flags_of_memory_at(x.data_ptr() + x.nbytes - 1)


def flags_of_memory_at(address: int) -> list[str]:
    """VmFlags of proc_pid_smaps(5)."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if borders := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            first, end = (int(border, 16) for border in borders.groups())
            inside = first <= address < end
        elif inside and line.startswith("VmFlags:"):
            return line.split()[1:]
    raise AssertionError("no such memory")
