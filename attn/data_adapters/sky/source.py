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
from attn.data_adapters.sky.holes import drop_fills
from attn.data_adapters.sky.layout import Layout, Plane, find_image
from attn.data_adapters.sky.masks import Mask, find_mask, hides_too_much
from attn.data_adapters.sky.scaling import is_display, scaled
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
    masks: tuple[Mask | None, ...]
    is_display: bool
    """The pixels are 8-bit display values (unscaled BITPIX 8), not brightness."""

    @property
    def where(self) -> str:
        """File and HDU, for messages."""
        return f"{self.file.path}, HDU {self.hdu}"

    @property
    def flags(self) -> tuple[str, ...]:
        """What is odd about the file, so far."""
        return tuple(self.file.flags)

    @cached_property
    def wcs(self) -> SkyPositions | None:
        """Positions of pixels on the sky, None without a WCS; one that cannot be used sets the flag `wcs_unusable`."""
        try:
            with complaints(self.file, "its WCS cannot be used"):
                return sky_positions(self.header, self.where, self.file.hdus)
        except InputError:
            self.file.flag("wcs_unusable")
            return None

    def without_positions(self) -> InputError:
        """Why ra and dec have no place in this image, whose `wcs` is None."""
        what, hint = "has no WCS, so ra and dec have no place in it", "give the catalogue x and y in pixels"
        try:
            with complaints(self.file, "its WCS cannot be used"):
                sky_positions(self.header, self.where, self.file.hdus)
        except InputError as error:
            what, hint = error.what, f"{hint}; a distortion table may be missing from the file"
        return InputError(what, where=self.where, hint=hint)

    def section(self, rows: slice, cols: slice) -> tuple[NDArray[Any], list[str]]:
        """Pixels (h, w, bands) of one part, and flags.

        BSCALE and BZERO are applied; BLANK, masked pixels and constant fills are NaN. float32, float64 where the file
        has more digits, or uint8 when `is_display`. Flags: `mask:DQ`, `mask_ignored`, `fill_value:-999`.
        InputError: the pixels cannot be read or unpacked.
        """
        planes = []
        for plane in self.planes:
            with complaints(self.file, f"the pixels of HDU {self.hdu} cannot be read"):
                part = np.asarray(plane.hdu.section[(*plane.lead, rows, cols, *plane.trail)])
                height, width = len(range(*rows.indices(self.shape[0]))), len(range(*cols.indices(self.shape[1])))
                plain = part if self.is_display else scaled(part, plane.hdu.header, self.where)
                planes.append(plain.reshape(height, width))
        data = np.stack(planes, axis=2)
        if self.is_display:
            return data, []
        flags = self._hide(data, rows, cols)
        data, fills = drop_fills(data)
        return data, [*flags, *fills]

    def _hide(self, data: NDArray[Any], rows: slice, cols: slice) -> list[str]:
        """Write NaN over the pixels that the file's masks call bad; flags."""
        flags: dict[str, None] = {}
        for k, mask in enumerate(self.masks):
            if mask is None:
                continue
            with complaints(self.file, f"the mask {mask.name} cannot be read"):
                bad = mask.bad(rows, cols)
            if hides_too_much(bad):
                flags["mask_ignored"] = None
            elif bad.any():
                flags[f"mask:{mask.name}"] = None
                data[:, :, k][bad] = np.nan
        return list(flags)


@contextmanager
def open_sky(path: str | Path, hdu: int | str | None = None) -> Iterator[SkySource]:
    """Open the image in `path`: the first usable one, or `hdu` (index, `SCI`, `SCI,2`, or bands `i+r+g`).

    No pixel is read. InputError: not FITS, no usable image, no such HDU, or the file ends before the
    pixels do.
    """
    with open_fits(path) as file:
        with complaints(file, "its headers cannot be understood"):
            layout = find_image(file, hdu)
            where = f"{path}, HDU {layout.hdu}"
            order, flags = display_order(layout.bands, where, bluest_first=hdu is not None and "+" in str(hdu))
            for flag in flags:
                file.flag(flag)
            _check_complete(file, layout)
            for plane in layout.planes:
                check_tiles(plane.hdu, where)
            masks = [find_mask(file, plane.hdu, layout.shape, k) for k, plane in enumerate(layout.planes)]
        yield SkySource(
            file=file,
            hdu=layout.hdu,
            shape=layout.shape,
            planes=tuple(layout.planes[k] for k in order),
            bands=tuple(layout.bands[k].name for k in order),
            header=layout.header,
            masks=tuple(masks[k] for k in order),
            is_display=all(is_display(plane.hdu.header, where) for plane in layout.planes),
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
