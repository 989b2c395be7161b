"""The bytes of each frame: a slice of the pixel data, or the fragments of a compressed one (PS3.5 A.4)."""

import struct
from collections.abc import Iterator, Sequence

import numpy as np

from attn.core.errors import InputError
from attn.data_adapters.dicom.file import UNDEFINED, DicomFile, bytes_at, size
from attn.data_adapters.dicom.frame_layout import Layout

Fragment = tuple[int, int]  # where its bytes are in the file, and how many they are
_ITEM, _END = 0xFFFEE000, 0xFFFEE0DD
_STARTS = (b"\xff\xd8", b"\xff\x4f\xff\x51")  # of a JPEG and of a JPEG 2000 codestream


def frame_bytes(file: DicomFile, layout: Layout, frame: int) -> bytes:
    """The bytes of a frame without compression; `frame` counts from 0."""
    at, length = frame * layout.frame_bytes, layout.frame_bytes
    if file.little_endian or layout.bits != 8 or file.pixels_vr != "OW":
        return bytes_at(file, file.pixels_at + at, length)
    first, odd = at // 2 * 2, at % 2  # two pixels are a word, the first of them in its low byte
    words = bytes_at(file, file.pixels_at + first, (odd + length + 1) // 2 * 2)
    return np.frombuffer(words, "<u2").byteswap().tobytes()[odd : odd + length]


def codestreams(file: DicomFile, layout: Layout) -> Sequence[list[Fragment]]:
    """The fragments of each frame. InputError when there are too few, or when one is cut off."""
    offsets, fragments = _fragments(file)
    if not fragments:
        raise InputError(f"{file.pixels_name} is empty", where=file.id, hint="get the file again")
    groups = _grouped(file, layout.frames, offsets, fragments)
    if len(groups) < layout.frames:
        raise InputError(
            f"(0028,0008) Number of Frames is {layout.frames:,}, and {file.pixels_name} has {len(groups):,}",
            where=file.id,
            hint="the file is not complete; get it again",
        )
    return groups


def codestream(file: DicomFile, fragments: list[Fragment]) -> bytes:
    """The fragments of a frame, put together."""
    return b"".join(bytes_at(file, *fragment) for fragment in fragments)


def _fragments(file: DicomFile) -> tuple[list[int], list[Fragment]]:
    """The offsets of the frames as a table gives them, which may be empty, and all fragments."""
    assert file.pixels_length == UNDEFINED
    found = list(_items(file))
    if not found:
        return [], []
    (at, length), fragments = found[0], found[1:]
    offsets = _numbers(bytes_at(file, at, length), "I")
    extended = file.dataset.get("ExtendedOffsetTable")
    return _numbers(extended, "Q") if isinstance(extended, bytes) and extended else offsets, fragments


def _items(file: DicomFile) -> Iterator[Fragment]:
    at, end = file.pixels_at, size(file.stream)
    while at + 8 <= end:
        group, element, length = struct.unpack("<HHI", bytes_at(file, at, 8))
        tag = group << 16 | element
        if tag == _END:
            return
        if tag != _ITEM:
            raise InputError(
                f"{file.pixels_name} is no sequence of fragments", where=file.id, hint="the file is damaged"
            )
        if at + 8 + length > end:
            raise InputError(
                f"a fragment of {file.pixels_name} is to have {length:,} bytes and ends after {end - at - 8:,}",
                where=file.id,
                hint="the file is not complete; get it again",
            )
        yield at + 8, length
        at += 8 + length


def _grouped(file: DicomFile, frames: int, offsets: list[int], fragments: list[Fragment]) -> Sequence[list[Fragment]]:
    if frames == 1:
        return [fragments]
    if len(fragments) == frames:
        return [[fragment] for fragment in fragments]
    first = fragments[0][0]
    if len(offsets) == frames:
        starts = {first + offset for offset in offsets}
    else:
        starts = {at for at, _ in fragments if bytes_at(file, at, 4).startswith(_STARTS)}
    groups: list[list[Fragment]] = []
    for fragment in fragments:
        if fragment[0] in starts or not groups:
            groups.append([])
        groups[-1].append(fragment)
    return groups


def _numbers(table: bytes, kind: str) -> list[int]:
    width = struct.calcsize(f"<{kind}")
    return [number for (number,) in struct.iter_unpack(f"<{kind}", table[: len(table) // width * width])]
