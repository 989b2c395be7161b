"""Shared fixtures. Shape annotations of `attn.core` are checked in every test."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the `attn` command does, before torch is imported
install_import_hook("attn.core", "beartype.beartype")

FUZZED = 2000


def pytest_addoption(parser: pytest.Parser) -> None:
    help = f"inputs of each target in tests/fuzz ({FUZZED}; or the environment variable ATTN_FUZZ)"
    parser.addoption("--fuzz", type=int, default=int(os.environ.get("ATTN_FUZZ", FUZZED)), metavar="N", help=help)


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
