"""The scene of every test here."""

from pathlib import Path

import pytest
from reid_review_fixtures import Scene, draw_scene


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Drawn photographs with hostile names, and their gallery."""
    return draw_scene(tmp_path)
