"""Explanations: maps of the right size that point where a planted model looks, and files a person can open."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from attn.apps.galaxy.explain import attention_map, explain, occlusion_map
from attn.apps.galaxy.model import Astroformer, changed
from attn.apps.galaxy.predict import GalaxyPredictor
from attn.core.errors import UsageError


@pytest.fixture
def predictor(micro_model) -> GalaxyPredictor:
    return GalaxyPredictor.load(micro_model)


def test_maps_have_the_models_side_and_files_are_written(predictor, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(tmp_path / "g.png")
    explanation = explain(predictor, tmp_path / "g.png")
    side = predictor.preprocessing.side
    assert explanation.attention.shape == explanation.occlusion.shape == (side, side)
    assert explanation.attention.mean() == pytest.approx(1, abs=0.05)
    picture, arrays = explanation.save(tmp_path)
    with Image.open(picture) as drawn:
        assert drawn.size[0] > 1000
    stored = np.load(arrays)
    assert stored["labels"].tolist() == predictor.labels
    np.testing.assert_allclose(stored["occlusion"], explanation.occlusion)


def test_the_maps_have_the_orientation_of_the_picture(predictor):
    pixels = np.random.default_rng(0).integers(0, 40, (32, 32, 3), dtype=np.uint8)
    pixels[20:28, 2:6] = 200
    upright = predictor.preprocessing.model_copy(update={"upright": True, "framed": False})
    predictor.preprocessing = upright.model_copy(update={"upright": False})
    plain = explain(predictor, pixels)
    predictor.preprocessing = upright
    np.testing.assert_array_equal(explain(predictor, pixels).image, plain.image)
    np.testing.assert_allclose(
        np.rot90(explain(predictor, np.rot90(pixels, -1).copy()).occlusion), explain(predictor, pixels).occlusion
    )


def test_a_picture_is_drawn_of_a_file_with_any_name(predictor, tmp_path):
    path = tmp_path / os.fsdecode(b"$\\odd \xff.png")
    Image.fromarray(np.zeros((40, 40, 3), dtype=np.uint8)).save(path)
    assert all(written.stat().st_size for written in explain(predictor, path).save(tmp_path))


def test_occlusion_points_at_what_a_planted_model_looks_at(predictor):
    side = predictor.preprocessing.side
    x = torch.full((1, 3, side, side), 0.2)
    x[..., 4:8, 20:24] = 1.0

    def brightest_corner(image_bchw):
        """Class 0 exactly when there is something bright in the upper right quarter."""
        bright = image_bchw[:, 0, : side // 2, side // 2 :].amax((1, 2))
        return torch.stack([4 * bright, *[torch.zeros_like(bright)] * (len(predictor.labels) - 1)], dim=1)

    predictor.model.embed, predictor.model.classify = brightest_corner, lambda logits_bk: logits_bk
    lost = occlusion_map(predictor, x, 0)
    row, column = divmod(int(lost.argmax()), side)
    assert abs(row - 6) <= 4 and abs(column - 22) <= 4
    assert lost[side // 2 + 6 :].abs().max() < 1e-5


def test_attention_map_follows_the_attention(predictor):
    """When every query attends to one token, the map peaks there."""
    from attn.core.attention.watch import intervene

    side = predictor.preprocessing.side

    def to_the_first(seen):
        planted = torch.zeros_like(seen.weights)
        planted[..., 0] = 1
        return planted

    with intervene(predictor.model, {"stages.3.*.mixer": to_the_first}):
        received = attention_map(predictor, torch.rand(1, 3, side, side))
    assert int(received.argmax()) == 0
    assert received[0, 0] > 2


@pytest.mark.parametrize("mixer", ["large_kernel", "dual:part=channel"])
def test_a_mechanism_without_weights_over_tokens_is_named(predictor, monkeypatch, mixer):
    monkeypatch.setattr(predictor, "model", Astroformer(changed(predictor.model.config, mixer=mixer)).eval())
    with pytest.raises(UsageError, match=f"the mixer '{mixer}' has no attention weights over tokens"):
        attention_map(predictor, torch.rand(1, 3, predictor.preprocessing.side, predictor.preprocessing.side))


def test_of_two_attentions_the_map_shows_the_one_over_tokens(predictor, monkeypatch):
    monkeypatch.setattr(predictor, "model", Astroformer(changed(predictor.model.config, mixer="dual")).eval())
    received = attention_map(predictor, torch.rand(1, 3, predictor.preprocessing.side, predictor.preprocessing.side))
    assert received.isfinite().all()
    assert received.mean().item() == pytest.approx(1, abs=0.05)
