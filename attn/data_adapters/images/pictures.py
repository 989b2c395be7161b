"""One picture file or one cut-out as display pixels.

Pixels are uint8 (H, W, 3), red, green, blue. Everything a header can tell is checked before memory is
taken.
"""

import stat
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from attn.core.errors import InputError
from attn.data_adapters.images.cutout import Display
from attn.data_adapters.library_warnings import caught_warnings

MAX_PIXELS = 64_000_000  # of one picture; a phone takes 50 million
_ORIENTATION = 0x0112  # EXIF tag
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif")


def read_picture(path: str | Path) -> Display:
    """Pixels (H, W, 3) uint8 of a JPEG, PNG, TIFF, WebP, BMP or GIF (first frame), turned upright by its
    EXIF tag.

    Grey becomes three equal planes; a palette is looked up; transparent parts are black, as the sky is;
    16-bit and float values are scaled so that the brightest pixel is white. InputError: not a picture,
    damaged, or declares more than MAX_PIXELS (refused from the header).
    """
    path = Path(path)
    check_regular_file(path)
    try:
        with caught_warnings():  # remarks about odd tags; what matters raises
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                return _decode(picture, path)
    except UnidentifiedImageError as error:
        raise InputError("not a picture in a known format", where=path, hint="JPEG, PNG and TIFF are read") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(str(error).split(" exceeds")[0], path) from error
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"damaged picture ({reason})", where=path, hint="save or download it again") from error


def _decode(picture: Image.Image, path: Path) -> Display:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise _too_large(f"Image size {width} x {height}", path)
    upright = ImageOps.exif_transpose(picture) if picture.getexif().get(_ORIENTATION, 1) != 1 else picture
    return np.array(upright) if upright.mode == "RGB" else _to_rgb(upright)


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
        raise InputError(f"cannot be opened ({error})", where=path, hint="check the path") from error
    if stat.S_ISDIR(status.st_mode):
        raise InputError("is a folder, not a file", where=path, hint="name the files in it")
    if not stat.S_ISREG(status.st_mode):
        raise InputError("is a device or a pipe, not a file", where=path, hint="write it to a file first")
    if status.st_size == 0:
        raise InputError("the file is empty (0 bytes)", where=path, hint="download it again")


def _to_rgb(picture: Image.Image) -> Display:
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        values = np.array(picture, dtype=np.float32)
        top = float(np.nanmax(values))
        grey = np.nan_to_num(values / top if top > 0 else values * 0, nan=0, posinf=1, neginf=0)
        return np.repeat(np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8)[:, :, None], 3, axis=2)
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
        return np.array(Image.alpha_composite(black, rgba).convert("RGB"))
    return np.array(picture.convert("RGB"))
