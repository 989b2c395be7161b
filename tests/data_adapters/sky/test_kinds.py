"""Files are read by their first bytes, whatever they are called, and named where they are something else."""

import bz2
import gzip
import io
import lzma
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from attn.core.errors import InputError
from attn.data_adapters.sky.labelled import read_image

GALAXY = np.random.default_rng(0).normal(10, 1, (40, 44)).astype(np.float32)
RGB = np.random.default_rng(0).integers(0, 255, (40, 44, 3), np.uint8)


def content_of(format: str) -> bytes:
    buffer = io.BytesIO()
    if format == "FITS":
        fits.PrimaryHDU(GALAXY).writeto(buffer)
    else:
        Image.fromarray(RGB).save(buffer, format)
    return buffer.getvalue()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF"])
@pytest.mark.parametrize("name", ["cutout", "galaxy.fits", "galaxy.jpg", "x.dat"])
def test_a_picture_may_have_any_name(tmp_path: Path, format: str, name: str) -> None:
    (tmp_path / name).write_bytes(content_of(format))
    (tmp_path / f"as.{format.lower()}").write_bytes(content_of(format))
    np.testing.assert_array_equal(
        read_image(tmp_path / name).pixels, read_image(tmp_path / f"as.{format.lower()}").pixels
    )


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("name", ["cutout", "galaxy.fits", "galaxy.jpg", "galaxy.png"])
def test_a_fits_file_may_have_any_name_and_be_packed(tmp_path: Path, pack: object, name: str) -> None:
    (tmp_path / "plain.fits").write_bytes(content_of("FITS"))
    (tmp_path / name).write_bytes(pack(content_of("FITS")))  # type: ignore[operator]
    np.testing.assert_array_equal(read_image(tmp_path / name).pixels, read_image(tmp_path / "plain.fits").pixels)


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"\x1f\x9d\x90", "packed with compress (.Z), not a FITS file: it does not start with SIMPLE; unpack it first"),
        (b"PK\x03\x04", "a zip archive, not a FITS file: it does not start with SIMPLE; unpack it first"),
        (b"\x89HDF\r\n", "an HDF5 file, not a FITS file"),
        (b"\x93NUMPY\x01", "a NumPy array, not a FITS file"),
        (b"<?xml version='1.0'?>\n<VOTABLE>", "a VOTable, not a FITS file"),
        (b"<!DOCTYPE html>", "a web page, not a FITS file"),
        (b"id,ra,dec\n1,2,3\n", "a text file, not a FITS file"),
        (b"\x00\x01\x02", "not a FITS file"),
        (b"XTENSION= 'IMAGE", "an extension of a FITS file without its beginning"),
    ],
)
def test_what_is_no_image_is_named(tmp_path: Path, start: bytes, words: str) -> None:
    (tmp_path / "x.fits").write_bytes(start + bytes(100))
    if words != "a text file, not a FITS file":
        with pytest.raises(InputError) as caught:
            read_image(tmp_path / "x.fits")
        assert f"x.fits: {words}" in str(caught.value)
    (tmp_path / "y.fits").write_bytes(start * 20)
    with pytest.raises(InputError):
        read_image(tmp_path / "y.fits")


def test_a_page_called_a_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"<html><body>404</body></html>")
    with pytest.raises(InputError, match=r"x\.jpg: a web page, not a picture"):
        read_image(tmp_path / "x.jpg")


def test_a_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.fits").write_text("id,ra,dec\n1,2,3\n")
    with pytest.raises(InputError, match=r"x\.fits: a text file, not a FITS file"):
        read_image(tmp_path / "x.fits")
