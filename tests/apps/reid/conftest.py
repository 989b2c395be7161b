"""The model of drawn individuals, loaded."""

from pathlib import Path

import pytest

from attn.apps.reid.predict import ReIDPredictor


@pytest.fixture(scope="session")
def predictor(reid_model: Path) -> ReIDPredictor:
    """`reid_model` on the CPU."""
    return ReIDPredictor.load(reid_model, "cpu")
