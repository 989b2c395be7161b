"""Local features: where they are in the picture's own pixels, whatever its size, and what has none."""

import numpy as np
import pytest

pytest.importorskip("cv2")

from PIL import Image, ImageFilter

from attn.apps.reid import local_features as module
from attn.apps.reid.local_features import local_features
from attn.core.errors import UsageError


def spots(places: list[tuple[float, float]], size: tuple[int, int], radius: float) -> np.ndarray:
    """Soft white spots at x, y on black; size is width, height."""
    y, x = np.mgrid[: size[1], : size[0]]
    grey = sum(np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * radius**2)) for cx, cy in places)
    return np.repeat((255 * np.minimum(grey, 1)).astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_a_keypoint_lies_where_the_spot_is_in_the_pictures_own_pixels(scale: float) -> None:
    places = [(100.0 * scale, 140.0 * scale), (200.0 * scale, 90.0 * scale), (270.0 * scale, 210.0 * scale)]
    found = local_features(spots(places, (round(400 * scale), round(300 * scale)), 6 * scale))
    assert found.side == round(400 * scale)
    for place in places:
        assert np.linalg.norm(found.points - place, axis=1).min() < max(1.0, scale)


def test_descriptors_are_square_roots_of_histograms() -> None:
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (200, 300, 3), np.uint8)).filter(ImageFilter.GaussianBlur(2))
    found = local_features(np.asarray(noise))
    assert found.descriptors.shape == (len(found), 128) and 50 < len(found) <= module.MOST + 5
    np.testing.assert_allclose((found.descriptors**2).sum(axis=1), 1, atol=1e-5)
    assert (found.descriptors >= 0).all()


def test_the_edge_of_a_picture_is_not_looked_at() -> None:
    found = local_features(spots([(200, 150), (20, 20), (380, 280), (200, 20)], (400, 300), 6))
    assert len(found) and (np.linalg.norm(found.points - (200, 150), axis=1) < 40).all()


@pytest.mark.parametrize("shape", [(300, 400), (1, 1), (1, 5000), (5000, 1), (15, 400), (2, 2)])
def test_a_flat_or_thin_picture_has_none(shape: tuple[int, int]) -> None:
    found = local_features(np.full((*shape, 3), 90, np.uint8))
    assert found.points.shape == (0, 2) and found.descriptors.shape == (0, 128)


def test_a_picture_that_is_no_contiguous_array() -> None:
    picture = spots([(100, 80)], (400, 300), 6)
    np.testing.assert_array_equal(local_features(picture[:, ::-1][:, ::-1]).points, local_features(picture).points)


def test_without_opencv_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "installed", lambda: False)
    with pytest.raises(UsageError, match=r"need OpenCV, which is not installed; pip install attn\[verify\]"):
        local_features(np.zeros((20, 20, 3), np.uint8))
