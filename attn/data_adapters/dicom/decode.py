"""From the bytes of a frame to its stored values, by the fastest decoder of each kind of codestream.

The codestream itself says what it is: a transfer syntax that contradicts it is a flag. Decoders that a damaged stream
can crash run in a worker process.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image
from pydicom.uid import UID

from attn.core.errors import InputError
from attn.data_adapters import worker
from attn.data_adapters.dicom.codestream import Codestream, MalformedError, check_codestream, read_codestream
from attn.data_adapters.dicom.file import sealed
from attn.data_adapters.dicom.flags import Flag
from attn.data_adapters.dicom.frame_layout import Layout
from attn.data_adapters.library_warnings import caught_panics, caught_warnings

_JPEG = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
_LOSSLESS = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
_JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
_JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.92", "1.2.840.10008.1.2.4.93")
_HIGH_THROUGHPUT = ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203")
KINDS = {
    **dict.fromkeys(_JPEG, "jpeg"),
    **dict.fromkeys(_LOSSLESS, "lossless"),
    **dict.fromkeys(_JPEG_LS, "jpegls"),
    **dict.fromkeys((*_JPEG_2000, *_HIGH_THROUGHPUT), "j2k"),
    "1.2.840.10008.1.2.5": "rle",
}
_WORKER = "attn.data_adapters.dicom.gdcm_worker:decode"
NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99")


@dataclass(frozen=True)
class Decoded:
    """Stored values (H, W) or (H, W, samples), with the layout that they have after decoding."""

    pixels: Any
    layout: Layout
    decoder: str
    flags: tuple[Flag, ...] = ()


def native_frame(data: bytes, layout: Layout, little_endian: bool) -> Decoded:
    """Stored values of a frame without compression."""
    order = "<" if little_endian else ">"
    values = np.frombuffer(data, f"{order}{'f' if layout.real else 'u'}{layout.bits // 8}")
    if layout.subsampled:  # two of Y, then one of each colour
        pixels = values.reshape(-1, 4)[:, :2].reshape(layout.rows, layout.columns, 1)
    elif layout.samples > 1 and layout.planar:
        pixels = values.reshape(layout.samples, layout.rows, layout.columns).transpose(1, 2, 0)
    else:
        pixels = values.reshape(_shape(layout))
    return Decoded(pixels, layout, "none")


def syntax_name(syntax: UID | None) -> str:
    """The name and the UID of a transfer syntax, for people."""
    if syntax is None:
        return "not said"
    uid = str(syntax) if syntax.is_valid else "a malformed UID"
    return f"{syntax.name} ({uid})" if syntax.is_valid and syntax.name != uid else uid


def decode_frame(data: bytes, layout: Layout, syntax: UID | None, where: str) -> Decoded:
    """Stored values of a compressed frame.

    InputError, which names the transfer syntax: it is not read, or the codestream is damaged.
    """
    name = syntax_name(syntax)
    expected = None if syntax is None else KINDS.get(str(syntax))
    if syntax is not None and expected is None and str(syntax) not in NATIVE:
        raise InputError(f"its transfer syntax {name} is not read", where=where, hint="convert it to JPEG 2000")
    try:
        found = read_codestream(data, layout)
    except MalformedError as error:
        raise InputError(f"{error} (transfer syntax {name})", where=where, hint="the file is damaged") from None
    check_codestream(found, layout, len(data), where)
    flags = (Flag.LOSSY,) if found.lossy else ()
    if expected != found.kind:
        flags = (*flags, Flag.SYNTAX_CONTRADICTS)
    decoder, decode = _decoder(found)
    with sealed(where, f"its pixels cannot be decoded by {decoder} (transfer syntax {name})", warns=False):
        pixels = decode(data, found, layout)
    return Decoded(pixels, _after(found, layout), decoder, flags)


def _after(found: Codestream, layout: Layout) -> Layout:
    """The layout of decoded pixels: as many bits as the codestream has, and colours as the decoder gives them."""
    if found.kind == "rle":
        return layout
    turned = found.kind == "jpeg" or layout.photometric in ("YBR_ICT", "YBR_RCT")  # by the decoder
    photometric = "RGB" if layout.samples == 3 and turned else layout.photometric
    return replace(layout, stored=min(layout.stored, found.precision), shift=0, photometric=photometric)


def _decoder(found: Codestream) -> tuple[str, Callable[[bytes, Codestream, Layout], Any]]:
    if found.kind == "jpeg" and found.precision == 8:
        return "Pillow", _by_pillow
    if found.kind in ("jpeg", "lossless"):
        return "gdcm", _by_gdcm
    return {"jpegls": ("pyjpegls", _by_charls), "j2k": ("openjpeg", _by_openjpeg), "rle": ("pylibjpeg-rle", _by_rle)}[
        found.kind
    ]


def _by_pillow(data: bytes, found: Codestream, layout: Layout) -> Any:
    """Red, green and blue, or grey. Without a word of its own, what the header says decides on the colours."""
    with caught_warnings():  # Pillow finds large pictures suspicious
        opened = Image.open(io.BytesIO(data), formats=["JPEG"])
    with opened as picture:
        if found.samples == 3 and not found.colours and layout.photometric == "RGB":
            picture.draft("YCbCr", picture.size)  # hands the samples on as they are
        return np.asarray(picture)


def _by_charls(data: bytes, found: Codestream, layout: Layout) -> Any:
    import jpeg_ls

    pixels, info = jpeg_ls.decode_pixel_data(data)
    values = np.frombuffer(pixels, "<u1" if found.precision <= 8 else "<u2")
    if found.samples == 3 and info["interleave_mode"] == 0:
        return values.reshape(3, layout.rows, layout.columns).transpose(1, 2, 0)
    return values.reshape(_shape(found))


def _by_openjpeg(data: bytes, found: Codestream, layout: Layout) -> Any:
    from openjpeg.utils import decode_pixel_data

    pixels = decode_pixel_data(data[found.start :], version=2)
    values = np.frombuffer(pixels, "<u1" if found.precision <= 8 else "<u2")
    return values.reshape(_shape(found))


def _by_rle(data: bytes, found: Codestream, layout: Layout) -> Any:
    from rle.utils import decode_pixel_data

    form = {"rows": layout.rows, "columns": layout.columns, "bits_allocated": layout.bits, "byteorder": "<"}
    with caught_panics():
        pixels = decode_pixel_data(data, version=2, **form)
    values = np.frombuffer(pixels, f"<u{layout.bits // 8}").reshape(found.samples, layout.rows, layout.columns)
    return values[0] if found.samples == 1 else values.transpose(1, 2, 0)


def _by_gdcm(data: bytes, found: Codestream, layout: Layout) -> Any:
    form = {"shape": np.array(_shape(found)), "precision": np.array(found.precision), "kind": found.kind}
    try:
        return worker.call(_WORKER, "", "", data=np.frombuffer(data, np.uint8), **form)["pixels"]
    except InputError as error:
        raise ValueError from error  # which the caller says in its own words, with the file and the syntax


def _shape(found: Codestream | Layout) -> tuple[int, ...]:
    return (found.rows, found.columns) if found.samples == 1 else (found.rows, found.columns, found.samples)
