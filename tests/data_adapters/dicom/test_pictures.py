"""Radiographs that are pictures."""

import io
import struct
import time
import zlib
from typing import Any

import numpy as np
import pytest
from dicom_fixtures import picture
from PIL import Image

from attn.core.errors import InputError
from attn.data_adapters.dicom.flags import Flag
from attn.data_adapters.dicom.pictures import read_radiograph_picture
from attn.data_adapters.dicom.radiograph import Radiograph

EIGHT, SIXTEEN = picture(bits=8), picture(bits=16)


def saved(pixels: np.ndarray, form: str, mode: str | None = None, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(buffer, form, **options)
    return buffer.getvalue()


def read(data: bytes) -> Radiograph:
    return read_radiograph_picture(io.BytesIO(data), "x.png")


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize("pixels", [EIGHT, SIXTEEN], ids=["8", "16"])
def test_grey_over_the_whole_range(form: str, pixels: np.ndarray) -> None:
    found = read(saved(pixels, form))
    assert np.abs(found.pixels_hw - pixels / np.iinfo(pixels.dtype).max).max() < 1e-6
    assert found.flags == ((Flag.DEEP,) if pixels.dtype == np.uint16 else ())
    assert found.spacing == (1.0, 1.0) and found.header == {} and found.pixels_hw.dtype == np.float32


@pytest.mark.parametrize("pixels", [EIGHT, SIXTEEN], ids=["8", "16"])
def test_tiff_whose_white_is_zero(pixels: np.ndarray) -> None:
    data = bytearray(saved(pixels, "TIFF"))
    at = data.index(struct.pack("<HHIH", 262, 3, 1, 1))
    data[at + 8] = 0
    assert np.abs(read(bytes(data)).pixels_hw - (1 - pixels / np.iinfo(pixels.dtype).max)).max() < 1e-6


def test_other_modes() -> None:
    jpeg = read(saved(EIGHT, "JPEG", quality=95))
    assert jpeg.flags == (Flag.LOSSY,) and np.abs(jpeg.pixels_hw - EIGHT / 255).max() < 0.05
    colours = np.stack([EIGHT, EIGHT[::-1], EIGHT[:, ::-1]], -1)
    found = read(saved(colours, "PNG"))
    assert found.flags == (Flag.COLOUR,)
    assert np.abs(found.pixels_hw - colours @ np.array([0.299, 0.587, 0.114]) / 255).max() < 1e-6
    assert np.array_equal(read(saved(EIGHT, "PNG", "LA")).pixels_hw, read(saved(EIGHT, "PNG")).pixels_hw)
    with pytest.raises(InputError, match="floating-point"):
        read(saved(EIGHT.astype(np.float32), "TIFF"))


def test_turned_by_its_tag() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn to the right
    assert np.array_equal(read(saved(EIGHT, "PNG", exif=exif)).pixels_hw, np.rot90(EIGHT, -1).astype(np.float32) / 255)


def test_damaged(capfd: Any) -> None:
    lzw = saved(EIGHT, "TIFF", compression="tiff_lzw")
    for data in (saved(EIGHT, "PNG")[:-400], saved(EIGHT, "JPEG")[:-400], lzw[:900]):
        with pytest.raises(InputError, match=r"^x.png: [^\n]+$"):
            read(data)
    assert capfd.readouterr().err == ""


def test_size_that_is_declared() -> None:
    data = bytearray(saved(EIGHT, "PNG"))
    struct.pack_into(">II", data, 16, 30_000, 30_000)
    struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    start = time.process_time()
    with pytest.raises(InputError, match="more pixels than a radiograph"):
        read(bytes(data))
    assert time.process_time() - start < 0.05
