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


def clipped_by_masks(values: np.ndarray) -> tuple[float, float]:
    """The same level and noise without a sort: each round takes two medians of unordered values."""
    for _ in range(6):
        level = float(np.median(values))
        sigma = 1.4826 * float(np.median(level - values[values <= level]))
        kept = values[np.abs(values - level) <= 3 * sigma]
        if sigma == 0 or kept.size == values.size or kept.size < 16:
            break
        values = kept
    return level, sigma


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", ["noise", "counts", "stars", "steep"])
def test_one_sort_gives_what_many_medians_give(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    plane = rng.normal(1e4, 30, (40 + seed, 41))
    if kind == "counts":  # with many equal values
        plane = np.rint(plane / 20)
    if kind == "stars":
        plane[rng.random(plane.shape) < 0.1] += 1e5
    if kind == "steep":
        plane = rng.exponential(1, plane.shape) ** 4
    height, width = plane.shape
    middle = np.zeros(plane.shape, bool)
    middle[height // 8 : -(height // 8), width // 8 : -(width // 8)] = True
    sky = measure_sky(plane)
    assert (sky.level, sky.sigma) == pytest.approx(clipped_by_masks(plane[~middle]), rel=1e-12)
