"""The level and the noise of the empty sky.

Arrays are (H, W), float, in the unit of the file. Statistics ignore NaN.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]

_MAD_TO_SIGMA = 1.4826  # of a normal distribution
_SAMPLE = 200_000  # pixels are enough for a median; a large image is read on a grid


@dataclass(frozen=True)
class Sky:
    """Background `level` and the standard deviation `sigma` of its noise, both in the unit of the image."""

    level: float
    sigma: float


def measure_sky(plane: Pixels) -> Sky:
    """Sky of one band (H, W), from the frame around the middle, where a centred galaxy is faintest.

    The level is the sigma-clipped median; the noise comes from the pixels *below* the level, mirrored, as
    stars and the outskirts of the galaxy only ever add light. A plane without finite pixels has level and
    sigma 0.
    """
    height, width = plane.shape
    edge_y, edge_x = max(1, height // 8), max(1, width // 8)
    frame = np.concatenate(
        [
            plane[:edge_y].ravel(),
            plane[-edge_y:].ravel(),
            plane[edge_y:-edge_y, :edge_x].ravel(),
            plane[edge_y:-edge_y, -edge_x:].ravel(),
        ]
    )
    values = frame[np.isfinite(frame)]
    if values.size < 16:
        values = plane[np.isfinite(plane)]
    if values.size == 0:
        return Sky(0.0, 0.0)
    values = np.sort(values[:: max(1, values.size // _SAMPLE)].astype(np.float64))
    for _ in range(6):
        level = _median(values)
        away = values - level
        sigma = -_MAD_TO_SIGMA * _median(away[: np.searchsorted(away, 0, "right")])
        first, last = np.searchsorted(away, -3 * sigma), np.searchsorted(away, 3 * sigma, "right")
        if sigma == 0 or last - first == values.size or last - first < 16:
            break
        values = values[first:last]
    return Sky(level, sigma)


def _median(ordered: NDArray[np.float64]) -> float:
    """Of values in order. Clipped values stay in order: one sort is enough for all medians."""
    return float(ordered[(ordered.size - 1) // 2] + ordered[ordered.size // 2]) / 2


def percent(fraction: float) -> str:
    """`12%`, and `<1%` for what rounds to nothing but is not."""
    return "<1%" if 0 < fraction < 0.005 else f"{fraction:.0%}"
