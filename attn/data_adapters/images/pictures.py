"""One picture file or one cut-out as display pixels.

Pixels are uint8 (H, W, 3), red, green, blue. Everything a header can tell is checked before memory is
taken.
"""

import contextlib
import ctypes
import stat
import warnings
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from attn.core.errors import InputError
from attn.data_adapters.boundary import boundary, reason
from attn.data_adapters.images import heif
from attn.data_adapters.images.cutout import Display
from attn.data_adapters.library_warnings import caught_warnings

MAX_PIXELS = 64_000_000  # of one picture; a phone takes 50 million
_STRIP = 1 << 20  # pixels that are converted at a time
_ORIENTATION = 0x0112  # EXIF tag
_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF")
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif")


@dataclass(frozen=True)
class Picture:
    """A picture as it is shown.

    pixels: (H, W, 3) uint8, upright. orientation: the EXIF value 1 to 8 by which it was turned. frames: how many the
    file has, of which this is the first.
    """

    pixels: Display
    orientation: int = 1
    frames: int = 1


def read_picture(path: str | Path) -> Display:
    """Pixels (H, W, 3) uint8 of a picture file; see `open_picture`."""
    return open_picture(path).pixels


def open_picture(path: str | Path) -> Picture:
    """A JPEG, PNG, TIFF, WebP, BMP or GIF (first frame), turned upright by its EXIF tag. HEIC where a plug-in is.

    Grey becomes three equal planes; a palette is looked up; transparent parts are black, as the sky is;
    16-bit and float values are scaled so that the brightest pixel is white, but for hot ones. InputError: not a
    picture, damaged, or declares more than MAX_PIXELS (refused from the header).
    """
    path = Path(path)
    check_regular_file(path)
    silence_libtiff()
    with boundary(path, "damaged picture", "save or download it again"), caught_warnings():
        # Warnings are remarks about odd tags, but for a size that Pillow finds suspicious.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(path, formats=(*_FORMATS, *heif.formats())) as picture:
                return _decode(picture, path)
        except UnidentifiedImageError as error:
            heif.refuse(path)
            what, hint = "not a picture in a known format", "JPEG, PNG, TIFF, WebP, BMP and GIF are read"
            raise InputError(what, where=path, hint=hint) from error
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise _too_large(str(error).split(" exceeds")[0], path) from error


@cache
def silence_libtiff() -> None:
    """Let Pillow's libtiff print nothing: it would write to standard error what Pillow raises anyway.

    Pillow has no way to say so; libtiff is reached as a dependency of Pillow's module. Where it cannot be, it prints.
    """
    pillow = find_spec("PIL._imaging")
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(pillow.origin if pillow else None)
        for handler in (library.TIFFSetErrorHandler, library.TIFFSetWarningHandler):
            handler.argtypes, handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            handler(None)


def _decode(picture: Image.Image, path: Path) -> Picture:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise _too_large(f"Image size {width} x {height}", path)
    orientation = picture.getexif().get(_ORIENTATION, 1)
    upright = ImageOps.exif_transpose(picture) if orientation != 1 else picture
    pixels = np.array(upright) if upright.mode == "RGB" else _to_rgb(upright)
    return Picture(pixels, orientation if orientation in range(1, 9) else 1, _frames(picture))


def _frames(picture: Image.Image) -> int:
    """How many frames or pages; the second picture of a JPEG (MPO) is a part of the first, such as its brightness."""
    if picture.format == "MPO":
        return 1
    try:
        return int(getattr(picture, "n_frames", 1))
    except Exception:  # the first frame is good, and a damaged later one is not looked at
        return 1


def _too_large(declared: str, path: Path) -> InputError:
    return InputError(
        f"{declared} is more than the {MAX_PIXELS:,} pixels allowed", where=path, hint="crop it to the object"
    )


def check_regular_file(path: Path) -> None:
    """InputError unless `path` is a file with something in it that this user may read."""
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):
            path.open("rb").close()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError("no such file", where=path, hint="check the path") from error
    except PermissionError as error:
        raise InputError("no permission to read it", where=path, hint="check its access rights") from error
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be opened ({reason(error)})", where=path, hint="check the path") from error
    if stat.S_ISDIR(status.st_mode):
        raise InputError("is a folder, not a file", where=path, hint="name the files in it")
    if not stat.S_ISREG(status.st_mode):
        raise InputError("is a device or a pipe, not a file", where=path, hint="write it to a file first")
    if status.st_size == 0:
        raise InputError("the file is empty (0 bytes)", where=path, hint="download it again")


def _to_rgb(picture: Image.Image) -> Display:
    """Red, green and blue of any mode, some rows at a time: several copies of a large picture would not fit."""
    width, height = picture.size
    rows = max(1, _STRIP // width)
    top = _brightest(picture, rows) if _is_deep(picture) else 1.0
    out = np.empty((height, width, 3), np.uint8)
    for first in range(0, height, rows):
        strip = picture.crop((0, first, width, min(first + rows, height)))
        out[first : first + rows] = _grey(strip, top) if _is_deep(picture) else _colours(strip)
    return out


def _is_deep(picture: Image.Image) -> bool:
    return picture.mode in ("I", "F") or picture.mode.startswith("I;16")


def _brightest(picture: Image.Image, rows: int) -> float:
    """What is to be white: the largest of the pixels that are not NaN; NaN when all are.

    A hot pixel is not what is to be white: where the largest value is more than twice the largest of the minima of
    2 x 2 pixels, that minimum is taken.
    """
    width, height = picture.size
    largest = block = np.float32(np.nan)
    for first in range(0, height, rows):
        strip = np.asarray(picture.crop((0, first, width, min(first + rows + 1, height))), np.float32)
        largest = np.fmax(largest, np.fmax.reduce(strip, axis=None))
        pairs = np.fmin(strip[1:], strip[:-1])
        least = np.fmin(pairs[:, 1:], pairs[:, :-1])
        block = np.fmax(block, np.fmax.reduce(least, axis=None, initial=np.nan))
    return float(block if 0 < block < largest / 2 else largest)


def _grey(strip: Image.Image, top: float) -> Display:
    values = np.asarray(strip, dtype=np.float32)
    grey = np.nan_to_num(values / top if top > 0 else values * 0, nan=0, posinf=1, neginf=0)
    return np.repeat(np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8)[:, :, None], 3, axis=2)


def _colours(strip: Image.Image) -> Display:
    if strip.mode in ("RGBA", "LA", "PA") or "transparency" in strip.info:
        rgba = strip.convert("RGBA")
        black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
        return np.array(Image.alpha_composite(black, rgba).convert("RGB"))
    return np.array(strip.convert("RGB"))
