"""The model of drawn individuals, loaded."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps
from reid_fixtures import run

from attn.apps.reid.predict import ReIDPredictor


@pytest.fixture(scope="session")
def predictor(reid_model: Path) -> ReIDPredictor:
    """`reid_model` on the CPU."""
    return ReIDPredictor.load(reid_model, "cpu")


@pytest.fixture(scope="session")
def coats(tmp_path_factory: pytest.TempPathFactory, reid_model: Path) -> Path:
    """Two individuals whose coats are blurred noise, a photograph of one of them that was turned, and a gallery."""
    folder = tmp_path_factory.mktemp("coats")
    for name, seed, angle in (("photos/A/1.png", 0, 0), ("photos/B/1.png", 1, 0), ("asked/new.png", 0, 12)):
        noise = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (240, 320, 3), np.uint8))
        picture = noise.filter(ImageFilter.GaussianBlur(3)).rotate(angle, Image.Resampling.BICUBIC)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        ImageOps.autocontrast(picture, cutoff=2).save(folder / name)
    run("index", folder / "photos", "--out", folder / "g", "--model", reid_model)
    return folder
