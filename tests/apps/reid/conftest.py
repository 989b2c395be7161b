"""Drawn photographs of individuals on disk, and a model that was trained on them for a moment."""

from pathlib import Path

import pytest
from reid_fixtures import write_photographs
from typer.testing import CliRunner

from attn.apps.reid.predict import ReIDPredictor
from attn.cli import app


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """labels.csv of twelve individuals with six photographs each, three of them in a split for testing. Read only."""
    return write_photographs(tmp_path_factory.mktemp("reid") / "photographs", individuals=12, test=3)


@pytest.fixture(scope="session")
def reid_model(tmp_path_factory: pytest.TempPathFactory, photographs: Path) -> Path:
    """A model folder, made by the command line. Not to be changed."""
    out = tmp_path_factory.mktemp("reid") / "model"
    command = ["reid", "train", photographs, "--variant", "smallest", "--epochs", 2, "--batch-size", 16, "--out", out]
    done = CliRunner().invoke(app, [*map(str, command)])
    assert done.exit_code == 0, done.stderr
    return out


@pytest.fixture(scope="session")
def predictor(reid_model: Path) -> ReIDPredictor:
    """That model, loaded."""
    return ReIDPredictor.load(reid_model, "cpu")
