"""Shared fixtures. Shape annotations of `attn.core` are checked in every test."""

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

# Before torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the `attn` command does
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers share the cores
install_import_hook("attn.core", "beartype.beartype")

FUZZED = 2000


def pytest_addoption(parser: pytest.Parser) -> None:
    help = f"inputs of each target in tests/fuzz ({FUZZED}; or the environment variable ATTN_FUZZ)"
    parser.addoption("--fuzz", type=int, default=int(os.environ.get("ATTN_FUZZ", FUZZED)), metavar="N", help=help)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """The whole suite runs in two processes where there are two cores; tests that are named run in one."""
    return 0 if config.getoption("file_or_dir") or (os.cpu_count() or 1) < 2 else 2


def pytest_collection_finish() -> None:
    """Libraries and tests stay to the end: a full garbage collection that leaves them out takes 1 ms instead of 300."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    gc.unfreeze()


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    """A test that measures on one thread leaves torch's number of threads to the next test as it was."""
    torch = sys.modules.get("torch")
    before = torch and torch.get_num_threads()
    yield
    if torch and torch.get_num_threads() != before:
        torch.set_num_threads(before)


@pytest.fixture(scope="session")
def fuzz_count(pytestconfig: pytest.Config) -> int:
    """How many damaged inputs each target in tests/fuzz reads: `pytest tests/fuzz --fuzz 100000`."""
    return int(pytestconfig.getoption("--fuzz"))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real data: `ATTN_DATA`, else `../shared/data` beside the repository."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("ATTN_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}; set ATTN_DATA")
    return folder
