"""From the numbers in a file to values, without losing digits."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from attn.core.errors import InputError
from attn.data_adapters.sky.fits import read_fits
from attn.data_adapters.sky.scaling import scaled
from attn.data_adapters.sky.stretch import Stretch, render

RAW = np.random.default_rng(0).integers(-300, 300, (40, 40)).astype(np.int16)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize(("scale", "zero"), [(1, 0), (0.5, 0), (1, 32768), (0.01, 1e7), (2, -5)])
def test_values_have_the_digits_of_the_file(dtype: type, scale: float, zero: float) -> None:
    raw = RAW.astype(dtype)
    found = scaled(raw, fits.Header({"BSCALE": scale, "BZERO": zero}), "x")
    exact = raw.astype(np.float64) * scale + zero
    assert np.abs(found.astype(np.float64) - exact).max() <= 1e-5 * max(scale, 1) * 300
    if dtype == np.int16 and (scale, zero) in ((1, 0), (1, 32768)):
        assert found.dtype == np.float32


@pytest.mark.parametrize("packed", [False, True])
def test_scaled_and_blank_pixels_of_a_file(tmp_path: Path, packed: bool) -> None:
    values = np.arange(1600, dtype=np.float64).reshape(40, 40) * 0.5 + 100
    hdu = (fits.CompImageHDU if packed else fits.ImageHDU)(values.copy())
    hdu.scale("int16", bscale=0.5, bzero=100)
    hdu.header["BLANK"] = 7
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "x.fits")
    image = read_fits(tmp_path / "x.fits")
    assert image.flags == ("nan_filled:<1%",)
    found = image.data[:, :, 0].ravel()
    np.testing.assert_allclose(np.delete(found, 7), np.delete(values.ravel(), 7), rtol=1e-6)


@pytest.mark.parametrize("kind", ["float64", "int32", "bzero"])
def test_a_galaxy_on_a_sky_of_ten_million_looks_like_one_on_none(tmp_path: Path, kind: str) -> None:
    y, x = np.mgrid[:64, :64]
    galaxy = np.rint(np.random.default_rng(0).normal(0, 3, (64, 64)) + 300 * np.exp(-np.hypot(x - 32, y - 32) / 5))
    raised = {
        "float64": galaxy * 0.01 + 1e7,
        "int32": (galaxy + 1_000_000_000).astype(np.int32),
        "bzero": galaxy.astype(np.int16),
    }[kind]
    hdu = fits.PrimaryHDU(raised)
    if kind == "bzero":
        hdu.header.update(BSCALE=0.01, BZERO=1e7)
    hdu.writeto(tmp_path / "raised.fits")
    fits.PrimaryHDU(galaxy).writeto(tmp_path / "plain.fits")
    raised_pixels, plain = (render(read_fits(tmp_path / f"{n}.fits").data, Stretch())[0] for n in ("raised", "plain"))
    np.testing.assert_allclose(raised_pixels.astype(float), plain, atol=1)


def test_a_number_written_as_a_text_is_read_and_another_text_is_named(tmp_path: Path) -> None:
    hdu = fits.PrimaryHDU(RAW.astype(np.float32))
    hdu.header.update(BSCALE="2.0", BZERO="1")
    hdu.writeto(tmp_path / "x.fits")
    np.testing.assert_array_equal(read_fits(tmp_path / "x.fits").data[:, :, 0], RAW * 2.0 + 1)
    hdu.header.update(BSCALE="linear")
    hdu.writeto(tmp_path / "y.fits")
    with pytest.raises(InputError, match=r"y\.fits, HDU 0: its card BSCALE is 'linear', not a number"):
        read_fits(tmp_path / "y.fits")
