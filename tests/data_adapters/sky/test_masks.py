"""The masks that a file brings are applied, by what their bits mean."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from attn.data_adapters.sky.cutouts import catalog_cutouts
from attn.data_adapters.sky.fits import read_fits
from attn.data_adapters.sky.stretch import Stretch

BAD = (slice(None), slice(10, 14))


@pytest.fixture
def galaxy() -> np.ndarray:
    """(48, 64) float32 with bad columns of up to 5000."""
    y, x = np.mgrid[:48, :64]
    image = np.random.default_rng(0).normal(10, 1, (48, 64)) + 100 * np.exp(-np.hypot(x - 32, y - 24) / 5)
    image[BAD] = np.random.default_rng(1).uniform(200, 5000, (48, 4))
    return image.astype(np.float32)


def write(path: Path, image: np.ndarray, mask: np.ndarray, name: str = "DQ", **cards: object) -> Path:
    primary = fits.PrimaryHDU()
    primary.header.update(cards)
    parts = [fits.ImageHDU(image, name="SCI"), fits.ImageHDU(mask, name=name)]
    fits.HDUList([primary, *parts]).writeto(path)
    return path


def mask_of(value: int, shape: tuple[int, int] = (48, 64), dtype: type = np.int16) -> np.ndarray:
    mask = np.zeros(shape, dtype)
    mask[BAD] = value
    return mask


@pytest.mark.parametrize("name", ["DQ", "MASK", "BPM", "SCI_MASK", "CRMASK"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_masked_pixels_are_filled_as_missing_ones(tmp_path: Path, galaxy: np.ndarray, name: str, dtype: type) -> None:
    image = read_fits(write(tmp_path / "x.fits", galaxy, mask_of(4, dtype=dtype), name))
    assert image.flags == (f"mask:{name}", "nan_filled:6%")
    assert image.data.max() < 150
    np.testing.assert_array_equal(np.delete(image.data[:, :, 0], np.r_[10:14], 1), np.delete(galaxy, np.r_[10:14], 1))


@pytest.mark.parametrize(
    ("telescope", "value", "applied"),
    [("JWST", 4, False), ("JWST", 5, True), ("HST", 64, False), ("HST", 4096, True), ("CTIO", 64, True)],
)
def test_bits_mean_what_the_telescope_says(
    tmp_path: Path, galaxy: np.ndarray, telescope: str, value: int, applied: bool
) -> None:
    image = read_fits(write(tmp_path / "x.fits", galaxy, mask_of(value), TELESCOP=telescope))
    assert ("mask:DQ" in image.flags) == applied == (image.data.max() < 150)


def test_the_rubin_pipelines_name_their_bits(tmp_path: Path, galaxy: np.ndarray) -> None:
    mask = mask_of(1)
    mask[14:34, 20:44] |= 32  # detected: the galaxy itself
    path = write(tmp_path / "x.fits", galaxy, mask, "MASK")
    with fits.open(path, mode="update") as hdus:
        hdus[2].header.update({"MP_BAD": 0, "HIERARCH MP_DETECTED": 5})
    image = read_fits(path)
    assert image.flags == ("mask:MASK", "nan_filled:6%") and 90 < image.data.max() < 150


def test_a_mask_that_hides_the_galaxy_is_not_applied(tmp_path: Path, galaxy: np.ndarray) -> None:
    detected = np.zeros((48, 64), np.uint8)
    detected[10:38, 14:50] = 1
    image = read_fits(write(tmp_path / "x.fits", galaxy, detected, "MASK"))
    assert image.flags == ("mask_ignored",)
    np.testing.assert_array_equal(image.data[:, :, 0], galaxy)


def test_each_exposure_has_its_mask_and_a_cube_may_have_one_for_all(tmp_path: Path, galaxy: np.ndarray) -> None:
    parts = [
        fits.ImageHDU(data, name=name, ver=ver)
        for ver, value in ((1, 0), (2, 1))
        for name, data in (("SCI", galaxy), ("DQ", mask_of(value)))
    ]
    fits.HDUList([fits.PrimaryHDU(), *parts]).writeto(tmp_path / "x.fits")
    assert read_fits(tmp_path / "x.fits", hdu="SCI,1").data.max() > 4000
    assert read_fits(tmp_path / "x.fits", hdu="SCI,2").data.max() < 150
    cube = read_fits(write(tmp_path / "y.fits", np.stack([galaxy] * 3), mask_of(1)))
    assert cube.data.shape == (48, 64, 3) and cube.data.max() < 150
    each = np.stack([mask_of(1), mask_of(0), mask_of(1)])
    cube = read_fits(write(tmp_path / "z.fits", np.stack([galaxy] * 3), each))
    assert [float(cube.data[:, :, k].max()) < 150 for k in range(3)] == [True, False, True]


def test_cut_outs_are_masked_too(tmp_path: Path, galaxy: np.ndarray) -> None:
    path = write(tmp_path / "x.fits", galaxy, mask_of(1))
    (tmp_path / "c.csv").write_text("id,x,y,size\n1,20,24,32\n2,44,24,32\n")
    first, second = catalog_cutouts(path, tmp_path / "c.csv", Stretch())
    assert "mask:DQ" in first.flags and "mask:DQ" not in second.flags  # type: ignore[union-attr]


def test_the_mask_of_a_cube_is_not_that_of_the_image_beside_it(tmp_path: Path, galaxy: np.ndarray) -> None:
    image = read_fits(write(tmp_path / "x.fits", galaxy, np.repeat(mask_of(1)[None], 5, 0), "MASK"))
    assert image.flags == ()
    np.testing.assert_array_equal(image.data[:, :, 0], galaxy)
