"""Which HDU and which axes of a FITS file are the image."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from attn.core.errors import InputError
from attn.data_adapters.sky.fits import describe_fits, read_fits


@pytest.fixture
def galaxy() -> np.ndarray:
    """(40, 48) float32: unlike along the two axes, so that a transposed read is seen."""
    y, x = np.mgrid[:40, :48]
    noise = np.random.default_rng(0).normal(0, 0.1, (40, 48))
    return (5 * np.exp(-np.hypot(y - 20, (x - 24) / 1.5) / 4) + noise).astype(np.float32)


def write(path: Path, *hdus: fits.hdu.base.ExtensionHDU) -> Path:
    fits.HDUList(list(hdus)).writeto(path)
    return path


def test_degenerate_axes_are_dropped_and_stokes_gives_the_intensity(tmp_path: Path, galaxy: np.ndarray) -> None:
    radio = write(tmp_path / "radio.fits", fits.PrimaryHDU(galaxy[None, None]))
    np.testing.assert_array_equal(read_fits(radio).data[:, :, 0], galaxy)
    hdu = fits.PrimaryHDU(np.stack([galaxy, -galaxy, 0 * galaxy])[:, None])
    hdu.header["CTYPE4"] = "STOKES"
    image = read_fits(write(tmp_path / "iqu.fits", hdu))
    np.testing.assert_array_equal(image.data[:, :, 0], galaxy)
    assert image.flags == ("stokes_I",)


def test_first_usable_image_is_taken_and_said(tmp_path: Path, galaxy: np.ndarray) -> None:
    path = write(
        tmp_path / "x.fits",
        fits.PrimaryHDU(),
        fits.BinTableHDU.from_columns([fits.Column("a", "E", array=np.zeros(3))]),
        fits.ImageHDU(np.zeros((3, 3), np.float32), name="THUMB"),
        fits.ImageHDU(galaxy, name="SCI"),
        fits.ImageHDU(galaxy * 0 + 1, name="ERR"),
        fits.ImageHDU(galaxy.astype(np.int16), name="DQ"),
    )
    image = read_fits(path)
    assert (image.hdu, image.bands) == ("3 (SCI)", ("unknown",))
    np.testing.assert_array_equal(image.data[:, :, 0], galaxy)
    assert image.flags == ("hdu:3 (SCI) of 2 images",)
    assert [row["use"] for row in describe_fits(path)] == ["", "", "", "image", "", ""]


def test_an_hdu_is_chosen_by_number_name_or_version(tmp_path: Path, galaxy: np.ndarray) -> None:
    path = write(
        tmp_path / "x.fits",
        fits.PrimaryHDU(),
        fits.ImageHDU(galaxy, name="SCI", ver=1),
        fits.ImageHDU(2 * galaxy, name="SCI", ver=2),
    )
    for name in (2, "2", "SCI,2", "sci,2"):
        np.testing.assert_array_equal(read_fits(path, hdu=name).data[:, :, 0], 2 * galaxy)
    with pytest.raises(InputError, match=r"no HDU SCI,3.*HDU 1 \(SCI\) image 48 x 40"):
        read_fits(path, hdu="SCI,3")
    with pytest.raises(InputError, match="HDU 0: is empty, not an image"):
        read_fits(path, hdu=0)
