"""What does not look like a galaxy has a flag, and galaxies have none."""

import numpy as np
import pytest

from attn.data_adapters.sky.looks import ISOPHOTES, MEASURES, looks
from attn.data_adapters.sky.stretch import Stretch, render

Y, X = np.mgrid[:96, :96]
RADIUS = np.hypot(Y - 48, X - 48)


def shown(light: np.ndarray, seed: int = 0) -> np.ndarray:
    """Display pixels of three bands with a noise of 1."""
    noise = np.random.default_rng(seed).normal(0, 1, (96, 96, 3))
    return render(light[:, :, None] + noise, Stretch())[0]


def disc(scale: float = 8.0, flattening: float = 1.0, peak: float = 300.0) -> np.ndarray:
    turned = np.hypot((Y - 48) * 0.8 + (X - 48) * 0.6, ((X - 48) * 0.8 - (Y - 48) * 0.6) * flattening)
    return np.asarray(peak * np.exp(-turned / scale))


def star(peak: float, x: float = 48.0) -> np.ndarray:
    """A Moffat profile of 3.5 pixels."""
    return np.asarray(peak * (1 + ((X - x) ** 2 + (Y - 48) ** 2) / 2.6**2) ** -3.0)


@pytest.mark.parametrize("seed", range(5))
def test_an_empty_sky_is_empty(seed: int) -> None:
    assert looks(shown(np.zeros((96, 96)), seed)).flags == ("empty",)
    assert looks(shown(star(300, x=12), seed)).flags == ("empty",)
    assert looks(np.full((50, 60, 3), 30 + seed, np.uint8)).flags == ("empty",)


@pytest.mark.parametrize("peak", [30, 300, 3000])
def test_a_star_is_point_like(peak: float) -> None:
    assert "point-like" in looks(shown(star(peak))).flags


def test_a_saturated_star() -> None:
    bleeding = np.minimum(30_000 * (1 + (RADIUS / 2.6) ** 2) ** -1.5, 2000)
    bleeding[10:86, 47:50] = 2000
    assert "saturated" in looks(shown(bleeding)).flags


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.2, 1.57])
def test_a_trail_goes_from_border_to_border(angle: float) -> None:
    across = (X - 48) * np.sin(angle) - (Y - 48) * np.cos(angle)
    assert looks(shown(40 * np.exp(-((across / 1.5) ** 2)))).flags == ("trail",)
    assert looks(shown(disc() + 40 * np.exp(-((across / 1.5) ** 2)))).flags != ("empty",)


def test_a_negative_is_dark_on_bright() -> None:
    picture = shown(disc())
    assert looks(255 - picture).flags == ("negative",)
    assert looks(shown(-disc(peak=30))).flags == ("negative",)


@pytest.mark.parametrize(("scale", "flattening"), [(5, 1), (8, 1), (14, 1), (10, 3), (14, 6), (20, 1.5)])
@pytest.mark.parametrize("peak", [20, 300, 20_000])
def test_galaxies_have_no_flag(scale: float, flattening: float, peak: float) -> None:
    assert looks(shown(disc(scale, flattening, peak))).flags == ()


@pytest.mark.parametrize("shape", [(8, 8), (9, 40), (300, 20), (700, 700)])
def test_pictures_of_any_size_are_looked_at(shape: tuple[int, int]) -> None:
    looks(np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8))
    assert looks(np.zeros((*shape, 3), np.uint8)).flags == ("empty",)


def test_the_measures_are_those_of_a_drawn_disc() -> None:
    """A Gaussian is as wide at a share q of its peak as sigma sqrt(-2 ln q), also after smoothing by 1 pixel."""
    light = 200 * np.exp(-0.5 * (RADIUS / 9) ** 2)
    small, large = (np.repeat(np.kron(20 + light, np.ones((n, n)))[:, :, None], 3, 2).astype(np.uint8) for n in (1, 3))
    measures, again = looks(small).measures, looks(large).measures
    assert measures.shape == (MEASURES,) and measures.dtype == np.float64
    expected = [np.sqrt(82 * 2 * np.log(1 / share)) for share in ISOPHOTES]
    np.testing.assert_allclose(np.exp(measures[:3]) - 0.5, expected, rtol=0.03)
    np.testing.assert_allclose(again[:3], measures[:3], atol=0.05)
    assert np.exp(again[3]) - 0.5 == pytest.approx(3 * (np.exp(measures[3]) - 0.5), rel=0.05)
    assert 190 < np.exp(measures[4]) <= 200 and measures[6] == pytest.approx(measures[4] - measures[5])
    flat = np.where(np.repeat(RADIUS[:, :, None] < 10, 3, 2), 220, 20).astype(np.uint8)
    assert np.expm1(looks(flat).measures[7]) == pytest.approx(np.pi * 100, rel=0.1)


@pytest.mark.parametrize("level", [0, 30, 255])
def test_the_measures_of_a_flat_picture_are_finite(level: int) -> None:
    assert np.isfinite(looks(np.full((40, 50, 3), level, np.uint8)).measures).all()
