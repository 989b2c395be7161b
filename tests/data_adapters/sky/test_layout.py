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
        fits.ImageHDU(galaxy.astype(np.int16) * 0, name="DQ"),
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


@pytest.mark.parametrize(
    "cards",
    [
        {"EXTNAME": "WHT"},
        {"EXTNAME": "RMSMAP"},
        {"EXTNAME": "VAR2"},
        {"EXTNAME": "SCI_ERR"},
        {"EXTNAME": "INVVAR-R"},
        {"IMTYPE": "invvar"},
        {"HDUCLAS2": "ERROR"},
    ],
)
def test_a_map_of_weights_or_errors_is_read_only_when_it_is_asked_for(
    tmp_path: Path, galaxy: np.ndarray, cards: dict[str, str]
) -> None:
    other = fits.ImageHDU(1 - galaxy)
    other.header.update(cards)
    path = write(tmp_path / "both.fits", fits.PrimaryHDU(), other, fits.ImageHDU(galaxy))
    image = read_fits(path)
    assert image.flags == ()
    np.testing.assert_array_equal(image.data[:, :, 0], galaxy)
    alone = write(tmp_path / "alone.fits", fits.PrimaryHDU(), other)
    with pytest.raises(InputError, match="no science image in it, only other maps"):
        read_fits(alone)
    np.testing.assert_array_equal(read_fits(alone, hdu=1).data[:, :, 0], 1 - galaxy)


def test_images_of_bands_in_a_file_of_many_maps(tmp_path: Path, galaxy: np.ndarray) -> None:
    """The layout of MaNGA: a spectral cube, images of the bands in it, and their point spread functions."""
    parts = [fits.ImageHDU(galaxy + k, name=f"{band}IMG") for k, band in enumerate("GRIZ")]
    psfs = [fits.ImageHDU(galaxy * 0, name=f"{band}PSF") for band in "GRIZ"]
    cube = fits.ImageHDU(np.zeros((9, 12, 12), np.float32), name="FLUX")
    path = write(tmp_path / "x.fits", fits.PrimaryHDU(), cube, *parts, *psfs)
    for hdu in ("GIMG+RIMG+IIMG", None):
        image = read_fits(path, hdu=hdu)
        assert image.bands == ("IIMG", "RIMG", "GIMG")
        assert image.flags == (() if hdu else ("bands_used:IIMG,RIMG,GIMG",))
        np.testing.assert_array_equal(image.data[:, :, 0], galaxy + 2)


@pytest.mark.parametrize("name", ["coadd.weight.fits", "x_drz_wht.fits", "legacysurvey-0001-invvar-r.fits"])
def test_a_map_by_its_files_name_is_no_image(tmp_path: Path, galaxy: np.ndarray, name: str) -> None:
    path = write(tmp_path / name, fits.PrimaryHDU(galaxy))
    with pytest.raises(InputError, match=r"its name says that it is a map .* or name the map with --hdu"):
        read_fits(path)
    np.testing.assert_array_equal(read_fits(path, hdu=0).data[:, :, 0], galaxy)
    both = write(tmp_path / f"all_{name}", fits.PrimaryHDU(galaxy), fits.ImageHDU(0 * galaxy, name="WHT"))
    np.testing.assert_array_equal(read_fits(both).data[:, :, 0], galaxy)
