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

    @property
    def where(self) -> str:
        """File and HDU, for messages."""
        return f"{self.file.path}, HDU {self.hdu}"

    @property
    def is_display(self) -> bool:
        """The pixels are 8-bit display values (unscaled BITPIX 8), not brightness."""
        headers = [plane.hdu.header for plane in self.planes]
        return all((h["BITPIX"], h.get("BSCALE", 1), h.get("BZERO", 0)) == (8, 1, 0) for h in headers)

    @cached_property
    def wcs(self) -> Any:
        """Celestial `astropy.wcs.WCS` of rows and columns, None when the header has none that works."""
        return celestial_wcs(self.file, self.header)

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
            order, flags = display_order(layout.names, f"{path}, HDU {layout.hdu}")
            for flag in flags:
                file.flag(flag)
            _check_complete(file, layout)
            for plane in layout.planes:
                check_tiles(plane.hdu, f"{path}, HDU {layout.hdu}")
        yield SkySource(
            file=file,
            hdu=layout.hdu,
            shape=layout.shape,
            planes=tuple(layout.planes[k] for k in order),
            bands=tuple(layout.names[k] for k in order),
            header=layout.header,
        )


def celestial_wcs(file: FitsFile, header: Any) -> Any:
    """The two celestial axes of a header's WCS, or None; one that cannot be used flags `wcs_unusable`."""
    from astropy.wcs import WCS  # not needed to classify, and slow to load

    if "CTYPE1" not in header:
        return None
    try:
        with complaints(file, "its WCS cannot be used"):
            wcs = WCS(header).celestial
    except InputError:
        file.flag("wcs_unusable")
        return None
    return wcs if wcs.naxis == 2 else None


def _check_complete(file: FitsFile, layout: Layout) -> None:
    """Whether the file is long enough; one inside a .gz or .bz2 shows only when it is read."""
    if file.compressed:
        return
    size = file.path.stat().st_size
    for plane in layout.planes:
        info = plane.hdu.fileinfo()
        end = info["datLoc"] + info["datSpan"]
        if size <= end - _BLOCK:
            raise InputError(
                f"truncated: the file ends at byte {size:,} and its pixels at {end:,}",
                where=f"{file.path}, HDU {layout.hdu}",
                hint="download it again",
            )
        if size < end:
            file.flag("truncated")
