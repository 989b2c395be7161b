"""NaN and constant fills."""

import numpy as np
import pytest

from attn.data_adapters.sky.holes import drop_fills, fill_holes


def galaxy(level: float = 0.0) -> np.ndarray:
    """(64, 64, 1) float64: a galaxy of 100 on a noise of 1."""
    y, x = np.mgrid[:64, :64]
    image = level + np.random.default_rng(0).normal(0, 1, (64, 64)) + 100 * np.exp(-np.hypot(x - 32, y - 32) / 6)
    return image[:, :, None]


def test_small_holes_follow_the_slope_and_large_ones_take_the_sky() -> None:
    ramp = np.repeat(np.arange(64, dtype=np.float32)[None], 64, axis=0)[:, :, None]
    holed = ramp.copy()
    holed[30:33, 40:43] = np.nan
    filled, fraction = fill_holes(holed)
    np.testing.assert_allclose(filled[31, 41], 41, atol=0.5)
    assert fraction == 9 / 64**2
    assert fill_holes(ramp)[0] is ramp, "nothing to fill, nothing copied"


@pytest.mark.parametrize("level", [0.0, 1000.0])
@pytest.mark.parametrize("value", [-999.0, -32768.0, 1e30, 0.0])
def test_a_far_value_of_many_pixels_is_a_fill(level: float, value: float) -> None:
    image = galaxy(level)
    image[:10, :, 0] = value
    dropped, flags = drop_fills(image)
    if value == level:
        assert dropped is image and not flags
        return
    assert flags == [f"fill_value:{value:g}"]
    assert np.isnan(dropped[:10]).all() and np.isfinite(dropped[10:]).all() and np.isfinite(image).all()


@pytest.mark.parametrize("value", [0.0, 255.0])
def test_a_border_of_one_value_may_lie_nearer(value: float) -> None:
    image = np.rint(galaxy(20.0))
    image[40, 40], image[:, :4, 0] = 12, value
    dropped, flags = drop_fills(image)
    assert flags == [f"fill_value:{value:g}"]
    assert np.isnan(dropped[:, :4]).all() and np.isfinite(dropped[:, 4:]).all()


def test_two_fills_in_one_band_of_three() -> None:
    image = np.concatenate([galaxy()] * 3, axis=2)
    image[:5, :, 1], image[5:9, :, 1] = -999, -32768
    dropped, flags = drop_fills(image)
    assert sorted(flags) == ["fill_value:-32768", "fill_value:-999"]
    assert np.isnan(dropped[:9, :, 1]).all() and np.isfinite(dropped[:, :, [0, 2]]).all()


def test_what_is_no_fill() -> None:
    saturated = galaxy()
    saturated[28:36, 28:36] = 120.0  # a flat core beside pixels that are nearly as bright
    few = galaxy()
    few[0, :3] = -999
    counts = np.random.default_rng(0).poisson(0.3, (64, 64, 1)).astype(np.float32)
    drawn = np.zeros((64, 64, 1))
    drawn[20:40, 20:40] = 5
    noiseless = 100 * np.exp(-np.hypot(*np.mgrid[-32:32, -32:32]) / 6)[:, :, None]
    noiseless[noiseless < 5] = 0  # a stamp that was cut out along an isophote
    at_border = galaxy()
    at_border[:12, :12] = 130.0  # the core of a star that the border cuts
    clipped = galaxy().clip(-1)
    for image in (saturated, few, counts, drawn, noiseless, at_border, clipped, galaxy()):
        assert drop_fills(image) == (image, [])


@pytest.mark.parametrize(("columns", "all_bands"), [(10, True), (40, False)])
def test_a_large_hole_of_one_band_is_one_of_all(columns: int, all_bands: bool) -> None:
    image = np.concatenate([galaxy()] * 3, axis=2)
    image[:, :columns, 1] = np.nan
    filled, _ = fill_holes(image)
    far = columns - 3
    assert (np.ptp(filled[:, :far, 0]) == 0) == all_bands
    assert np.ptp(filled[:, :far, 1]) == 0
    np.testing.assert_array_equal(filled[:, columns:], image[:, columns:])
