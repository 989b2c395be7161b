"""One image from one FITS file per band, on the same pixels of the sky.

Where the files have world coordinates, these say whether the pixels are the same: a shift by whole pixels is undone,
and files that are turned, scaled or elsewhere are refused. Files of one exposure often differ by a few pixels, and
colours that do not lie on each other look like a merger.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from attn.core.errors import InputError
from attn.data_adapters.sky.band_cards import band_of
from attn.data_adapters.sky.band_names import band_words, wavelength
from attn.data_adapters.sky.bands import Band, all_known, display_order
from attn.data_adapters.sky.fits import CUTOUT_MAX_SIDE, SkyImage, read_fits
from attn.data_adapters.sky.holes import fill_holes
from attn.data_adapters.sky.wcs import SkyPositions

MOST_APART = 0.5  # pixels by which a shift may differ within an image, and of which nothing is undone
MOST_SHIFT = 0.5  # of the side: with more, the files show different parts of the sky
_GRID = 5  # positions a side that are compared


@dataclass(frozen=True)
class Grid:
    """The pixels of one file: (rows, columns), and their positions on the sky where it has them."""

    path: str | Path
    shape: tuple[int, ...]
    wcs: SkyPositions | None


def read_bands(paths: Sequence[str | Path], *, max_side: int | None = CUTOUT_MAX_SIDE) -> SkyImage:
    """One image from one file per band, two or more; the pixels are those of the first.

    The band of a file is the one its header names (FILTER, BAND, ...), else a word of its file name
    (`ngc1300_r.fits`). When that does not tell them all apart, three files are taken bluest first, as in
    `g r i`, with the flag `band_order_assumed`. Flags: `shifted:3,-2` (a band that was moved by as many pixels in x and
    y), `wcs_not_compared` (some of the files have no world coordinates).
    InputError: as `read_fits`, files of different shape, and files whose world coordinates do not agree.
    """
    images = [read_fits(path, max_side=max_side) for path in paths]
    for path, image in zip(paths, images, strict=True):
        if image.data.shape[2] != 1:
            raise InputError(f"has {image.data.shape[2]} bands", where=path, hint="give a single band per file")
    images = [images[0], *(_on_pixels_of(images[0], image) for image in images[1:])]
    order, names, flags = file_order([_grid(image) for image in images], [image.header for image in images])
    merged = dict.fromkeys([*flags, *(flag for image in images for flag in image.flags)])
    return replace(
        images[order[0]],
        data=np.concatenate([images[k].data for k in order], axis=2),
        bands=tuple(names[k] for k in order),
        flags=tuple(merged),
    )


def file_order(grids: Sequence["Grid"], headers: Sequence[Any]) -> tuple[list[int], tuple[str, ...], tuple[str, ...]]:
    """Which file is red, and so on, the names of the bands in the order given, and flags; see `read_bands`."""
    bands = [band_of(header) for header in headers]
    if not all_known(bands):
        stems = [_stem_band(grid.path) for grid in grids]
        bands = stems if all_known(stems) else [Band(str(k + 1)) for k in range(len(grids))]
    order, flags = display_order(bands, str(grids[0].path), bluest_first=True)
    placed = [grid.wcs is not None for grid in grids]
    compared = () if all(placed) or not any(placed) else ("wcs_not_compared",)
    return order, tuple(band.name for band in bands), (*flags, *compared)


def _on_pixels_of(first: SkyImage, image: SkyImage) -> SkyImage:
    """`image` on the pixels of `first`."""
    dx, dy = shift_between(_grid(first), _grid(image))
    if (dx, dy) == (0, 0) and image.data.shape == first.data.shape:
        return image
    data = np.full(first.data.shape, np.nan, np.result_type(image.data, np.float32))
    (height, width), (own_height, own_width) = data.shape[:2], image.data.shape[:2]
    top, bottom = max(0, -dy), min(height, own_height - dy)
    left, right = max(0, -dx), min(width, own_width - dx)
    data[top:bottom, left:right] = image.data[top + dy : bottom + dy, left + dx : right + dx]
    moved = (f"shifted:{-dx},{-dy}",) if (dx, dy) != (0, 0) else ()
    return replace(image, data=fill_holes(data)[0], flags=(*moved, *image.flags))


def _grid(image: SkyImage) -> Grid:
    return Grid(image.path, image.data.shape[:2], image.wcs)


def shift_between(first: Grid, other: Grid) -> tuple[int, int]:
    """Whole pixels (x, y) from a place in `first` to the same place in `other`; 0, 0 where nobody knows.

    InputError: they are of another size and nobody knows, or do not show the same sky on parallel pixels of one size.
    """
    (height, width), (other_height, other_width) = first.shape, other.shape
    if first.wcs is None or other.wcs is None:
        if first.shape != other.shape:
            raise InputError(
                f"has {other_width} x {other_height} pixels, but {first.path} has {width} x {height}",
                where=other.path,
                hint="resample the bands to one grid first",
            )
        return 0, 0
    x, y = (axis.ravel() for axis in np.meshgrid(np.linspace(0, width - 1, _GRID), np.linspace(0, height - 1, _GRID)))
    there_x, there_y = other.wcs.to_pixels(*first.wcs.to_sky(x, y))
    apart = np.stack([there_x - x, there_y - y])
    middle = np.median(apart, axis=1)
    if not np.isfinite(apart).all() or (np.abs(middle) > MOST_SHIFT * np.array([width, height])).any():
        raise InputError(f"shows another part of the sky than {first.path}", where=other.path, hint="give one field")
    if np.abs(apart - middle[:, None]).max() > MOST_APART:
        raise InputError(
            f"is turned or scaled against {first.path}",
            where=other.path,
            hint="resample the bands to one grid first",
        )
    return int(np.rint(middle[0])), int(np.rint(middle[1]))


def _stem_band(path: str | Path) -> Band:
    """The last word of the file's name that is a band (`ngc1300_r.fits`, `stack.g.unconv.fits`)."""
    words = band_words(Path(path).name)
    return next((Band(word, wave) for word in reversed(words) if (wave := wavelength(word)) is not None), Band("?"))
