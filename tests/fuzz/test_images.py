"""Damaged pictures of every format that is read."""

import io
from pathlib import Path

import numpy as np
import pytest
from fuzz.mutate import fuzz, mutants
from PIL import Image

from attn.data_adapters.images.pictures import read_picture

COLOURS = np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)


def saved(format: str, mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    grey = {"I;16": np.uint16, "F": np.float32, "I": np.int32}
    picture = Image.fromarray(COLOURS[:, :, 0].astype(grey[mode])) if mode in grey else Image.fromarray(COLOURS)
    (picture if mode in grey else picture.convert(mode)).save(buffer, format, **options)
    return buffer.getvalue()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a galaxy"
    return saved("JPEG", exif=exif.tobytes())


def pictures() -> dict[str, list[bytes]]:
    more = [Image.fromarray(255 - COLOURS), Image.fromarray(COLOURS // 2)]
    packings = ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd", "lzma")
    return {
        "jpeg": [saved("JPEG"), turned(), saved("JPEG", "L"), saved("JPEG", "CMYK"), saved("JPEG", progressive=True)],
        "png": [saved("PNG"), saved("PNG", "P"), saved("PNG", "RGBA"), saved("PNG", "I;16"), saved("PNG", "1")],
        "tiff": [*(saved("TIFF", compression=kind) for kind in packings), saved("TIFF", "F"), saved("TIFF", "I;16")],
        "webp": [saved("WEBP"), saved("WEBP", "RGBA", lossless=True), saved("WEBP", save_all=True, append_images=more)],
        "bmp": [saved("BMP"), saved("BMP", "P"), saved("BMP", "1"), saved("BMP", "RGBA")],
        "gif": [saved("GIF"), saved("GIF", save_all=True, append_images=more, transparency=0)],
    }


@pytest.mark.parametrize("format", pictures())
def test_pictures(tmp_path: Path, format: str, fuzz_count: int) -> None:
    path = tmp_path / f"x.{format}"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        assert read_picture(path).dtype == np.uint8

    seeds = pictures()
    outcomes = fuzz(read, mutants(seeds[format], fuzz_count // len(seeds), format))
    assert outcomes["read"] and outcomes["InputError"]
