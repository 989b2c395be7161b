"""FITS images as arrays, and what is in a file.

Pixels are (H, W, bands) in the unit of the file, float32 or, where the file has more digits, float64. Row 0 is the
bottom of the sky as FITS has it. Bands are reddest first and at most three (`attn.data_adapters.sky.bands` has the
rule, `attn.data_adapters.sky.layout` which HDU is taken). Images that already hold 8-bit display values keep dtype
uint8.

Flags: `nan_filled:12%` (NaN, infinity, BLANK, masked and constant pixels, filled as `holes.fill_holes` says),
`mask:DQ` (the mask that was applied), `mask_ignored`, `fill_value:-999`, `tiny:12x12`,
`truncated` (only padding or later HDUs are cut off), `bad_checksum`, `band_order_assumed`,
`bands_used:i,r,g`, `stokes_I`, `hdu:1 (SCI) of 4 images`, `display_levels` (whole numbers 0 to 255 in three bands: a
picture that was stretched before, which becomes uint8).
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from attn.core.errors import InputError
from attn.data_adapters.library_warnings import caught_warnings
from attn.data_adapters.sky.background import percent
from attn.data_adapters.sky.band_cards import card
from attn.data_adapters.sky.file import complaints, open_fits
from attn.data_adapters.sky.holes import fill_holes
from attn.data_adapters.sky.layout import find_image, what_is
from attn.data_adapters.sky.source import SkySource, open_sky
from attn.data_adapters.sky.wcs import SkyPositions, sky_positions

CUTOUT_MAX_SIDE = 1024  # pixels; a larger image shows a field, in which one galaxy is a few per cent of the width
MAX_PIXELS = 1 << 26  # read at once, however large a side is allowed (8192 x 8192)
TINY_SIDE = 32  # pixels; smaller images are read and flagged
LEAST_WHITE = 64  # levels that a colour picture reaches at least


@dataclass(frozen=True)
class SkyImage:
    """One image: data (H, W, bands) finite, float (uint8 for display values), and where it came from."""

    data: NDArray[Any]
    bands: tuple[str, ...]
    hdu: str
    header: Any
    flags: tuple[str, ...]
    path: Path

    @cached_property
    def wcs(self) -> SkyPositions | None:
        """Positions of its pixels on the sky; None without a WCS, and for one that does not work."""
        if "CTYPE1" not in self.header:
            return None
        try:
            with open_fits(self.path) as file, caught_warnings():
                return sky_positions(self.header, str(self.path), file.hdus)
        except InputError:
            return None


def read_fits(path: str | Path, *, hdu: int | str | None = None, max_side: int | None = CUTOUT_MAX_SIDE) -> SkyImage:
    """The image in `path`, whole.

    hdu: index, `SCI`, `SCI,2`, or extensions as bands `i+r+g`; None takes the first usable image.
    max_side: refuse an image with a longer side before its pixels are read, as it is a field and not a
    cut-out; None allows any up to MAX_PIXELS.
    InputError: not FITS, no usable image, truncated, damaged, constant, without one finite pixel, or too
    large.
    """
    with open_sky(path, hdu) as source:
        check_size(source, max_side)
        raw, hidden = source.section(slice(None), slice(None))
        _verify_checksum(source)
        data, flags = clean_pixels(raw, source.where)
        if data.dtype != np.uint8 and is_picture_of_levels(data):
            data, flags = data.astype(np.uint8), [*flags, "display_levels"]
        return SkyImage(
            data=data,
            bands=source.bands,
            hdu=source.hdu,
            header=source.header,
            flags=(*source.file.flags, *hidden, *flags),
            path=Path(path),
        )


def is_picture_of_levels(data_hwb: NDArray[Any]) -> bool:
    """Whether three bands hold the levels 0 to 255 of a colour picture that was written as FITS.

    All are whole numbers then, and some are above 63. Counts of a survey reach far above 255, or have fractions.
    """
    return (
        data_hwb.ndim == 3
        and data_hwb.shape[2] == 3
        and bool(data_hwb.min() >= 0 and LEAST_WHITE <= data_hwb.max() <= 255)
        and bool((data_hwb == np.rint(data_hwb)).all())
    )


def describe_fits(path: str | Path) -> list[dict[str, str | int]]:
    """One row per HDU: `hdu`, `name`, `content`, `type` (BITPIX), `band`, `unit`, and `use` (`image`, or
    empty).

    InputError when the file cannot be opened as FITS; a file without a usable image still lists what it
    has.
    """
    with open_fits(path) as file, complaints(file, "its headers cannot be understood"):
        try:
            layout = find_image(file, None)
            used = [plane.hdu for plane in layout.planes]
        except InputError:
            used = []
        return [
            {
                "hdu": index,
                "name": str(unit.name).strip(),
                "content": what_is(unit),
                "type": int(unit.header.get("BITPIX", 0)),
                "band": card(unit.header, "FILTER") or card(unit.header, "BAND"),
                "unit": card(unit.header, "BUNIT"),
                "use": "image" if any(unit is other for other in used) else "",
            }
            for index, unit in enumerate(file.hdus)
        ]


def check_size(source: SkySource, max_side: int | None) -> None:
    """InputError when the declared size is more than a cut-out's or more than is read at once."""
    height, width = source.shape
    if max_side is not None and max(height, width) > max_side:
        raise InputError(
            f"{width:,} x {height:,} pixels show a field, not one galaxy",
            where=source.where,
            hint="name the galaxies in it with --catalog, or find them with --detect",
        )
    if height * width > MAX_PIXELS:
        raise InputError(
            f"{width:,} x {height:,} pixels are too many to read at once",
            where=source.where,
            hint="name the galaxies in it with --catalog, or find them with --detect",
        )


def clean_pixels(raw: NDArray[Any], where: str) -> tuple[NDArray[Any], list[str]]:
    """Finite pixels (H, W, bands) and flags; InputError when there is nothing to see in `raw`."""
    if not np.isfinite(raw).any():
        raise InputError("no pixel has a value (all NaN or BLANK)", where=where, hint="choose another image")
    data, holes = fill_holes(raw)
    if data.min() == data.max():
        raise InputError(f"every pixel is {data.flat[0]:g}", where=where, hint="there is nothing to see in it")
    flags = [f"nan_filled:{percent(holes)}"] if holes else []
    if min(data.shape[:2]) < TINY_SIDE:
        flags.append(f"tiny:{data.shape[1]}x{data.shape[0]}")
    return data, flags


def _verify_checksum(source: SkySource) -> None:
    hdu = source.planes[0].hdu
    if "DATASUM" not in hdu.header or isinstance(hdu, fits.CompImageHDU):  # there it is the sum of the tiles
        return
    with complaints(source.file, "its checksum cannot be computed"):
        if hdu.verify_datasum() == 0:
            source.file.flag("bad_checksum")
