"""Sources are found where they are, once each, also across the borders of tiles."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from attn.core.errors import InputError
from attn.data_adapters.images.cutout import Cutout
from attn.data_adapters.sky import detect
from attn.data_adapters.sky.detect import Detection, detected_cutouts, find_sources
from attn.data_adapters.sky.source import open_sky
from attn.data_adapters.sky.stretch import Stretch

PLACES = np.array([[60, 50], [128, 128], [200, 127], [129, 220], [40, 200], [220, 40]])  # x, y


@pytest.fixture
def image(tmp_path: Path) -> Path:
    y, x = np.mgrid[:256, :256]
    pixels = np.random.default_rng(0).normal(100, 2, (256, 256)) + 0.05 * x  # a sky with a slope
    for px, py in PLACES:
        pixels += 60 * np.exp(-np.hypot(x - px, y - py) / 4)
    fits.PrimaryHDU(pixels.astype(np.int16)).writeto(tmp_path / "field.fits")
    return tmp_path / "field.fits"


@pytest.mark.parametrize("tile", [2048, 128])
def test_each_source_once(image: Path, tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detect, "TILE", tile)
    monkeypatch.setattr(detect, "OVERLAP", 32)
    with open_sky(image) as source:
        found = [(x, y) for rows in find_sources(source, Detection()) for x, y in zip(rows.x, rows.y, strict=True)]
    assert len(found) == len(PLACES)
    for px, py in PLACES:
        assert min(np.hypot(x - px, y - py) for x, y in found) < 1


def test_cutouts_have_the_source_in_the_middle_and_a_fitting_size(image: Path) -> None:
    cutouts = list(detected_cutouts(image, Stretch()))
    assert all(isinstance(cutout, Cutout) for cutout in cutouts)
    for cutout in cutouts:
        side = len(cutout.pixels)
        assert detect.SMALLEST <= side <= 80
        middle = cutout.pixels[side // 2 - 2 : side // 2 + 3, side // 2 - 2 : side // 2 + 3]
        assert middle.max() == cutout.pixels[side // 4 : -side // 4, side // 4 : -side // 4].max()
    assert len({cutout.id for cutout in cutouts}) == len(PLACES)


def test_an_empty_sky_says_so(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 1, (200, 200)).astype(np.float32)
    noise[:50] = np.nan
    fits.PrimaryHDU(noise).writeto(tmp_path / "x.fits")
    with pytest.raises(InputError, match="no sources stand out"):
        list(detected_cutouts(tmp_path / "x.fits", Stretch()))


@pytest.mark.parametrize("value", [3.4e38, 1e30, 1e20, -3.4e38])
@pytest.mark.parametrize("share", [0.001, 0.2, 1.0])
def test_the_largest_numbers_do_not_crash_the_search(tmp_path: Path, value: float, share: float) -> None:
    dice = np.random.default_rng(0)
    noise = dice.normal(0, 1, (128, 128)).astype(np.float32)
    damaged = dice.random((128, 128)) < share
    noise[damaged] = value * dice.uniform(-1, 1, int(damaged.sum()))
    fits.PrimaryHDU(noise).writeto(tmp_path / "x.fits")
    with open_sky(tmp_path / "x.fits") as source:
        for rows in find_sources(source, Detection()):
            assert np.isfinite(rows.size).all()


@pytest.mark.real_data
def test_a_crowded_field_does_not_overflow(data_dir: Path) -> None:
    found = list(detected_cutouts(data_dir / "galaxy/fits/m13_rice.fits", Stretch()))
    assert len(found) > 100


def test_what_counts_as_a_source_can_be_chosen(image: Path) -> None:
    def places(**how: float) -> int:
        with open_sky(image) as source:
            return sum(len(rows) for rows in find_sources(source, Detection(**how)))  # type: ignore[arg-type]

    assert places() == len(PLACES)
    assert places(threshold=1000) == 0
    assert places(min_area=5000) == 0


def stars_and_galaxies(rng: np.random.Generator, stars: int) -> tuple[np.ndarray, np.ndarray]:
    """An image (400, 400), and the places (x, y) of its six galaxies. Stars of all magnitudes have one width."""
    y, x = np.mgrid[:400, :400]
    pixels = rng.normal(100, 1, (400, 400))
    places = np.array([[60, 60], [200, 60], [340, 60], [60, 340], [200, 340], [340, 340]])
    for px, py in places:
        pixels += 40 * np.exp(-np.hypot(x - px, (y - py) * rng.uniform(1, 2)) / rng.uniform(4, 7))
    for k in range(stars):
        px, py = 30 + 40 * (k % 9) + rng.uniform(-3, 3), 140 + 40 * (k // 9) + rng.uniform(-3, 3)
        pixels += 10 ** rng.uniform(1.8, 3.5) * np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 1.6**2))
    return pixels.astype(np.float32), places


def test_stars_are_told_from_galaxies_by_their_size(tmp_path: Path) -> None:
    pixels, places = stars_and_galaxies(np.random.default_rng(1), 18)
    fits.PrimaryHDU(pixels).writeto(tmp_path / "field.fits")
    found = list(detected_cutouts(tmp_path / "field.fits", Stretch()))
    near = [min(np.hypot(*(np.array([c.values["x"], c.values["y"]]) - place)) for place in places) < 3 for c in found]
    assert (len(found), sum(near)) == (24, 6)
    assert [cutout.values["star"] for cutout in found] == [0.0 if galaxy else 1.0 for galaxy in near]
    sizes = [cutout.values["half_light"] for cutout in found if cutout.values["star"]]
    np.testing.assert_allclose(sizes, 1.6 * np.sqrt(2 * np.log(2)), rtol=0.1)  # of a Gaussian
    kept = list(detected_cutouts(tmp_path / "field.fits", Stretch(), detection=Detection(stars=False)))
    assert [c.id for c in kept] == [c.id for c, galaxy in zip(found, near, strict=True) if galaxy]


def test_without_several_stars_nothing_is_called_one(tmp_path: Path) -> None:
    pixels, places = stars_and_galaxies(np.random.default_rng(1), 2)
    fits.PrimaryHDU(pixels).writeto(tmp_path / "field.fits")
    found = list(detected_cutouts(tmp_path / "field.fits", Stretch(), detection=Detection(stars=False)))
    assert len(found) == len(places) + 2
    assert np.isnan([cutout.values["star"] for cutout in found]).all()
