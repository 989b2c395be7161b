"""Sources in a survey image, found as SExtractor finds them (Bertin and Arnouts 1996), through `sep`.

The image is searched in overlapping tiles, so that memory stays at one tile; a source belongs to the tile
whose inner part holds its centre. Stars are sources too: what is found is everything extended enough to
be looked at.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sep
from numpy.typing import NDArray

from attn.core.errors import InputError
from attn.data_adapters.boundary import boundary
from attn.data_adapters.images.cutout import Cutout
from attn.data_adapters.sky.background import Pixels
from attn.data_adapters.sky.catalog import Catalog
from attn.data_adapters.sky.cutouts import cut_rows
from attn.data_adapters.sky.layout import MIN_SIDE
from attn.data_adapters.sky.source import SkySource, open_sky
from attn.data_adapters.sky.stretch import Stretch

TILE = 2048  # pixels
OVERLAP = 256  # pixels read beyond a tile on each side; a larger source may be cut at a tile's border
FRAME = 6.0  # side of the cut-out in units of the source's rms semi-major axis: a disc then fills the frame
SMALLEST, LARGEST = 32, 512  # side of a cut-out in pixels
BRIGHTEST = 1e15  # in the unit of the file, and BRIGHTEST_SIGNAL in the noise: beyond float32's sums `sep` crashes
BRIGHTEST_SIGNAL = 1e9


@dataclass(frozen=True)
class Detection:
    """What counts as a source: height above the local sky in its noise, and connected pixels."""

    threshold: float = 3.0
    min_area: int = 25


def detected_cutouts(
    image: str | Path, stretch: Stretch, *, hdu: int | str | None = None, detection: Detection | None = None
) -> Iterator[Cutout | InputError]:
    """A cut-out of each source in `image`, tile by tile, brightest first within a tile.

    `values` are ra, dec (where the image has a WCS), x and y; ids are `<x>_<y>` in whole pixels.
    Raises InputError when the image cannot be read or has no sources.
    """
    with open_sky(image, hdu) as source:
        found = 0
        for rows in find_sources(source, detection or Detection()):
            found += len(rows)
            yield from cut_rows(source, rows, stretch)
        if not found:
            raise InputError("no sources stand out of its noise", where=source.where, hint="give a --catalog")


def find_sources(source: SkySource, detection: Detection) -> Iterator[Catalog]:
    """The sources of each tile that has any, with `size` the side of a fitting cut-out in pixels."""
    height, width = source.shape
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            rows = slice(max(top - OVERLAP, 0), min(top + TILE + OVERLAP, height))
            cols = slice(max(left - OVERLAP, 0), min(left + TILE + OVERLAP, width))
            part, _ = source.section(rows, cols)
            with boundary(source.where, "its sources cannot be found", "give a --catalog"):
                objects = _extract(part, detection)
            x, y = objects["x"] + cols.start, objects["y"] + rows.start
            inside = (x >= left) & (x < left + TILE) & (y >= top) & (y < top + TILE)
            order = np.flatnonzero(inside)[np.argsort(-objects["flux"][inside], kind="stable")]
            if order.size:
                yield _catalog(source, x[order], y[order], objects["a"][order])


def _extract(data: NDArray[Any], detection: Detection) -> NDArray[Any]:
    """Objects (x, y, a, flux, ...) of one tile, from the mean of its bands in units of their noise."""
    masked = ~np.isfinite(data).all(axis=2)
    image = np.zeros(data.shape[:2], np.float32)
    if masked.mean() < 1:
        for band in range(data.shape[2]):
            plane = data[:, :, band]
            level = np.median(plane[~masked]).astype(np.float64)  # float32 has no digits to spare for a large sky
            image += _signal_to_noise(np.clip(plane - level, -BRIGHTEST, BRIGHTEST).astype(np.float32), masked)
    image /= math.sqrt(data.shape[2])
    sep.set_extract_pixstack(max(image.size, 300_000))
    sep.set_sub_object_limit(8192)
    return np.asarray(sep.extract(image, detection.threshold, mask=masked, minarea=detection.min_area))


def _signal_to_noise(plane: Pixels, masked: NDArray[np.bool_]) -> Pixels:
    plane = np.where(masked, np.float32(0), plane)
    background = sep.Background(plane, mask=masked)
    noise = background.globalrms
    if noise <= 0:
        return np.zeros_like(plane)
    with np.errstate(over="ignore"):
        signal = (plane - background.back()) / noise
    return np.asarray(np.clip(np.nan_to_num(signal), -BRIGHTEST_SIGNAL, BRIGHTEST_SIGNAL), dtype=np.float32)


def _catalog(source: SkySource, x: NDArray[Any], y: NDArray[Any], a: NDArray[Any]) -> Catalog:
    nothing = np.full(x.shape, np.nan)
    ra, dec = (nothing, nothing) if source.wcs is None else source.wcs.to_sky(x, y)
    return Catalog(
        ids=[f"{round(px)}_{round(py)}" for px, py in zip(x, y, strict=True)],
        ra=ra,
        dec=dec,
        x=x,
        y=y,
        size=np.clip(FRAME * a, max(SMALLEST, MIN_SIDE), LARGEST),
        size_arcsec=nothing,
    )
