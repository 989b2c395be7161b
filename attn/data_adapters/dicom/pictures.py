"""A radiograph from a PNG, JPEG or TIFF: grey of 8 or 16 bits over its whole range, colours as their luminance."""

import io
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from attn.core.errors import InputError
from attn.data_adapters.dicom.file import sealed
from attn.data_adapters.dicom.flags import Flag
from attn.data_adapters.dicom.frame_layout import MAX_PIXELS
from attn.data_adapters.dicom.radiograph import Radiograph
from attn.data_adapters.images.pictures import silence_libtiff

_FORMATS = ("PNG", "JPEG", "TIFF")
_ORIENTATION = 0x0112  # EXIF tag
_PHOTOMETRIC = 262  # TIFF tag


def read_radiograph_picture(source: Path | BinaryIO, id: str) -> Radiograph:
    """The picture as float32 (H, W), 0 to 1; 16 bits are divided by 65,535. InputError: no picture, or damaged."""
    data = source if isinstance(source, Path) else io.BytesIO(source.read())
    silence_libtiff()
    with sealed(id, "is a damaged picture; save or download it again"):
        try:
            with Image.open(data, formats=_FORMATS) as picture:
                return _read(picture, id)
        except UnidentifiedImageError:
            raise InputError("is no PNG, JPEG or TIFF", where=id) from None
        except Image.DecompressionBombError:
            raise _too_large(id) from None


def _read(picture: Image.Image, id: str) -> Radiograph:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise _too_large(id)
    flags: list[Flag] = [Flag.LOSSY] if picture.format == "JPEG" else []
    upright = ImageOps.exif_transpose(picture) if picture.getexif().get(_ORIENTATION, 1) != 1 else picture
    if upright.mode.startswith("I;16") or upright.mode == "I":
        flags.append(Flag.DEEP)
        pixels: Any = np.asarray(upright).astype(np.float32) / 65535
        if picture.format == "TIFF" and dict(getattr(picture, "tag_v2", {})).get(_PHOTOMETRIC) == 0:
            pixels = 1 - pixels  # white is zero, which Pillow undoes for 8 bits only
    elif upright.mode == "F":
        raise InputError("holds floating-point values, whose black and white nobody knows", where=id)
    else:
        if upright.mode not in ("L", "1", "LA", "I"):
            flags.append(Flag.COLOUR)
        pixels = _luminance(upright)
    return Radiograph(id, np.clip(pixels, 0, 1), (1.0, 1.0), tuple(flags))


def _luminance(picture: Image.Image) -> Any:
    if picture.mode in ("L", "1", "LA"):
        return np.asarray(picture.convert("L"), np.float32) / 255
    colours = np.asarray(picture.convert("RGB"), np.float32)
    return colours @ np.array([0.299, 0.587, 0.114], np.float32) / 255


def _too_large(id: str) -> InputError:
    return InputError("has more pixels than a radiograph", where=id, hint="crop it or make it smaller")
