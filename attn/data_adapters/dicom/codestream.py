"""What a compressed frame says of itself in its first bytes, read before any decoder sees it.

JPEG (ITU-T T.81 B.2), JPEG-LS (T.87 C.2), JPEG 2000 (T.800 A.4, A.5), RLE (PS3.5 G.5). Decoders take the memory that a
codestream declares; a kilobyte can declare gigabytes.
"""

import struct
from dataclasses import dataclass

from attn.core.errors import InputError
from attn.data_adapters.dicom.frame_layout import Layout

_SIZED = (0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7)  # frame headers, SOFn
_ALONE = (0x01, *range(0xD0, 0xD9))  # markers without a length
_LARGE = 16_000_000  # pixels: above, a codestream must have a byte for so many of them
_PIXELS_PER_BYTE = 4096
_MOST_TILES = 4096
JPEG2000 = b"\xff\x4f\xff\x51"
JP2 = b"\x00\x00\x00\x0cjP  \r\n\x87\n"


@dataclass(frozen=True)
class Codestream:
    """What it is and how large; `reserved` marks of its own photometry: "" or "ycc" or "rgb" by an Adobe marker."""

    kind: str  # jpeg, lossless, jpegls, j2k, rle
    rows: int
    columns: int
    samples: int
    precision: int
    lossy: bool
    start: int = 0  # where the codestream begins in the bytes
    colours: str = ""  # what a JPEG says of them: "ycc", "rgb" or nothing


class MalformedError(ValueError):
    """The bytes are no codestream that can be decoded. The message is a fixed sentence."""


def read_codestream(data: bytes, layout: Layout) -> Codestream:
    """The header of a codestream. MalformedError when there is none, or when it is cut off."""
    if data.startswith(b"\xff\xd8"):
        return _jpeg(data)
    if data.startswith((JPEG2000, JP2)):
        return _jpeg2000(data)
    return _rle(data, layout)


def check_codestream(found: Codestream, layout: Layout, length: int, where: str) -> None:
    """InputError unless a codestream has the size that the header declares, in a length that can hold it."""
    shape = (found.rows, found.columns, found.samples)
    if shape != (layout.rows, layout.columns, layout.samples):
        raise InputError(
            f"its codestream is {found.rows:,} x {found.columns:,} pixels of {found.samples} samples, and its header "
            f"says {layout.rows:,} x {layout.columns:,} of {layout.samples}",
            where=where,
            hint="the file is damaged",
        )
    if found.precision > 16 and found.kind != "rle":
        raise InputError(f"its codestream has {found.precision} bits a sample; at most 16 are read", where=where)
    if layout.pixels > _LARGE and layout.pixels > _PIXELS_PER_BYTE * length:
        raise InputError(f"{length:,} bytes cannot hold the {layout.pixels:,} pixels it declares", where=where)


def _jpeg(data: bytes) -> Codestream:
    at, adobe, jfif, near = 2, None, False, 0
    size: tuple[int, ...] = ()
    kind = 0
    ids = b""
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 4 > len(data):
            raise MalformedError("its JPEG codestream has no frame header")
        marker = data[at + 1]
        if marker in (0x00, 0xFF) or marker in _ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        body = data[at + 4 : at + 2 + length]
        if length < 2 or len(body) < length - 2:
            raise MalformedError("its JPEG codestream is cut off")
        if marker in _SIZED:
            if size or len(body) < 6 or len(body) < 6 + 3 * body[5]:
                raise MalformedError("its JPEG codestream has a frame header that is not one")
            size = struct.unpack_from(">BHHB", body)
            kind, ids = marker, body[6::3][: body[5]]
        elif marker == 0xE0 and body.startswith(b"JFIF"):
            jfif = True
        elif marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12:
            adobe = body[11]
        elif marker == 0xDA:
            if not size:
                raise MalformedError("its JPEG codestream has no frame header")
            near = body[-3] if kind == 0xF7 and len(body) >= 3 else 0
            break
        at += 2 + length
    if b"\xff\xd9" not in data[-64:]:
        raise MalformedError("its JPEG codestream is cut off")
    names = {0xC0: "jpeg", 0xC1: "jpeg", 0xC2: "jpeg", 0xC3: "lossless", 0xF7: "jpegls"}
    if kind not in names:
        raise MalformedError("its JPEG codestream is of a process that is not read")
    precision, rows, columns, samples = size
    colours = {0: "rgb", 1: "ycc"}.get(adobe, "") if adobe is not None else "ycc" if jfif else ""
    if ids == b"RGB" and not colours:
        colours = "rgb"
    name = names[kind]
    return Codestream(name, rows, columns, samples, precision, name == "jpeg" or near > 0, 0, colours)


def _jpeg2000(data: bytes) -> Codestream:
    start = data.find(JPEG2000)  # a file format around the codestream is not allowed, and is found
    if start < 0 or len(data) < start + 42:
        raise MalformedError("its JPEG 2000 codestream is cut off")
    _, _, x1, y1, x0, y0, tile_x, tile_y, _, _, samples = struct.unpack_from(">HHIIIIIIIIH", data, start + 4)
    parts = data[start + 42 : start + 42 + 3 * samples]
    if len(parts) < 3 * samples or samples == 0 or not (x0 < x1 and y0 < y1 and tile_x and tile_y):
        raise MalformedError("its JPEG 2000 codestream has a size that is not one")
    if any(step != 1 for step in parts[1::3] + parts[2::3]):
        raise MalformedError("its JPEG 2000 codestream is subsampled, which is not read")
    if -(-(x1 - x0) // tile_x) * -(-(y1 - y0) // tile_y) > _MOST_TILES:
        raise MalformedError("its JPEG 2000 codestream has too many tiles")
    if len(set(parts[0::3])) > 1:
        raise MalformedError("its JPEG 2000 codestream has samples of different precision")
    lossy = _tile_parts(data, start + 42 + 3 * samples)
    return Codestream("j2k", y1 - y0, x1 - x0, samples, (parts[0] & 0x7F) + 1, lossy, start)


def _tile_parts(data: bytes, at: int) -> bool:
    """Walk the main header and the tile-parts; True when the wavelet is not reversible. MalformedError when cut off."""
    lossy = False
    while True:
        if at + 4 > len(data):
            raise MalformedError("its JPEG 2000 codestream is cut off")
        marker, length = struct.unpack_from(">HH", data, at)
        if marker == 0xFF90:  # SOT: the tile-part's length counts from here; 0 is up to the end
            if at + 12 > len(data):
                raise MalformedError("its JPEG 2000 codestream is cut off")
            (part,) = struct.unpack_from(">I", data, at + 6)
            if part == 0:
                return lossy
            if part < 14 or at + part > len(data):
                raise MalformedError("its JPEG 2000 codestream is cut off")
            at += part
            if data[at : at + 2] != b"\xff\x90":  # the end, or an end that was left out
                return lossy
            continue
        if marker < 0xFF00 or length < 2:
            raise MalformedError("its JPEG 2000 codestream has a header that is not one")
        if marker == 0xFF52 and at + 14 <= len(data):  # COD; the wavelet is its tenth byte
            lossy = data[at + 13] == 0
        at += 2 + length


def _rle(data: bytes, layout: Layout) -> Codestream:
    if len(data) < 64:
        raise MalformedError("its codestream is cut off")
    count, *offsets = struct.unpack_from("<16I", data)
    wanted = layout.samples * layout.bits // 8
    used = offsets[: min(count, 15)]
    if count != wanted or not used or used[0] != 64 or sorted(used) != used or used[-1] >= len(data):
        raise MalformedError(f"its pixels begin neither as JPEG or JPEG 2000 nor as RLE of {wanted} segments")
    if (len(data) - 64) * 64 < layout.pixels * wanted:  # two bytes give at most 128
        raise MalformedError("its RLE segments are shorter than its pixels")
    return Codestream("rle", layout.rows, layout.columns, layout.samples, layout.bits, False)
