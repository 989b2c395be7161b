"""Radiographs from any file, by its first bytes."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from attn.core.errors import InputError
from attn.data_adapters.dicom.file import sealed
from attn.data_adapters.dicom.radiograph import NotAnImageError, Radiograph

_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_DICOM_NAMES = (".dcm", ".dicom", ".dic", ".ima")
_HTML = (b"<!doctype html", b"<html")
_KINDS = {b"%PDF": "a PDF", b"PK\x03\x04": "a zip archive", b"\x1f\x8b": "a gzip archive"}


def read_radiographs(
    source: Path | BinaryIO, id: str, *, window: str | None = None, frame: int | None = None
) -> Iterator[Radiograph]:
    """The radiographs of a DICOM file, one per frame, or of a PNG, JPEG or TIFF.

    InputError: refused; NotAnImageError, which is one: the file holds no image and is none by its name.
    """
    if isinstance(source, Path):
        with sealed(id, "cannot be opened; check the path and its access rights"):
            opened = source.open("rb")
        with opened:
            yield from read_radiographs(opened, id, window=window, frame=frame)
        return
    with sealed(id, "cannot be read"):
        start = source.read(4096)
        source.seek(0)
    dicom = start[128:132] == b"DICM"  # which may begin like a TIFF: the first 128 bytes are free
    if not dicom and start.startswith(_PICTURES):
        from attn.data_adapters.dicom.pictures import read_radiograph_picture

        yield read_radiograph_picture(source, id)
        return
    named = id.lower().endswith(_DICOM_NAMES)
    if not dicom:
        if not start:
            raise InputError("the file is empty (0 bytes)", where=id, hint="download it again")
        kind = _not_an_image(start)
        if kind and named:
            raise InputError(f"is named like a DICOM file and holds {kind}", where=id, hint="download it again")
        if kind or (not named and not _may_be_dicom(start)):
            raise NotAnImageError(f"holds {kind or 'no image'}", where=id)
    from attn.data_adapters.dicom.pixels import read_dicom

    yield from read_dicom(source, id, window=window, frame=frame)


def _not_an_image(start: bytes) -> str:
    """What a file is that is surely not DICOM; "" when it may be."""
    if start.lstrip().lower().startswith(_HTML):
        return "HTML: the answer of a web server, not the file"
    for magic, name in _KINDS.items():
        if start.startswith(magic):
            return name
    if b"\x00" not in start:
        try:
            start[:-4].decode("utf-8")
        except UnicodeDecodeError:
            return ""
        return "text"
    return ""


def _may_be_dicom(start: bytes) -> bool:
    """A data set without preamble begins with an element of group 2 or 8, its length in the file."""
    group = int.from_bytes(start[:2], "little")
    return group in (0x0002, 0x0008) or int.from_bytes(start[:2], "big") in (0x0002, 0x0008)
