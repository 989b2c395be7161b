"""The stretch: its curve in closed form, what it is blind to, and that SDSS data look like SDSS pictures."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from attn.data_adapters.sky.background import measure_sky
from attn.data_adapters.sky.fits import read_fits
from attn.data_adapters.sky.stretch import Stretch, render


@pytest.fixture
def scene() -> np.ndarray:
    """(96, 96, 3) float32: a galaxy on a noisy sky of level 30, redder in the middle."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:96, :96] - 47.5
    light = np.exp(-np.hypot(y, x) / 8)
    planes = [scale * light**slope for scale, slope in ((60, 1.1), (40, 1.0), (20, 0.9))]
    return (30 + np.stack(planes, axis=2) + rng.normal(0, 0.3, (96, 96, 3))).astype(np.float32)


def test_the_curve_in_closed_form() -> None:
    stretch = Stretch(softening=4, black=2, white=100)
    rng = np.random.default_rng(1)
    plane = rng.normal(0, 1, (400, 400)).astype(np.float32)
    plane[150:250, 150:250] = np.linspace(0, 90, 100, dtype=np.float32)
    sky = measure_sky(plane)
    pixels, flags = render(plane, stretch)
    s = (plane[150:250, 150:250] - sky.level) / sky.sigma
    expected = 255 * np.arcsinh((s + 2) / 4) / np.arcsinh(102 / 4)
    np.testing.assert_allclose(pixels[150:250, 150:250, 0], expected, atol=0.51)
    assert flags == ()


@pytest.mark.parametrize("kind", ["lupton", "asinh"])
def test_unit_and_zero_point_of_the_file_do_not_matter(scene: np.ndarray, kind: str) -> None:
    stretch = Stretch(kind=kind)
    pixels, _ = render(scene, stretch)
    other, _ = render((scene * np.array([1e-3, 1e-3, 5.0]) - 7).astype(np.float32), stretch)
    assert np.abs(pixels.astype(int) - other).max() <= 1


def test_render_turns_with_the_image(scene: np.ndarray) -> None:
    pixels, _ = render(scene, Stretch())
    turned, _ = render(np.rot90(scene).copy(), Stretch())
    assert np.abs(np.rot90(pixels, -1).astype(int) - turned).max() <= 1


def test_lupton_keeps_colour_where_each_band_alone_would_turn_white(scene: np.ndarray) -> None:
    def redness(kind: str) -> float:
        core = render(scene, Stretch(kind=kind))[0][46:50, 46:50].mean(axis=(0, 1))
        return float(core[0] - core[2])

    assert redness("lupton") > redness("asinh") + 10


def test_one_band_is_grey_and_two_have_their_mean_between(scene: np.ndarray) -> None:
    grey, _ = render(scene[:, :, 0], Stretch())
    assert (grey == grey[:, :, :1]).all() and grey.shape == (96, 96, 3)
    np.testing.assert_array_equal(grey, render(scene[:, :, :1], Stretch())[0])
    two, _ = render(scene[:, :, [0, 2]], Stretch())
    assert np.abs(two[:, :, 1].astype(int) - two[:, :, ::2].mean(axis=2)).max() <= 1


def test_noise_is_faint_and_not_blown_up() -> None:
    noise = np.random.default_rng(0).normal(5, 1, (64, 64, 3)).astype(np.float32)
    pixels, flags = render(noise, Stretch())
    assert flags == ("faint",)
    assert pixels.max() < 90


def test_a_simulation_without_noise_still_shows_its_galaxy() -> None:
    y, x = np.mgrid[:64, :64] - 32
    pixels, flags = render(np.exp(-np.hypot(y, x) / 6).astype(np.float32), Stretch())
    assert flags == () and pixels[32, 32, 0] > 200 and pixels[0, 0, 0] < 60


def test_eight_bit_pixels_stay_as_they_are_but_for_the_first_row_at_the_bottom() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    np.testing.assert_array_equal(render(rgb, Stretch())[0], rgb[::-1])


def test_the_input_is_not_changed(scene: np.ndarray) -> None:
    before = scene.copy()
    render(scene, Stretch())
    np.testing.assert_array_equal(scene, before)


def test_record_round_trip() -> None:
    stretch = Stretch(kind="asinh", softening=5, balance=(1, 2, 3))
    assert Stretch(**stretch.model_dump(mode="json")) == stretch
    with pytest.raises(ValidationError):
        Stretch(kind="linear")  # type: ignore[arg-type]


@pytest.mark.real_data
def test_sdss_fits_look_like_the_sdss_cutouts_the_model_learns_from(data_dir: Path) -> None:
    """Sky level, colour and core brightness lie within the middle 90 % of EFIGI's spirals."""
    pictures = sorted((data_dir / "galaxy/efigi/images").glob("*.jpg"))[::40]
    efigi = np.stack([summary(np.asarray(Image.open(path))) for path in pictures])
    low, high = np.percentile(efigi, [5, 95], axis=0)
    for k in (0, 1, 3):
        image = read_fits(data_dir / f"galaxy/fits/derived_sdss_irg_cube_{k}.fits")
        ours = summary(render(image.data, Stretch())[0])
        assert ((low <= ours) & (ours <= high)).all(), (k, ours, low, high)


def summary(pixels: np.ndarray) -> np.ndarray:
    """Sky level, brightness of the core, R/G and B/G of the galaxy."""
    side = len(pixels)
    rgb = pixels.astype(float)
    sky = np.median(np.concatenate([rgb[: side // 12].reshape(-1, 3), rgb[-side // 12 :].reshape(-1, 3)]), axis=0)
    middle = rgb[side // 3 : -side // 3] - sky
    middle = middle[:, side // 3 : -side // 3].reshape(-1, 3)
    body = middle[middle.sum(axis=1) >= np.median(middle.sum(axis=1))].mean(axis=0)
    return np.array([sky.mean(), np.percentile(middle.mean(axis=1), 99.5), body[0] / body[1], body[2] / body[1]])


def test_the_first_row_of_fits_is_shown_at_the_bottom() -> None:
    """As DS9 shows it, so that the handedness of a spiral is that of its JPEG."""
    y, x = np.mgrid[:64, :64]
    light = np.random.default_rng(0).normal(0, 1, (64, 64)) + 500 * np.exp(-np.hypot(x - 20, y - 10) / 2)
    pixels, _ = render(light, Stretch())
    assert np.unravel_index(pixels[:, :, 0].astype(int).argmax(), (64, 64)) == (53, 20)
