"""Reading FITS images: where the image may stand, how its numbers are stored, and what is filled and flagged."""

import bz2
import gzip
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from attn.core.errors import InputError
from attn.data_adapters.sky.fits import read_fits


@pytest.fixture
def galaxy() -> np.ndarray:
    """(40, 48) float32: unlike along the two axes, so that a transposed read is seen."""
    y, x = np.mgrid[:40, :48]
    noise = np.random.default_rng(0).normal(0, 0.1, (40, 48))
    return (5 * np.exp(-np.hypot(y - 20, (x - 24) / 1.5) / 4) + noise).astype(np.float32)


def write(path: Path, *hdus: fits.hdu.base.ExtensionHDU) -> Path:
    fits.HDUList(list(hdus)).writeto(path)
    return path


@pytest.mark.parametrize("suffix", [".fits", ".fit", ".fts", ".fits.gz", ".fits.bz2"])
def test_plain_and_packed_files_give_the_same_pixels(tmp_path: Path, galaxy: np.ndarray, suffix: str) -> None:
    plain = write(tmp_path / "plain.dat", fits.PrimaryHDU(galaxy)).read_bytes()
    packed = {".gz": gzip.compress, ".bz2": bz2.compress}.get(Path(suffix).suffix, bytes)(plain)
    path = tmp_path / f"x{suffix}"
    path.write_bytes(packed)
    image = read_fits(path)
    np.testing.assert_array_equal(image.data[:, :, 0], galaxy)
    assert image.data.dtype == np.float32
    assert image.flags == ()


@pytest.mark.parametrize("method", ["RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1", "PLIO_1"])
def test_tile_compressed_integers_are_exact(tmp_path: Path, galaxy: np.ndarray, method: str) -> None:
    counts = np.clip(galaxy * 100 + 500, 0, None).astype(np.int16)
    path = write(tmp_path / "x.fits.fz", fits.PrimaryHDU(), fits.CompImageHDU(counts, compression_type=method))
    np.testing.assert_array_equal(read_fits(path).data[:, :, 0], counts)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "int64", ">f4", "<f8"])
def test_every_stored_type_becomes_the_same_numbers(tmp_path: Path, galaxy: np.ndarray, dtype: str) -> None:
    counts = np.clip(galaxy * 20 + 50, 0, 250).astype(dtype)
    path = write(tmp_path / "x.fits", fits.PrimaryHDU(counts))
    np.testing.assert_array_equal(read_fits(path).data[:, :, 0], counts.astype(np.float64))


@pytest.mark.parametrize("compress", [False, True])
def test_bscale_and_bzero_are_applied(tmp_path: Path, compress: bool) -> None:
    stored = np.arange(1200, dtype=np.int16).reshape(30, 40)
    hdu = fits.ImageHDU(stored)
    hdu.header["BSCALE"], hdu.header["BZERO"] = 0.5, 100.0
    path = write(tmp_path / "x.fits", fits.PrimaryHDU(), hdu)
    if compress:
        with fits.open(path, do_not_scale_image_data=True) as hdus:
            packed = fits.CompImageHDU(hdus[1].data, hdus[1].header, compression_type="GZIP_1")
        path = write(tmp_path / "y.fits", fits.PrimaryHDU(), packed)
    with fits.open(path) as hdus:
        expected = hdus[1].data
    np.testing.assert_allclose(read_fits(path).data[:, :, 0], expected)


def test_holes_are_filled_from_their_neighbours_or_the_sky(tmp_path: Path, galaxy: np.ndarray) -> None:
    holed = galaxy + 10
    holed[20, 24] = np.inf  # the saturated core
    holed[:8, :20] = np.nan  # a corner off the detector
    image = read_fits(write(tmp_path / "x.fits", fits.PrimaryHDU(holed)))
    ring = (holed[19:22, 23:26].sum(where=np.isfinite(holed[19:22, 23:26]))) / 8
    assert image.data[20, 24, 0] == pytest.approx(ring, rel=1e-6)
    assert image.data[0, 0, 0] == pytest.approx(10, abs=0.2)
    assert image.flags == ("nan_filled:8%",)
    assert not np.isfinite(holed[20, 24]), "the caller's pixels are not touched"


def test_blank_integers_are_holes(tmp_path: Path, galaxy: np.ndarray) -> None:
    counts = (galaxy * 100).astype(np.int16)
    counts[3, 4] = -999
    hdu = fits.PrimaryHDU(counts)
    hdu.header["BLANK"] = -999
    image = read_fits(write(tmp_path / "x.fits", hdu))
    assert image.flags == ("nan_filled:<1%",)
    assert image.data.min() > -900


def test_a_field_is_refused_before_its_pixels_are_read(tmp_path: Path) -> None:
    path = tmp_path / "field.fits"
    header = fits.PrimaryHDU(np.zeros((8, 8), np.float32)).header
    header["NAXIS1"] = header["NAXIS2"] = 40_000
    with path.open("wb") as stream:
        stream.write(header.tostring().encode())
        stream.truncate(len(header.tostring()) + 40_000**2 * 4 + 2880)  # sparse: 6.4 GB that are not there
    for max_side in (1024, None):
        with pytest.raises(InputError, match=r"40,000 x 40,000 .*--catalog.*--detect"):
            read_fits(path, max_side=max_side)


def test_wcs_is_there_when_the_header_has_one(tmp_path: Path, galaxy: np.ndarray) -> None:
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 20.0})
    header.update({"CRPIX1": 1.0, "CRPIX2": 1.0, "CDELT1": -0.01, "CDELT2": 0.01})
    image = read_fits(write(tmp_path / "x.fits", fits.PrimaryHDU(galaxy, header)))
    assert image.wcs is not None
    np.testing.assert_allclose(np.ravel(image.wcs.to_sky(np.zeros(1), np.zeros(1))), (10, 20))
    assert read_fits(write(tmp_path / "y.fits", fits.PrimaryHDU(galaxy))).wcs is None


def test_bad_checksum_is_flagged(tmp_path: Path, galaxy: np.ndarray) -> None:
    hdu = fits.PrimaryHDU(galaxy)
    hdu.add_checksum()
    path = write(tmp_path / "x.fits", hdu)
    assert read_fits(path).flags == ()
    changed = bytearray(path.read_bytes())
    changed[2880 + 402] ^= 1
    path.write_bytes(bytes(changed))
    assert read_fits(path).flags == ("bad_checksum",)


def test_a_picture_that_was_written_as_fits_is_not_stretched_again(tmp_path: Path) -> None:
    """Whole numbers 0 to 255 in three bands; counts have fractions, reach further or are too faint for a picture."""
    shown = np.random.default_rng(0).integers(0, 200, (3, 40, 40)).astype(np.float32)
    image = read_fits(write(tmp_path / "a.fits", fits.PrimaryHDU(shown)))
    assert image.data.dtype == np.uint8 and "display_levels" in image.flags
    np.testing.assert_array_equal(image.data, np.moveaxis(shown, 0, 2))
    for number, counts in enumerate((shown + 0.25, shown * 2, shown // 8, shown - 1, shown[0])):
        other = read_fits(write(tmp_path / f"{number}.fits", fits.PrimaryHDU(counts)))
        assert other.data.dtype == np.float32 and "display_levels" not in other.flags
