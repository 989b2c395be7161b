"""A model folder as `save` writes it."""

from pathlib import Path

import pytest
from core.models.saved import record, state

from attn.core.models.folder import save


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(tmp_path / "model", state(), record())
    return tmp_path / "model"
