"""The level and the noise of the empty sky, and the holes in an image.

Arrays are (H, W) or (H, W, bands), float, in the unit of the file. Statistics ignore NaN.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]

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
    values = values[:: max(1, values.size // _SAMPLE)].astype(np.float64)
    for _ in range(6):
        level = float(np.median(values))
        below = values[values <= level]
        sigma = _MAD_TO_SIGMA * float(np.median(level - below))
        kept = values[np.abs(values - level) <= 3 * sigma]
        if sigma == 0 or kept.size == values.size or kept.size < 16:
            break
        values = kept
    return Sky(level, sigma)


def fill_holes(data: Pixels) -> tuple[Pixels, float]:
    """Replace NaN and infinity; returns the filled copy and the fraction of pixels that had a hole in any
    band.

    A hole of a few pixels (a saturated core, a cosmic ray) takes the mean of its good neighbours, since
    the sky there would punch a dark spot into the galaxy; what is more than three pixels from any good
    one takes the sky level.

    data: (H, W, bands). The input is not changed. A band without one finite pixel is filled with 0.
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


def _fill_rim(plane: Pixels) -> None:
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


def percent(fraction: float) -> str:
    """`12%`, and `<1%` for what rounds to nothing but is not."""
    return "<1%" if 0 < fraction < 0.005 else f"{fraction:.0%}"
