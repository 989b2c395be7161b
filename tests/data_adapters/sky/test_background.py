"""The level and noise of the sky."""

import numpy as np
import pytest

from attn.data_adapters.sky.background import measure_sky, percent


def test_sky_ignores_the_galaxy_stars_and_holes() -> None:
    rng = np.random.default_rng(3)
    plane = rng.normal(100, 2, (200, 200)).astype(np.float32)
    plane[60:140, 60:140] += 500
    plane[rng.integers(0, 200, 300), rng.integers(0, 200, 300)] += 1000
    plane[:5] = np.nan
    sky = measure_sky(plane)
    assert sky.level == pytest.approx(100, abs=0.3)
    assert sky.sigma == pytest.approx(2, rel=0.1)


def test_sky_of_nothing_is_zero() -> None:
    sky = measure_sky(np.full((20, 20), np.nan, np.float32))
    assert (sky.level, sky.sigma) == (0, 0)


@pytest.mark.parametrize(("fraction", "text"), [(0, "0%"), (0.001, "<1%"), (0.118, "12%"), (1, "100%")])
def test_percent(fraction: float, text: str) -> None:
    assert percent(fraction) == text
