"""Which planes become red, green and blue."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from attn.core.errors import InputError
from attn.data_adapters.sky.band_names import wavelength
from attn.data_adapters.sky.bands import Band, all_known, display_order
from attn.data_adapters.sky.fits import read_fits

PLANES = np.random.default_rng(1).normal(size=(5, 20, 24)).astype(np.float32)


def save(path: Path, *hdus: fits.hdu.base.ExtensionHDU) -> Path:
    fits.HDUList(list(hdus)).writeto(path)
    return path


def hwc(*planes: int) -> np.ndarray:
    return np.stack([PLANES[k] for k in planes], axis=2)


def bands(names: Iterable[str]) -> list[Band]:
    return [Band(name, wavelength(name)) for name in names]


def test_bands_are_told_apart() -> None:
    assert all_known(bands(["g", "r"]))
    assert not all_known(bands(["g", "SDSS g"])) and not all_known(bands(["g", "?"]))


def test_order_of_display() -> None:
    assert display_order(bands("gri"), "") == ([2, 1, 0], ())
    assert display_order(bands("ugriz"), "") == ([3, 2, 1], ("bands_used:i,r,g",))
    assert display_order(bands(["J", "H", "Ks", "W1"]), "") == ([3, 1, 0], ("bands_used:W1,H,J",))
    assert display_order(bands("123"), "") == ([0, 1, 2], ("band_order_assumed",))
    assert display_order(bands("123"), "", bluest_first=True) == ([2, 1, 0], ("band_order_assumed",))
    with pytest.raises(InputError, match="4 planes without band names"):
        display_order(bands("1234"), "x")


@pytest.mark.parametrize("first", [True, False])
def test_the_band_axis_of_a_cube_may_stand_first_or_last(tmp_path: Path, first: bool) -> None:
    cube = PLANES[:3] if first else np.moveaxis(PLANES[:3], 0, 2)
    image = read_fits(save(tmp_path / "x.fits", fits.PrimaryHDU(cube)))
    np.testing.assert_array_equal(image.data, hwc(0, 1, 2))
    assert image.flags[0] == "band_order_assumed"


def test_a_cube_that_names_its_planes(tmp_path: Path) -> None:
    hdu = fits.PrimaryHDU(PLANES)
    hdu.header.update({f"BAND{k + 1}": band for k, band in enumerate("ugriz")})
    image = read_fits(save(tmp_path / "x.fits", hdu))
    np.testing.assert_array_equal(image.data, hwc(3, 2, 1))
    assert image.bands == ("i", "r", "g") and "bands_used:i,r,g" in image.flags


@pytest.mark.parametrize("by", ["EXTNAME", "FILTER"])
def test_extensions_named_after_bands_are_one_image(tmp_path: Path, by: str) -> None:
    parts = [fits.ImageHDU(PLANES[k]) for k in range(3)]
    for part, band in zip(parts, "gri", strict=True):
        part.header[by] = band
    image = read_fits(save(tmp_path / "x.fits", fits.PrimaryHDU(), *parts))
    np.testing.assert_array_equal(image.data, hwc(2, 1, 0))
    assert (image.bands, image.hdu) == (("i", "r", "g"), "1+2+3")


def test_exposures_and_their_errors_are_not_bands(tmp_path: Path) -> None:
    parts = [fits.ImageHDU(PLANES[k], name=name) for k, name in enumerate(["SCI", "ERR", "DQ"])]
    primary = fits.PrimaryHDU()
    primary.header["FILTER"] = "r"  # one filter for all of them
    image = read_fits(save(tmp_path / "x.fits", primary, *parts))
    np.testing.assert_array_equal(image.data, hwc(0))
    assert image.bands == ("r",)


def test_extensions_asked_for_are_bands_listed_bluest_first_as_files_are(tmp_path: Path) -> None:
    parts = [fits.ImageHDU(PLANES[k], name=name) for k, name in enumerate(["A", "P", "C"])]
    path = save(tmp_path / "x.fits", fits.PrimaryHDU(), *parts)
    image = read_fits(path, hdu="C+A+P")
    np.testing.assert_array_equal(image.data, hwc(1, 0, 2))
    assert image.flags[0] == "band_order_assumed"
    with pytest.raises(InputError, match="2 planes without band names"):
        read_fits(path, hdu="A+P")


def test_eight_bit_cubes_are_display_values(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (3, 20, 24)).astype(np.uint8)
    image = read_fits(save(tmp_path / "x.fits", fits.PrimaryHDU(rgb)))
    assert image.data.dtype == np.uint8
    np.testing.assert_array_equal(image.data, np.moveaxis(rgb, 0, 2))
