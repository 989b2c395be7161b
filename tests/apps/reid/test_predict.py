"""The predictor: vectors, similarities, what it refuses."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import attn
from attn.apps.reid.gallery import open_gallery
from attn.apps.reid.model import DCAL
from attn.apps.reid.predict import ReIDPredictor, load_model
from attn.apps.reid.preprocess import to_unit
from attn.core.errors import InputError, ModelError, UsageError


def test_vectors_are_those_of_the_network(predictor: ReIDPredictor, reid_model: Path, photographs: Path) -> None:
    paths = sorted(photographs.parent.glob("*.png"))[:5]
    model, record = load_model(reid_model)
    pixels = torch.stack([predictor.preprocessing.pixels(np.asarray(Image.open(path))) for path in paths])
    with torch.no_grad():
        expected = DCAL.embed(model.eval(), to_unit(pixels)).numpy()
    found = predictor.embed(paths, batch_size=2)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(predictor.embed(paths[0]), expected[:1], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert found.shape == (5, predictor.id.dimensions) and predictor.id.fingerprint == record.files["model.safetensors"]
    assert predictor.embed([]).shape == (0, predictor.id.dimensions)


def test_similarity_is_the_cosine_and_one_with_itself(predictor: ReIDPredictor, photographs: Path) -> None:
    a, b = sorted(photographs.parent.glob("*.png"))[:2]
    x, y = predictor.embed([a, b])
    assert predictor.similarity(a, b) == pytest.approx(float(x @ y), abs=1e-6)
    assert predictor.similarity(a, np.asarray(Image.open(a))) == pytest.approx(1, abs=1e-6)


def test_a_search_that_verifies(coats: Path, predictor: ReIDPredictor) -> None:
    """As `attn reid search` does; nothing says that this model is to, unless it is asked for."""
    pytest.importorskip("cv2")
    query, gallery = coats / "asked/new.png", open_gallery(coats / "g")
    assert all(each.inliers is None for each in predictor.search(query, gallery))
    first, second = predictor.search(query, coats / "g", verify=True)
    assert first.individual == "A" and first.inliers is not None and first.inliers > 20 and second.inliers == 0
    assert predictor.search(query, gallery, verify=True) == [first, second]


def test_without_the_local_branch(reid_model: Path, photographs: Path) -> None:
    alone = ReIDPredictor.load(reid_model, "cpu", sa_only=True)
    assert alone.calibration is None  # that of a record is of the whole model
    assert alone.embed([min(photographs.parent.glob("*.png"))]).shape == (1, 16) and alone.id.dimensions == 16


def test_what_is_no_picture(predictor: ReIDPredictor, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        predictor.embed([tmp_path / "none.jpg"])
    for wrong in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(InputError, match="is not a picture"):
            predictor.embed([wrong])
    with pytest.raises(UsageError, match="tells individuals apart, not classes"):
        predictor.predict(np.zeros((4, 4, 3), np.uint8))


def test_a_record_that_does_not_fit(reid_model: Path, tmp_path: Path) -> None:
    shutil.copytree(reid_model, tmp_path / "model", ignore=shutil.ignore_patterns("run"))
    record = json.loads((tmp_path / "model" / "model.json").read_text())
    for part, values, message in (
        ("preprocessing", {"size": [64, 64]}, "is given"),
        ("calibration", {"slope": -1, "intercept": 0}, "slope"),
    ):
        (tmp_path / "model" / "model.json").write_text(json.dumps({**record, part: values}))
        with pytest.raises(ModelError, match=message):
            ReIDPredictor.load(tmp_path / "model")


def test_it_is_exported() -> None:
    assert attn.ReIDPredictor is ReIDPredictor
