"""Reading pictures: every mode becomes RGB, EXIF turns them upright, bombs and broken files are refused."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attn.core.errors import InputError
from attn.data_adapters.images import pictures
from attn.data_adapters.images.heif import formats
from attn.data_adapters.images.pictures import MAX_PIXELS, open_picture, read_picture

RGB = np.random.default_rng(0).integers(0, 256, (24, 30, 3), dtype=np.uint8)
GREY = RGB[:, :, 0]


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "webp"])
def test_lossless_formats_are_exact(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(RGB).save(path, **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(read_picture(path), RGB)


def test_jpeg(tmp_path: Path) -> None:
    smooth = np.broadcast_to(np.linspace(0, 255, 30).astype(np.uint8)[None, :, None], (24, 30, 3))
    Image.fromarray(smooth.copy()).save(tmp_path / "x.jpg", quality=95)
    assert np.abs(read_picture(tmp_path / "x.jpg").astype(int) - smooth).max() < 6


def test_grey_palette_and_bilevel(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "grey.png"), np.repeat(GREY[:, :, None], 3, axis=2))
    palette = Image.fromarray(RGB).quantize(256)
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "palette.png"), np.asarray(palette.convert("RGB")))
    Image.fromarray(GREY > 128).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "bits.png")[:, :, 0], 255 * (GREY > 128))


@pytest.mark.parametrize(("dtype", "suffix"), [(np.uint16, "png"), (np.uint16, "tif"), (np.float32, "tif")])
def test_deep_pictures_are_scaled_to_their_brightest_pixel(tmp_path: Path, dtype: type, suffix: str) -> None:
    deep = (GREY.astype(np.float64) / GREY.max() * 4000).astype(dtype)
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(deep).save(path)
    expected = np.rint(deep.astype(np.float64) / deep.max() * 255)
    np.testing.assert_allclose(read_picture(path)[:, :, 1], expected, atol=1)


def test_transparent_parts_are_black(tmp_path: Path) -> None:
    alpha = np.where(GREY > 100, 255, 0).astype(np.uint8)
    Image.fromarray(np.dstack([RGB, alpha])).save(tmp_path / "x.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "x.png"), np.where(alpha[:, :, None] > 0, RGB, 0))


@pytest.mark.parametrize(("orientation", "turn"), [(3, 2), (6, 3), (8, 1)])
def test_exif_turns_the_picture_upright(tmp_path: Path, orientation: int, turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RGB).save(tmp_path / "x.png", exif=exif)
    np.testing.assert_array_equal(read_picture(tmp_path / "x.png"), np.rot90(RGB, turn))


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


@pytest.mark.parametrize(("width", "height"), [(31_623, 31_623), (11_000, 9_000), (8_001, 8_000)])
def test_a_bomb_is_refused_from_its_header(tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(width, height) + b"\0\0\0\0IDAT")
    with pytest.raises(InputError, match=f"more than the {MAX_PIXELS:,} pixels allowed"):
        read_picture(path)


def test_a_truncated_picture_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.kron(RGB, np.ones((8, 8, 1), np.uint8))).save(stream, "jpeg")
    for keep in (200, len(stream.getvalue()) // 2):
        (tmp_path / "x.jpg").write_bytes(stream.getvalue()[:keep])
        with pytest.raises(InputError, match=r"x\.jpg: (damaged|not a) picture"):
            read_picture(tmp_path / "x.jpg")


def test_what_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("hello")
    (tmp_path / "empty.png").write_bytes(b"")
    for path, said in (("x.png", "not a picture"), ("empty.png", "empty"), ("absent.png", "no such file")):
        with pytest.raises(InputError, match=said):
            read_picture(tmp_path / path)
    with pytest.raises(InputError, match="is a folder"):
        read_picture(tmp_path)


def test_a_damaged_tiff_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.tif"
    Image.fromarray(np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)).save(path, compression="tiff_lzw")
    content = bytearray(path.read_bytes())
    content[100:600] = b"\xff" * 500
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged picture"):
        read_picture(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("mode", ["I;16", "F", "RGBA", "P"])
def test_strips_are_the_picture(tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).integers(0, 200, (9, 7, 4), dtype=np.uint8)
    grey = {"I;16": np.uint16, "F": np.float32}
    picture = Image.fromarray(values[:, :, 0].astype(grey[mode]) if mode in grey else values)
    path = tmp_path / "x.tiff"
    (picture.convert("RGB").quantize() if mode == "P" else picture).save(path)
    whole = read_picture(path)
    monkeypatch.setattr(pictures, "_STRIP", 14)
    np.testing.assert_array_equal(read_picture(path), whole)


def test_a_cmyk_jpeg_of_adobe_is_not_a_negative(tmp_path: Path) -> None:
    smooth = Image.fromarray(RGB).resize((60, 48), Image.Resampling.BICUBIC)
    smooth.convert("CMYK").save(tmp_path / "x.jpg", quality=95)
    assert np.abs(read_picture(tmp_path / "x.jpg").astype(int) - np.asarray(smooth)).mean() < 12


@pytest.mark.parametrize("orientation", [0, 9, 300])
def test_an_orientation_that_is_none_turns_nothing(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RGB).save(tmp_path / "x.png", exif=exif)
    np.testing.assert_array_equal(read_picture(tmp_path / "x.png"), RGB)


def test_an_exif_block_that_is_cut_short_turns_nothing(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a long description"
    Image.fromarray(RGB).save(tmp_path / "x.jpg", exif=exif.tobytes()[:20], quality=95)
    assert read_picture(tmp_path / "x.jpg").shape == RGB.shape


@pytest.mark.parametrize("name", ["x.heic", "x.jpg"])
def test_heic_is_known_by_its_bytes(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf" + bytes(200))
    said = "damaged|not a picture" if formats() else r"is a HEIC picture; pip install attn\[heif\]"
    with pytest.raises(InputError, match=said):
        read_picture(path)


def test_frames_are_counted(tmp_path: Path) -> None:
    pages = [Image.fromarray(RGB), Image.fromarray(255 - RGB), Image.fromarray(RGB // 2)]
    for name in ("x.tif", "x.gif", "x.webp"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
        found = open_picture(tmp_path / name)
        assert found.frames == 3 and found.pixels.shape == RGB.shape
    np.testing.assert_array_equal(open_picture(tmp_path / "x.tif").pixels, RGB)


@pytest.mark.parametrize("mode", ["uint16", "float32"])
@pytest.mark.parametrize("hot", [1, 3])
def test_hot_pixels_do_not_blacken_a_deep_picture(tmp_path: Path, mode: str, hot: int) -> None:
    y, x = np.mgrid[:60, :60]
    light = (1400 * np.exp(-np.hypot(y - 30, x - 30) / 8)).astype(mode)
    name = "png" if mode == "uint16" else "tif"
    Image.fromarray(light).save(tmp_path / f"clean.{name}")
    light[np.arange(hot) * 7, 5] = 65535
    Image.fromarray(light).save(tmp_path / f"hot.{name}")
    clean, spoilt = (read_picture(tmp_path / f"{which}.{name}")[10:, 10:] for which in ("clean", "hot"))
    assert clean.max() == 255
    np.testing.assert_allclose(spoilt.astype(int), clean, atol=45)


def test_a_bright_point_of_some_pixels_stays_white(tmp_path: Path) -> None:
    light = np.full((60, 60), 100, np.uint16)
    light[30:32, 30:32] = 60000
    Image.fromarray(light).save(tmp_path / "star.png")
    assert read_picture(tmp_path / "star.png")[0, 0, 0] == 0
