"""What the model sees of a radiograph, whatever its size, spacing and encoding."""

import numpy as np
import pytest
import torch
from chest_fixtures import chest
from PIL import Image

from attn.apps.chest.preprocess import Preprocessing, to_bytes, to_unit
from attn.data_adapters.dicom.radiograph import Radiograph

SIDE = 32


def seen(pixels: np.ndarray, spacing: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    return Preprocessing(side=SIDE).pixels(Radiograph("a", pixels.astype(np.float32, copy=False), spacing))


def test_range_and_shape() -> None:
    for shape in ((1, 1), (7, 300), (512, 400), (SIDE, SIDE)):
        out = seen(np.random.default_rng(0).random(shape))
        assert out.shape == (SIDE, SIDE) and out.dtype == np.float32 and 0 <= out.min() <= out.max() <= 1


def test_shrinking_is_antialiased() -> None:
    """A fine chessboard becomes its mean, not one of its colours."""
    y, x = np.mgrid[:320, :320]
    out = seen((x + y) % 2)
    np.testing.assert_allclose(out[2:-2, 2:-2], 0.5, atol=0.02)


@pytest.mark.parametrize("shape", [(7, 300), (320, 200), (97, 31)])
def test_the_resize_is_pillows(shape: tuple[int, int]) -> None:
    """Models were trained with Pillow's bilinear resize; a read-only array is no hindrance."""
    pixels = np.random.default_rng(0).random(shape, dtype=np.float32)
    pixels.flags.writeable = False
    expected = np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(seen(pixels), expected, atol=2e-6)


def test_pixels_that_are_not_square() -> None:
    """The same scene sampled twice as densely across, with the spacing that says so, is seen alike."""
    scene = chest(side=128) / 255
    dense = np.repeat(scene, 2, axis=1)
    np.testing.assert_allclose(seen(dense, (1.0, 0.5)), seen(scene), atol=0.02)


def test_bytes_and_back() -> None:
    pixels = seen(chest() / 255)
    back = to_unit(torch.from_numpy(to_bytes(pixels))[None])
    assert back.shape == (1, 1, SIDE, SIDE)
    np.testing.assert_allclose(back[0, 0], pixels, atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize("settings", [{"side": 7}, {"side": 64, "crop": 0.9}])
def test_settings_are_checked(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"side|crop"):
        Preprocessing(**settings)
