"""Holes in an image: NaN, infinity and constant fills become NaN, and are filled from what is around them.

Arrays are (H, W, bands), float, in the unit of the file.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attn.data_adapters.sky.background import measure_sky

LEAST_FILL = 16  # pixels of one value, from which on it may be a fill
MOST_FILLS = 3  # values of a band
MOST_FAR = 0.5  # of the pixels of an image without one of its bands: with more, that band alone is missing there
GAP = 5.0  # a fill lies this many times further from the nearest pixel than that one from the median
LEAST_BORDER = 0.01  # of the pixels: a fill at the border may lie nearer, as 0 below a noisy sky does
DEVIATIONS = 4.0  # of the sky, by which it lies below it then; above, GAP is 1


def drop_fills(data: NDArray[Any]) -> tuple[NDArray[Any], list[str]]:
    """NaN in place of constant fills (-999, -32768, 1e30), and a flag `fill_value:-999` for each.

    A fill is the lowest or highest value of a band, many pixels have exactly it, and it lies far from all others; less
    far where it covers a part of the border. The sky's noise and a saturated core have no such gap. The input is not
    changed.
    """
    flags: dict[str, None] = {}
    out = data
    for band in range(data.shape[2]):
        for value in _fills(out[:, :, band]):
            out = out.copy() if out is data else out
            plane = out[:, :, band]  # a view
            plane[plane == value] = np.nan
            flags[f"fill_value:{value:g}"] = None
    return out, list(flags)


def _fills(plane: NDArray[Any]) -> list[float]:
    values = np.sort(plane[np.isfinite(plane)])
    found: list[float] = []
    while len(found) < MOST_FILLS and values.size > 2 * LEAST_FILL:
        low = int(np.searchsorted(values, values[0], "right"))
        high = int(np.searchsorted(values, values[-1], "left"))
        if LEAST_FILL <= low < values.size and _far(values[0], values[low:], plane):
            found.append(float(values[0]))
            values = values[low:]
        elif LEAST_FILL <= values.size - high < values.size and _far(values[-1], values[:high], plane):
            found.append(float(values[-1]))
            values = values[:high]
        else:
            break
    return found


def _far(fill: float, others: NDArray[Any], plane: NDArray[Any]) -> bool:
    """Whether `fill` is far from the other values, in order, of the plane (H, W)."""
    below = fill < others[0]
    nearest, middle = float(others[0 if below else -1]), float(others[others.size // 2])
    gap, spread = abs(nearest - float(fill)), abs(middle - nearest)
    if spread <= 0 or gap > GAP * spread:
        return spread > 0
    sky = measure_sky(others[None])
    if not (0 < DEVIATIONS * sky.sigma < sky.level - float(fill) if below else gap > spread):
        return False
    at = plane == fill
    return bool(at.mean() > LEAST_BORDER and (at[0].any() or at[-1].any() or at[:, 0].any() or at[:, -1].any()))


def fill_holes(data: NDArray[Any]) -> tuple[NDArray[Any], float]:
    """Replace NaN and infinity; returns the filled copy and the fraction of pixels that had a hole in any
    band.

    A hole of a few pixels (a saturated core, a cosmic ray) takes the mean of its good neighbours, since
    the sky there would punch a dark spot into the galaxy; what is more than three pixels from any good
    one takes the sky level, in all bands: a galaxy that ends in one of them alone would have a colour there.

    The input is not changed. A band without one finite pixel is filled with 0.
    """
    bad = ~np.isfinite(data)
    if not bad.any():
        return data, 0.0
    filled = data.copy()
    levels = []
    for band in range(data.shape[2]):
        plane = filled[:, :, band]  # a view
        plane[bad[:, :, band]] = np.nan
        levels.append(measure_sky(plane).level)
        for _ in range(3):
            _fill_rim(plane)
    far = np.isnan(filled)
    some = far.any(axis=2, keepdims=True)
    filled = np.where(some if some.mean() < MOST_FAR else far, np.array(levels, filled.dtype), filled)
    return filled, float(bad.any(axis=2).mean())


def _fill_rim(plane: NDArray[Any]) -> None:
    """Give each NaN that touches good pixels (8 neighbours) their mean, in place."""
    rows, cols = np.nonzero(np.isnan(plane))
    if rows.size == 0:
        return
    padded = np.pad(plane, 1, constant_values=np.nan)
    around = np.stack([padded[rows + dy, cols + dx] for dy in range(3) for dx in range(3) if (dy, dx) != (1, 1)])
    good = np.isfinite(around)
    count = good.sum(axis=0)
    total = np.where(good, around, 0).sum(axis=0, dtype=np.float64)
    touched = count > 0
    plane[rows[touched], cols[touched]] = total[touched] / count[touched]
