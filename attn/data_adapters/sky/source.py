"""An image in a FITS file, read piece by piece.

A section costs its own pixels, whatever the size of the image: a 20,000 x 20,000 image is cut and
searched in a few megabytes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attn.core.errors import InputError
from attn.data_adapters.sky.bands import display_order
from attn.data_adapters.sky.file import FitsFile, complaints, open_fits
from attn.data_adapters.sky.guard import check_tiles
from attn.data_adapters.sky.layout import Layout, Plane, find_image
from attn.data_adapters.sky.wcs import SkyPositions, sky_positions

_BLOCK = 2880  # bytes; FITS pads every part to a whole block


@dataclass(frozen=True)
class SkySource:
    """An open image of `shape` (rows, columns); up to three bands in display order, reddest first."""

    file: FitsFile
    hdu: str
    shape: tuple[int, int]
    planes: tuple[Plane, ...]
    bands: tuple[str, ...]
    header: Any
    is_display: bool
    """The pixels are 8-bit display values (unscaled BITPIX 8), not brightness."""

    @property
    def where(self) -> str:
        """File and HDU, for messages."""
        return f"{self.file.path}, HDU {self.hdu}"

    @cached_property
    def wcs(self) -> SkyPositions | None:
        """Positions of pixels on the sky, None without a WCS; one that cannot be used sets the flag `wcs_unusable`."""
        try:
            with complaints(self.file, "its WCS cannot be used"):
                return sky_positions(self.header, self.where)
        except InputError:
            self.file.flag("wcs_unusable")
            return None

    def section(self, rows: slice, cols: slice) -> NDArray[Any]:
        """Pixels (h, w, bands) of one part: BSCALE, BZERO and BLANK applied, NaN kept.

        float32, or uint8 when `is_display`. InputError: the pixels cannot be read or unpacked.
        """
        height = len(range(*rows.indices(self.shape[0])))
        width = len(range(*cols.indices(self.shape[1])))
        out = np.empty((height, width, len(self.planes)), np.uint8 if self.is_display else np.float32)
        for k, plane in enumerate(self.planes):
            with complaints(self.file, f"the pixels of HDU {self.hdu} cannot be read"):
                part = plane.hdu.section[(*plane.lead, rows, cols, *plane.trail)]
                out[:, :, k] = np.asarray(part).reshape(height, width)
        return out


@contextmanager
def open_sky(path: str | Path, hdu: int | str | None = None) -> Iterator[SkySource]:
    """Open the image in `path`: the first usable one, or `hdu` (index, `SCI`, `SCI,2`, or bands `i+r+g`).

    No pixel is read. InputError: not FITS, no usable image, no such HDU, or the file ends before the
    pixels do.
    """
    with open_fits(path) as file:
        with complaints(file, "its headers cannot be understood"):
            layout = find_image(file, hdu)
            listed = hdu is not None and "+" in str(hdu)
            order, flags = display_order(layout.bands, f"{path}, HDU {layout.hdu}", bluest_first=listed)
            for flag in flags:
                file.flag(flag)
            _check_complete(file, layout)
            for plane in layout.planes:
                check_tiles(plane.hdu, f"{path}, HDU {layout.hdu}")
            headers = [plane.hdu.header for plane in layout.planes]
            unscaled = [(h["BITPIX"], h.get("BSCALE", 1), h.get("BZERO", 0)) == (8, 1, 0) for h in headers]
        yield SkySource(
            file=file,
            hdu=layout.hdu,
            shape=layout.shape,
            planes=tuple(layout.planes[k] for k in order),
            bands=tuple(layout.bands[k].name for k in order),
            header=layout.header,
            is_display=all(unscaled),
        )


def _check_complete(file: FitsFile, layout: Layout) -> None:
    """InputError when the file ends before the pixels do; padding may be missing."""
    for plane in layout.planes:
        info = plane.hdu.fileinfo()
        end = info["datLoc"] + info["datSpan"]
        if file.size <= end - _BLOCK:
            raise InputError(
                f"truncated: the file ends at byte {file.size:,} and its pixels at {end:,}",
                where=f"{file.path}, HDU {layout.hdu}",
                hint="download it again",
            )
        if file.size < end:
            file.flag("truncated")
