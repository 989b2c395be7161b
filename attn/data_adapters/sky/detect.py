"""Sources in a survey image, found as SExtractor finds them (Bertin and Arnouts 1996), through `sep`.

The image is searched in overlapping tiles, so that memory stays at one tile; a source belongs to the tile
whose inner part holds its centre. Stars are sources too, and told from galaxies by their size.
"""

import math
from collections.abc import Iterator, Sequence
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
from attn.data_adapters.sky.band_sources import BandSources, open_survey
from attn.data_adapters.sky.catalog import Catalog
from attn.data_adapters.sky.cutouts import CutoutError, cut_rows
from attn.data_adapters.sky.layout import MIN_SIDE
from attn.data_adapters.sky.source import SkySource
from attn.data_adapters.sky.stretch import Stretch

TILE = 2048  # pixels
OVERLAP = 256  # pixels read beyond a tile on each side; a larger source may be cut at a tile's border
FRAME = 6.0  # side of the cut-out in units of the source's rms semi-major axis: a disc then fills the frame
SMALLEST, LARGEST = 32, 512  # side of a cut-out in pixels
BRIGHTEST = 1e15  # in the unit of the file, and BRIGHTEST_SIGNAL in the noise: beyond float32's sums `sep` crashes
BRIGHTEST_SIGNAL = 1e9
ROUND = 0.7  # axis ratio of a source that may be a star
FEWEST_STARS, LEAST_SHARE = 5, 0.1  # sources of one size that show what size a star has
STAR_SPREAD = 1.15  # between the radii of stars
LARGEST_STAR = 1.25  # in the radius of the stars


@dataclass(frozen=True)
class Detection:
    """What counts as a source: height above the local sky in its noise, and connected pixels; `stars` as well?"""

    threshold: float = 3.0
    min_area: int = 25
    stars: bool = True


def detected_cutouts(
    image: str | Path | Sequence[str | Path],
    stretch: Stretch,
    *,
    hdu: int | str | None = None,
    detection: Detection | None = None,
) -> Iterator[Cutout | CutoutError]:
    """A cut-out of each source in `image`, tile by tile, brightest first within a tile.

    `image` is one file, or a sequence of files with a band each. `values` are ra, dec (where the image has a WCS), x,
    y, `half_light` (the radius of half the light, in pixels) and `star` (1 for a source that is no larger than the
    stars of its tile, else 0; NaN where there are too few to tell); ids are `<x>_<y>` in whole pixels.
    Raises InputError when the image cannot be read or has no sources.
    """
    with open_survey(image, hdu) as source:
        found = 0
        for rows in find_sources(source, detection or Detection()):
            found += len(rows)
            yield from cut_rows(source, rows, stretch)
        if not found:
            raise InputError("no sources stand out of its noise", where=source.where, hint="give a --catalog")


def find_sources(source: SkySource | BandSources, detection: Detection) -> Iterator[Catalog]:
    """The sources of each tile that has any, with `size` the side of a fitting cut-out in pixels."""
    height, width = source.shape
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            rows = slice(max(top - OVERLAP, 0), min(top + TILE + OVERLAP, height))
            cols = slice(max(left - OVERLAP, 0), min(left + TILE + OVERLAP, width))
            part, _ = source.section(rows, cols)
            with boundary(source.where, "its sources cannot be found", "give a --catalog"):
                objects, half_light = _extract(part, detection)
            x, y = objects["x"] + cols.start, objects["y"] + rows.start
            star = star_like(half_light, objects["b"] / objects["a"])
            inside = (x >= left) & (x < left + TILE) & (y >= top) & (y < top + TILE)
            if not detection.stars:
                inside &= star != 1
            order = np.flatnonzero(inside)[np.argsort(-objects["flux"][inside], kind="stable")]
            if order.size:
                extra = {"half_light": half_light[order], "star": star[order]}
                yield _catalog(source, x[order], y[order], objects["a"][order], extra)


def star_like(half_light_n: NDArray[Any], axis_ratio_n: NDArray[Any]) -> NDArray[np.float64]:
    """1 for sources (N,) that are no larger than stars, 0 for larger ones, NaN for all where no stars are known.

    Stars of all magnitudes have one size, that of the point spread function: they are the smallest sources of which
    several, and round ones, have the same radius of half their light.
    """
    round_m = np.sort(half_light_n[(axis_ratio_n > ROUND) & (half_light_n > 0)])
    several = max(FEWEST_STARS, round(LEAST_SHARE * len(round_m)))
    within_m = np.searchsorted(round_m, round_m * STAR_SPREAD, side="right") - np.arange(len(round_m))
    dense_m = np.flatnonzero(within_m >= several)
    if not len(dense_m):
        return np.full(half_light_n.shape, np.nan)
    first = dense_m[0]
    size = np.median(round_m[first : first + within_m[first]])
    return np.asarray(half_light_n < LARGEST_STAR * size, np.float64)


def _extract(data: NDArray[Any], detection: Detection) -> tuple[NDArray[Any], NDArray[Any]]:
    """Objects (x, y, a, b, flux, ...) of one tile, in the noise of its bands, and their half-light radii."""
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
    objects = np.asarray(sep.extract(image, detection.threshold, mask=masked, minarea=detection.min_area))
    reach = np.clip(FRAME * objects["a"], 3, LARGEST)
    half_light, _ = sep.flux_radius(image, objects["x"], objects["y"], reach, 0.5, mask=masked, subpix=5)
    return objects, np.asarray(half_light, np.float64)


def _signal_to_noise(plane: Pixels, masked: NDArray[np.bool_]) -> Pixels:
    plane = np.where(masked, np.float32(0), plane)
    background = sep.Background(plane, mask=masked)
    noise = background.globalrms
    if noise <= 0:
        return np.zeros_like(plane)
    with np.errstate(over="ignore"):
        signal = (plane - background.back()) / noise
    return np.asarray(np.clip(np.nan_to_num(signal), -BRIGHTEST_SIGNAL, BRIGHTEST_SIGNAL), dtype=np.float32)


def _catalog(
    source: SkySource | BandSources,
    x: NDArray[Any],
    y: NDArray[Any],
    a: NDArray[Any],
    extra: dict[str, NDArray[np.float64]],
) -> Catalog:
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
        extra=extra,
    )
