"""Shared fixtures. Shape annotations of `attn.core` are checked in every test."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the `attn` command does, before torch is imported
install_import_hook("attn.core", "beartype.beartype")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real data: `ATTN_DATA`, else `../shared/data` beside the repository."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("ATTN_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}; set ATTN_DATA")
    return folder
