"""Holes in an image: NaN, infinity and constant fills become NaN, and are filled from what is around them.

Arrays are (H, W, bands), float, in the unit of the file.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attn.data_adapters.sky.background import measure_sky

LEAST_FILL = 16  # pixels of one value, from which on it may be a fill
MOST_FILLS = 3  # values of a band
GAP = 5.0  # a fill lies this many times further from the nearest pixel than that one from the median


def drop_fills(data: NDArray[Any]) -> tuple[NDArray[Any], list[str]]:
    """NaN in place of constant fills (-999, -32768, 1e30), and a flag `fill_value:-999` for each.

    A fill is the lowest or highest value of a band, many pixels have exactly it, and it lies far from all others. The
    sky's noise and a saturated core have no such gap. The input is not changed.
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
        if LEAST_FILL <= low < values.size and _far(values[0], values[low], _median(values[low:])):
            found.append(float(values[0]))
            values = values[low:]
        elif LEAST_FILL <= values.size - high < values.size and _far(
            values[-1], values[high - 1], _median(values[:high])
        ):
            found.append(float(values[-1]))
            values = values[:high]
        else:
            break
    return found


def _median(ordered: NDArray[Any]) -> float:
    return float(ordered[ordered.size // 2])


def _far(fill: float, nearest: float, middle: float) -> bool:
    spread = abs(middle - float(nearest))
    return spread > 0 and abs(float(nearest) - float(fill)) > GAP * spread


def fill_holes(data: NDArray[Any]) -> tuple[NDArray[Any], float]:
    """Replace NaN and infinity; returns the filled copy and the fraction of pixels that had a hole in any
    band.

    A hole of a few pixels (a saturated core, a cosmic ray) takes the mean of its good neighbours, since
    the sky there would punch a dark spot into the galaxy; what is more than three pixels from any good
    one takes the sky level.

    The input is not changed. A band without one finite pixel is filled with 0.
    """
    bad = ~np.isfinite(data)
    if not bad.any():
        return data, 0.0
    filled = data.copy()
    for band in range(data.shape[2]):
        plane = filled[:, :, band]  # a view
        plane[bad[:, :, band]] = np.nan
        level = measure_sky(plane).level
        for _ in range(3):
            _fill_rim(plane)
        plane[np.isnan(plane)] = level
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
