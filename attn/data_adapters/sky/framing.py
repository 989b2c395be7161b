"""How much of a cut-out its galaxy takes, so that a galaxy small in the frame is looked at as closely as
one that fills it.

Shapes: H height, W width, S side. Pixels are display values (H, W, 3) uint8.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Picture = NDArray[Any]
Orientation = tuple[bool, bool, bool]
"""Whether a picture is turned upside down, mirrored left to right, and then transposed."""

WORKING_SIDE = 96  # pixels; the extent of a galaxy needs no more
SMOOTHING = 1.5  # pixels at the working side
NOISE, ISOPHOTE = 3.0, 0.08  # the galaxy ends at this many sigma above the sky, or this share of its peak
MARGIN = 1.2  # sky left around the galaxy
BLACK = 1.6  # in its own noise: a sky darker than that was cut off
LEAST_GAMMA = 0.5  # a picture is made no brighter than by this exponent
SMALLEST = 0.15  # share of the side below which a galaxy has too few pixels to be enlarged


def galaxy_share(pixels_hwc: NDArray[np.uint8]) -> float:
    """Side of the central square that holds the central galaxy with a margin, as a share of the shorter
    side: 0.15 to 1.

    The galaxy is the connected region around the centre that is above 3 sigma of the rim's noise and
    above 8 % of the central peak, in the smoothed mean of the bands. Without one the share is 1: the
    picture is taken as it is.
    """
    luminance_ss = luminance(pixels_hwc)
    side = len(luminance_ss)
    smooth = ndimage.gaussian_filter(luminance_ss, SMOOTHING)
    rim = np.concatenate([smooth[:5].ravel(), smooth[-5:].ravel(), smooth[:, :5].ravel(), smooth[:, -5:].ravel()])
    sky = np.median(rim)
    noise = 1.4826 * np.median(np.abs(rim - sky))
    middle = slice(side * 5 // 12, side * 7 // 12)
    peak = smooth[middle, middle].max()
    regions, count = ndimage.label(smooth > sky + max(NOISE * noise, ISOPHOTE * (peak - sky), 1.0))
    central = regions[middle, middle]
    if count == 0 or not central.any():
        return 1.0
    rows, columns = np.nonzero(regions == np.bincount(central[central > 0]).argmax())
    reach = np.maximum(np.abs(rows + 0.5 - side / 2), np.abs(columns + 0.5 - side / 2))
    return float(np.clip(2 * MARGIN * np.percentile(reach, 99) / side, SMALLEST, 1.0))


def frame(pixels_hwc: NDArray[np.uint8], side: int, share: float = 1.0) -> NDArray[np.uint8]:
    """The central square of `share` times the shorter side, resized with an antialiasing filter to (side,
    side, 3).

    The centre is where a cut-out's galaxy is: an oblong picture loses its ends and keeps its proportions. The square
    need not begin at a pixel, so that a turned picture has the turned frame.
    """
    height, width = pixels_hwc.shape[:2]
    edge = max(1.0, share * min(height, width))
    top, left = (height - edge) / 2, (width - edge) / 2
    if edge == side and top.is_integer() and left.is_integer():
        return pixels_hwc[int(top) : int(top) + side, int(left) : int(left) + side].copy()
    box = (left, top, left + edge, top + edge)
    resized = Image.fromarray(pixels_hwc).resize((side, side), Image.Resampling.BILINEAR, box=box)
    return np.array(resized)


def orientation(pixels_ssc: NDArray[np.uint8]) -> Orientation:
    """How a framed galaxy is laid: along its longer side, and with the longer tail of its light to the right and below.

    Sides are compared by the variance of the light above the rim, tails by the third moment about its centre. All eight
    turns and mirror images of a picture are laid alike, unless it is symmetric.
    """
    light_ss = np.asarray(sum(pixels_ssc[:, :, band].astype(np.float64) for band in range(pixels_ssc.shape[2])))
    rim = np.concatenate([light_ss[:4], light_ss[-4:], light_ss[:, :4].T, light_ss[:, -4:].T], axis=None)
    light_ss = np.maximum(light_ss - np.median(rim), 0)
    variances, tails = [], []
    for along in (1, 0):  # of rows, then of columns
        profile_s = light_ss.sum(along)
        place_s = np.arange(len(profile_s)) - (len(profile_s) - 1) / 2
        place_s -= (profile_s * place_s).sum() / max(profile_s.sum(), 1.0)
        variances.append((profile_s * place_s**2).sum())
        tails.append((profile_s * place_s**3).sum())
    return bool(tails[0] < 0), bool(tails[1] < 0), bool(variances[0] > variances[1])


def laid(x: Picture, how: Orientation) -> Picture:
    """A picture (S, S, ...) turned and mirrored as `orientation` says."""
    upside_down, mirrored, transposed = how
    turned: Picture = x[:: -1 if upside_down else 1, :: -1 if mirrored else 1]
    return np.ascontiguousarray(turned.swapaxes(0, 1) if transposed else turned)


def as_it_was(x: Picture, how: Orientation) -> Picture:
    """The picture (S, S, ...) of which `laid` made this one."""
    upside_down, mirrored, transposed = how
    turned: Picture = x.swapaxes(0, 1) if transposed else x
    return np.ascontiguousarray(turned[:: -1 if upside_down else 1, :: -1 if mirrored else 1])


def lifted(pixels_hwc: NDArray[np.uint8], least: float) -> NDArray[np.uint8]:
    """The picture made brighter by so much that its sky is at `least` display levels; as it is if it is brighter.

    Viewers show the sky dark grey or black. Where it is grey, its noise is all there, and a gamma brightens it: that
    undoes the gamma of the viewer. Where it is black, a part of its noise was cut off, and levels are added. The sky is
    the median of a rim of 4 pixels, over the bands.
    """
    x = pixels_hwc
    rim_n3 = np.concatenate([part.reshape(-1, 3) for part in (x[:4], x[-4:], x[:, :4], x[:, -4:])])
    sky = float(np.median(rim_n3, axis=0).mean())
    if sky >= least:
        return x
    grey_n = rim_n3.mean(1)
    noise = 1.4826 * float(np.median(np.abs(grey_n - np.median(grey_n))))
    if sky > max(1.0, BLACK * noise):
        exponent = max(LEAST_GAMMA, np.log(least / 255) / np.log(sky / 255))
        brighter = np.rint(255 * (np.arange(256) / 255) ** exponent).astype(np.uint8)
        x, sky = brighter[x], float(np.median(brighter[rim_n3], axis=0).mean())
    missing = least - sky
    return np.clip(x + np.float32(missing), 0, 255).astype(np.uint8) if missing > 0 else x


def luminance(pixels_hwc: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean of the bands (S, S) of the central square at the working side."""
    framed = frame(pixels_hwc, WORKING_SIDE)
    # The mean over a last axis of three is slow in numpy; over whole planes it is not.
    return np.asarray(sum(framed[:, :, band].astype(np.float64) for band in range(3)) / 3, np.float32)
