"""Files that cannot be read give one sentence: what, where, what to do. No traceback, no warning."""

import os
import random
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from attn.core.errors import InputError
from attn.data_adapters.sky.fits import describe_fits, read_fits
from attn.data_adapters.sky.stretch import Stretch, render

PIXELS = np.random.default_rng(2).normal(size=(64, 64)).astype(np.float32)


def fits_bytes(*hdus: fits.hdu.base.ExtensionHDU, tmp_path: Path) -> bytes:
    path = tmp_path / "good.fits"
    fits.HDUList(list(hdus) or [fits.PrimaryHDU(PIXELS)]).writeto(path, overwrite=True)
    return path.read_bytes()


def reason(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_fits(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and len(message) < 900
    return message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty (0 bytes)"),
        (b"<!DOCTYPE html><html>login</html>", "a web page, not a FITS file"),
        (b"  <html><body>404</body></html>", "a web page"),
        (b"hello", "not a FITS file"),
        (b"\x1f\x8b\x08\x00broken gzip", "cannot be unpacked"),
        (b"SIMPLE  =                    T", "cannot be opened as FITS"),
    ],
)
def test_what_is_not_fits(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "x.fits"
    path.write_bytes(content)
    assert said in reason(path)


def test_a_folder_and_a_missing_file(tmp_path: Path) -> None:
    assert "is a folder" in reason(tmp_path)
    assert "no such file" in reason(tmp_path / "absent.fits")
    assert "cannot be opened" in reason(tmp_path / ("x" * 300 + ".fits"))
    os.mkfifo(tmp_path / "pipe.fits")
    assert "a device or a pipe" in reason(tmp_path / "pipe.fits")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_without_read_permission(tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    path.write_bytes(fits_bytes(tmp_path=tmp_path))
    path.chmod(0)
    assert "no permission to read it" in reason(path)


@pytest.mark.parametrize(
    ("hdu", "said"),
    [
        (fits.PrimaryHDU(), "no image in it: HDU 0 empty"),
        (fits.PrimaryHDU(np.zeros((7, 10, 11), np.float32)), "image 11 x 10 x 7 is a cube whose planes are not three"),
        (fits.PrimaryHDU(np.zeros((64, 64), np.float32)), "every pixel is 0"),
        (fits.PrimaryHDU(np.full((64, 64), np.nan, np.float32)), "no pixel has a value"),
        (fits.PrimaryHDU(np.zeros((5, 60), np.float32)), "60 x 5 pixels are too few"),
        (fits.PrimaryHDU(np.zeros(100, np.float32)), "a row of values, not a picture"),
        (fits.PrimaryHDU(np.zeros((0, 5), np.float32)), "has no pixels"),
    ],
)
def test_images_without_a_galaxy_to_see(tmp_path: Path, hdu: fits.PrimaryHDU, said: str) -> None:
    path = tmp_path / "x.fits"
    path.write_bytes(fits_bytes(hdu, tmp_path=tmp_path))
    assert said in reason(path)


def test_a_truncated_file_says_how_much_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    path.write_bytes(fits_bytes(tmp_path=tmp_path)[:9000])
    assert "truncated: the file ends at byte 9,000" in reason(path)


def test_missing_padding_loses_no_pixel(tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    path.write_bytes(fits_bytes(tmp_path=tmp_path)[: 2880 + 64 * 64 * 4])
    image = read_fits(path)
    np.testing.assert_array_equal(image.data[:, :, 0], PIXELS)
    assert "truncated" in image.flags


@pytest.mark.parametrize("card", ["NAXIS", "NAXIS1"])
def test_a_billion_declared_is_refused_at_once(tmp_path: Path, card: str) -> None:
    content = fits_bytes(tmp_path=tmp_path)
    at = content.index(f"{card:8}=".encode())
    path = tmp_path / "x.fits"
    path.write_bytes(content[:at] + f"{card:8}= {1_000_000_000:20}".encode() + content[at + 30 :])
    assert "1,000,000,000" in reason(path) or "truncated" in reason(path)


@pytest.mark.parametrize("number", ["9" * 19, "9" * 60])
@pytest.mark.parametrize("card", ["NAXIS", "NAXIS1", "NAXIS2", "PCOUNT"])
def test_numbers_of_any_length_are_seen(tmp_path: Path, card: str, number: str) -> None:
    """astropy would count to them."""
    content = fits_bytes(tmp_path=tmp_path)
    at = content.index(f"{card if card != 'PCOUNT' else 'NAXIS2':8}=".encode())
    path = tmp_path / "x.fits"
    path.write_bytes(content[:at] + f"{card:8}= {number}".ljust(80).encode() + content[at + 80 :])
    start = time.process_time()
    assert "x.fits" in reason(path)
    assert time.process_time() - start < 2


def test_impossible_tile_compression_does_not_reach_the_decoder(tmp_path: Path) -> None:
    content = fits_bytes(fits.PrimaryHDU(), fits.CompImageHDU(PIXELS), tmp_path=tmp_path)
    at = content.index(b"ZVAL2   =")
    path = tmp_path / "x.fits"
    path.write_bytes(content[:at] + f"ZVAL2   = {1_000_000_000:20}".encode() + content[at + 30 :])
    assert "tile compression has impossible settings" in reason(path)


def test_flipped_bytes_end_in_an_image_or_a_sentence(tmp_path: Path) -> None:
    rng = random.Random(0)
    good = fits_bytes(fits.PrimaryHDU(), fits.CompImageHDU(PIXELS), fits.ImageHDU(PIXELS), tmp_path=tmp_path)
    path = tmp_path / "x.fits"
    for _ in range(60):
        content = bytearray(good)
        for _ in range(rng.choice([1, 3, 20])):
            content[rng.randrange(9000)] = rng.randrange(32, 127)
        path.write_bytes(bytes(content))
        for read in (lambda: render(read_fits(path).data, Stretch()), lambda: describe_fits(path)):
            try:
                read()
            except InputError as error:
                assert "\n" not in str(error)


@pytest.mark.real_data
def test_every_file_of_the_collection_is_an_image_or_a_sentence(data_dir: Path) -> None:
    read, refused = set(), {}
    for path in sorted((data_dir / "galaxy" / "fits").iterdir()):
        try:
            image = read_fits(path)
        except InputError as error:
            refused[path.name] = str(error)
            continue
        pixels, _ = render(image.data, Stretch())
        assert np.isfinite(image.data).all() and pixels.std() > 0, path.name
        read.add(path.name)
    assert {name.split(".")[0] for name in refused} == {
        "astropy_arange",
        "astropy_blank",
        "astropy_double_ext",
        "astropy_fixed-1890",
        "astropy_group",
        "astropy_random_groups",
        "astropy_table",
        "astropy_tb",
        "astropy_variable_length_table",
        "sip_headeronly",
    }
    assert len(read) + len(refused) == 37
    for image in ("m51_photutils.fits", "derived_r.fits.fz", "compressed_with_nan.fits", "horsehead_int16.fits"):
        assert image in read
