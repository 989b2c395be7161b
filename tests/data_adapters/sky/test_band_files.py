"""One image from one file per band, on the same pixels of the sky."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from attn.core.errors import InputError
from attn.data_adapters.sky.band_files import read_bands

WCS = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 24.0, "CRPIX2": 20.0,
    "CDELT1": -1e-4, "CDELT2": 1e-4,
}  # fmt: skip


@pytest.fixture
def galaxy() -> np.ndarray:
    """(40, 48) float32: unlike along the two axes, so that a transposed read is seen."""
    y, x = np.mgrid[:40, :48]
    noise = np.random.default_rng(0).normal(0, 0.1, (40, 48))
    return (5 * np.exp(-np.hypot(y - 20, (x - 24) / 1.5) / 4) + noise).astype(np.float32)


def write(path: Path, hdu: fits.PrimaryHDU, **cards: object) -> Path:
    hdu.header.update(cards)
    hdu.writeto(path)
    return path


def test_one_file_per_band_in_any_order(tmp_path: Path, galaxy: np.ndarray) -> None:
    paths = []
    for k, band in enumerate("gri"):
        hdu = fits.PrimaryHDU(galaxy + k)
        hdu.header["FILTER"] = f"SDSS {band}"
        paths.append(write(tmp_path / f"{k}.fits", hdu))
    for order in ([0, 1, 2], [2, 0, 1]):
        image = read_bands([paths[k] for k in order])
        assert image.bands == ("SDSS i", "SDSS r", "SDSS g")
        np.testing.assert_array_equal(image.data, np.stack([galaxy + 2, galaxy + 1, galaxy], axis=2))
        assert image.flags == ()


def test_bands_by_file_name_else_bluest_first(tmp_path: Path, galaxy: np.ndarray) -> None:
    named = [write(tmp_path / f"ngc_{band}.fits", fits.PrimaryHDU(galaxy + k)) for k, band in enumerate("rgi")]
    assert read_bands(named).bands == ("i", "r", "g")
    unnamed = [write(tmp_path / f"{k}.fits", fits.PrimaryHDU(galaxy + k)) for k in range(3)]
    image = read_bands(unnamed)
    assert image.flags == ("band_order_assumed",)
    np.testing.assert_array_equal(image.data[:, :, 0], galaxy + 2)


def test_bands_of_different_shape_are_refused(tmp_path: Path, galaxy: np.ndarray) -> None:
    a = write(tmp_path / "g.fits", fits.PrimaryHDU(galaxy))
    b = write(tmp_path / "r.fits", fits.PrimaryHDU(galaxy[:-1]))
    with pytest.raises(InputError, match=r"r\.fits: has 48 x 39 pixels, but .*g\.fits has 48 x 40"):
        read_bands([a, b])


def test_files_that_are_shifted_by_whole_pixels_are_laid_on_each_other(tmp_path: Path, galaxy: np.ndarray) -> None:
    """The second file begins 3 columns to the right and 2 rows lower, and is larger."""
    wide = np.pad(galaxy, 5, mode="edge")
    moved = wide[5 - 2 : 5 - 2 + 42, 5 + 3 : 5 + 3 + 45]
    g = write(tmp_path / "g.fits", fits.PrimaryHDU(galaxy), **WCS)
    r = write(tmp_path / "r.fits", fits.PrimaryHDU(moved), **{**WCS, "CRPIX1": 21.0, "CRPIX2": 22.0})
    image = read_bands([g, r])
    assert image.flags == ("shifted:3,-2",) and image.bands == ("r", "g")
    np.testing.assert_array_equal(image.data[:, 3:, 0], galaxy[:, 3:])
    np.testing.assert_array_equal(image.data[:, :, 1], galaxy)


@pytest.mark.parametrize(
    ("cards", "said"),
    [
        ({"CRVAL1": 150.5}, "shows another part of the sky than"),
        ({"CDELT1": -1.2e-4}, "is turned or scaled against"),
        ({"CDELT1": 1e-4}, "is turned or scaled against"),
        ({"PC1_1": 0.0, "PC1_2": 1.0, "PC2_1": -1.0, "PC2_2": 0.0}, "is turned or scaled against"),
    ],
)
def test_files_of_other_pixels_are_refused(
    tmp_path: Path, galaxy: np.ndarray, cards: dict[str, float], said: str
) -> None:
    g = write(tmp_path / "g.fits", fits.PrimaryHDU(galaxy), **WCS)
    r = write(tmp_path / "r.fits", fits.PrimaryHDU(galaxy), **{**WCS, **cards})
    with pytest.raises(InputError, match=rf"r\.fits: {said} .*g\.fits"):
        read_bands([g, r])


def test_half_a_pixel_is_no_shift_and_a_file_without_coordinates_has_a_flag(tmp_path: Path, galaxy: np.ndarray) -> None:
    g = write(tmp_path / "g.fits", fits.PrimaryHDU(galaxy), **WCS)
    r = write(tmp_path / "r.fits", fits.PrimaryHDU(galaxy), **{**WCS, "CRPIX1": 24.3})
    assert read_bands([g, r]).flags == ()
    i = write(tmp_path / "i.fits", fits.PrimaryHDU(galaxy))
    assert read_bands([g, r, i]).flags == ("wcs_not_compared",)


def test_a_part_of_a_files_name_is_not_taken_for_another_band(tmp_path: Path, galaxy: np.ndarray) -> None:
    names = ("x_H-alpha.fits", "x_W-J-B.fits", "x_N-B-L816.fits")
    paths = [write(tmp_path / name, fits.PrimaryHDU(galaxy + k)) for k, name in enumerate(names)]
    image = read_bands(paths)
    assert image.flags == ()
    np.testing.assert_array_equal(image.data, np.stack([galaxy + 2, galaxy, galaxy + 1], axis=2))
