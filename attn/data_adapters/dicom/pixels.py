"""A DICOM file as radiographs: each frame as a display shows it, with what was chosen on the way."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from attn.core.errors import InputError
from attn.data_adapters.dicom.decode import NATIVE, decode_frame, native_frame
from attn.data_adapters.dicom.display import show_colour, show_grey, show_palette
from attn.data_adapters.dicom.file import UNDEFINED, DicomFile, open_dicom, sealed
from attn.data_adapters.dicom.flags import Flag
from attn.data_adapters.dicom.frame_layout import GREY, Layout, read_layout
from attn.data_adapters.dicom.frames import codestream, codestreams, frame_bytes
from attn.data_adapters.dicom.header import Header
from attn.data_adapters.dicom.radiograph import Radiograph
from attn.data_adapters.dicom.steps import read_steps
from attn.data_adapters.dicom.view import allowed, spacing

_UNREADABLE = "has a header that cannot be read"


def read_dicom(
    source: Path | BinaryIO, id: str, *, window: str | None = None, frame: int | None = None
) -> Iterator[Radiograph]:
    """One radiograph per frame, or frame number `frame`, which counts from 1.

    Pixels are float32 (H, W), 0 black to 1 white, by PS3.3 C.11 (docs/chest.md). `window` is INDEX (from 0), NAME or
    CENTER,WIDTH. InputError: the file is refused; NotAnImageError: it holds no image; UsageError: no such window.
    """
    with open_dicom(source, id) as file:
        with sealed(id, _UNREADABLE):
            layout = read_layout(file)
        if frame is not None and not 1 <= frame <= layout.frames:
            raise InputError(f"has {layout.frames} frames, no frame {frame}", where=id)
        groups = codestreams(file, layout) if file.pixels_length == UNDEFINED else None
        for number in range(layout.frames) if frame is None else [frame - 1]:
            data = frame_bytes(file, layout, number) if groups is None else codestream(file, groups[number])
            yield _radiograph(file, layout, number, data, window)


def describe_dicom(
    source: Path | BinaryIO, id: str = "", *, window: str | None = None, frame: int | None = None
) -> dict[str, str | float | list[str]]:
    """What may be shown of a file: header, transfer syntax, decoder, windows, each step chosen, flags. No identity.

    Of several frames it is `frame`, else the first. Raises what `read_dicom` raises.
    """
    found = next(read_dicom(source, id, window=window, frame=frame or 1))
    high, wide = found.spacing
    return {**found.header, "pixel_height": high, "pixel_width": wide, "flags": [str(flag) for flag in found.flags]}


def _radiograph(file: DicomFile, layout: Layout, number: int, data: bytes, window: str | None) -> Radiograph:
    with sealed(file.id, _UNREADABLE):
        header = Header(file.dataset, number)
        values, flags = allowed(file, layout)
        apart = spacing(header)
        steps = read_steps(header, layout, file.little_endian, window) if layout.photometric in GREY else None
    if file.pixels_length == UNDEFINED:
        decoded = decode_frame(data, layout, file.syntax, file.id)
    else:
        decoded = native_frame(data, layout, file.little_endian)
        if file.syntax is not None and str(file.syntax) not in NATIVE:
            flags = (*flags, Flag.SYNTAX_CONTRADICTS)
    values |= {"decoder": decoded.decoder, "frame": number + 1.0}
    flags = (*file.flags, *flags, *decoded.flags)
    with sealed(file.id, "has pixels that cannot be shown", warns=False), np.errstate(all="ignore"):
        if steps is not None:
            pixels, voi = show_grey(decoded, steps)
            flags = (*flags, *steps.flags)
            values |= {"modality_step": str(steps.modality), "voi_step": str(voi)}
            values |= {"polarity": "inverted" if steps.inverse else "as stored", "windows": steps.choices}
        elif layout.photometric == "PALETTE COLOR":
            pixels, more = show_palette(decoded, file.dataset)
            flags = (*flags, *more)
        else:
            pixels = show_colour(decoded)
    id = f"{file.id}#{number + 1}" if layout.frames > 1 else file.id
    return Radiograph(id, pixels, apart, tuple(dict.fromkeys(flags)), values)
