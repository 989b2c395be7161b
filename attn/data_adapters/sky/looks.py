"""What a cut-out looks like, from its display pixels alone: flags of what is no galaxy, and a few measures.

The limits leave galaxies alone: 0.2 % of 2,228 of EFIGI and none of 1,000 of GZ2 have one of these flags. They say what
is plain to see. How unusual a picture is among galaxies, an anomaly says that is fitted to the measures.

Shapes: H height, W width, S working side, M measures. Brightness is the mean of the bands in display levels, 0 to 255.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from attn.data_adapters.sky.framing import luminance

Plane = NDArray[np.float32]

NO_GALAXY = ("empty", "negative", "trail", "saturated", "point-like")
"""The flags."""

SMOOTHING = 1.0  # pixels at the working side
FAINTEST, LEAST_SIGNAL = 16.0, 4.2  # display levels above the sky, and in its noise, of something in the middle
SMALLEST = 5.5  # pixels of the file: radius at an eighth of the peak, below which a source is no larger than a star
STEEP, STEEP_SMALL = 0.62, 8.0  # radius at half over that at an eighth of the peak; a bright star, with that radius
FLAT, FLAT_AREA = 0.3, 25  # share of the core that is as bright as its peak, and pixels at the working side
LONG = 6.0  # axis ratio of a trail
NEGATIVE = 12.0  # levels by which the middle of a negative is darker than its rim
ISOPHOTES = (0.5, 0.25, 0.12)  # shares of the peak at which the size is measured
MEASURES = 8


@dataclass(frozen=True)
class Looks:
    """Flags, and logarithms (M,) of what is seen in the middle.

    They are the radius at each of ISOPHOTES in pixels of the working side, the last of them in pixels of the file, the
    height above the sky, the noise of the sky, height over noise, and the area that is as bright as the peak.
    """

    flags: tuple[str, ...]
    measures: NDArray[np.float64]


def looks(pixels_hwc: NDArray[np.uint8]) -> Looks:
    """Flags and measures of display pixels (H, W, 3) uint8.

    `empty`: nothing in the middle stands out of the sky. `negative`: it is dark on bright. `trail`: a straight line
    from border to border. `saturated`: the core is flat. `point-like`: as small, or as steep, as a star.
    """
    plane_ss = luminance(pixels_hwc)
    side = len(plane_ss)
    smooth_ss = ndimage.gaussian_filter(plane_ss, SMOOTHING)
    middle = slice(side * 5 // 12, side * 7 // 12)
    rim = _rim(smooth_ss)
    sky = float(np.median(rim))
    noise = 1.4826 * float(np.median(np.abs(rim - sky))) + 0.3
    height = float(smooth_ss[middle, middle].max()) - sky
    areas = [_central(smooth_ss > sky + share * height) for share in ISOPHOTES]
    radii = [float(np.sqrt(area / np.pi)) for area in areas]
    radius = radii[-1] * min(pixels_hwc.shape[:2]) / side
    plateau = _plateau(plane_ss)
    above = max(height, 1.0)
    sizes = np.log(np.array([*radii, radius]) + 0.5)
    measures = np.array([*sizes, np.log(above), np.log(noise), np.log(above / noise), np.log1p(plateau)])
    if _negative(plane_ss):
        return Looks(("negative",), measures)
    if _trail(smooth_ss, sky, noise):
        return Looks(("trail",), measures)
    if height < FAINTEST and height < LEAST_SIGNAL * noise:
        return Looks(("empty",), measures)
    core, _, whole = areas
    steep = np.sqrt(core / max(whole, 1)) > STEEP
    flags = ["saturated"] if plateau >= max(FLAT_AREA, FLAT * core) else []
    if whole and (radius < SMALLEST or (steep and radius < STEEP_SMALL)):
        flags.append("point-like")
    return Looks(tuple(flags), measures)


def _rim(plane_ss: Plane) -> NDArray[np.float32]:
    edge = len(plane_ss) // 16
    sides = plane_ss[:edge], plane_ss[-edge:], plane_ss[:, :edge], plane_ss[:, -edge:]
    return np.concatenate([part.ravel() for part in sides])


def _central(above_ss: NDArray[np.bool_]) -> int:
    """Pixels of the largest connected region of the middle; 0 without one."""
    side = len(above_ss)
    middle = slice(side * 5 // 12, side * 7 // 12)
    regions, _ = ndimage.label(above_ss)
    inside = regions[middle, middle]
    return int((regions == np.bincount(inside[inside > 0]).argmax()).sum()) if inside.any() else 0


def _plateau(plane_ss: Plane) -> int:
    """Pixels of the largest connected region that is as bright as the brightest pixel, within 4 levels."""
    regions, _ = ndimage.label(plane_ss >= plane_ss.max() - 4)
    return int(np.bincount(regions.ravel())[1:].max())


def _trail(smooth_ss: Plane, sky: float, noise: float) -> bool:
    """Whether the largest bright region is a line from one border to another. An edge-on galaxy ends before them."""
    above = smooth_ss > sky + max(4 * noise, 0.3 * (float(smooth_ss.max()) - sky))
    if sum(edge.any() for edge in (above[0], above[-1], above[:, 0], above[:, -1])) < 2:
        return False  # as almost every galaxy: finding regions takes longer
    regions, _ = ndimage.label(above, np.ones((3, 3)))
    places = np.argwhere(regions == np.bincount(regions.ravel())[1:].argmax() + 1)
    borders = (places == 0).any(axis=0).sum() + (places == len(smooth_ss) - 1).any(axis=0).sum()
    if borders < 2 or len(places) < len(smooth_ss) // 2:
        return False
    narrow, wide = np.linalg.eigvalsh(np.cov(places.T))
    return bool(wide > LONG**2 * max(narrow, 0.1))


def _negative(plane_ss: Plane) -> bool:
    """Whether the middle is darker than the rim, by more than the rim's noise and more than anything is brighter."""
    side = len(plane_ss)
    rim = _rim(plane_ss)
    level = float(np.median(rim))
    middle = plane_ss[side * 3 // 8 : side * 5 // 8, side * 3 // 8 : side * 5 // 8]
    if level - float(middle.min()) <= NEGATIVE:
        return False
    noise = 1.4826 * float(np.median(np.abs(rim - level)))
    low, high = np.percentile(middle, (10, 90))
    return bool(level - low > max(NEGATIVE, 3 * noise) and level - low > 2 * (high - level))
