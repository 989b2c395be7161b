"""From sky brightness to display pixels: a stretch that is part of the model's record.

Brightness is first put in units of the sky noise, s = balance * (x - sky) / sigma, band by band. In SDSS
the noise of i, r, g is close to the 1 : 1.5 : 2.5 by which its colour pictures scale the bands;
`balance` does the rest. The curve is

    f(s) = asinh((s + black) / softening) / asinh((white + black) / softening)

with fixed numbers, chosen so that SDSS images come out as the SDSS colour cut-outs of EFIGI do: sky at a
tenth of the range with its noise just visible, cores of bright galaxies near white, spirals a little
blue. An image deeper than that, whose centre passes `white`, is scaled down as a whole until it does not.

`lupton` (Lupton et al. 2004, PASP 116, 133, equations 2 and 3) applies f to the mean of the bands and
keeps their ratio, so that colour survives in bright cores; `asinh` (Lupton, Gunn and Szalay 1999) applies
f to each band alone.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from attn.data_adapters.sky.background import Pixels, Sky, measure_sky

Display = NDArray[np.uint8]


class Stretch(BaseModel):
    """How brightness becomes 0..255; JSON through `model_dump()` and `Stretch(**record)`.

    softening, black and white are in units of the sky noise; percentile is of the central region (half
    the width and height), where it is held below white; balance multiplies the red, green and blue plane
    of a colour image.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["lupton", "asinh"] = "lupton"
    softening: float = Field(default=8.0, gt=0)
    black: float = Field(default=3.0, ge=0)
    white: float = Field(default=500.0, gt=0)
    percentile: float = Field(default=99.5, gt=50, le=100)
    balance: tuple[float, float, float] = (1.2, 1.0, 1.5)


def render(data: NDArray[Any], stretch: Stretch) -> tuple[Display, tuple[str, ...]]:
    """Display pixels (H, W, 3) uint8, row 0 at the top, and flags.

    data: (H, W) or (H, W, bands) with one to three bands, reddest first; finite; row 0 at the bottom, as FITS has it
    and DS9 shows it, so that handedness agrees with that of survey pictures. One band becomes grey in
    all three planes; of two, the mean is the green. uint8 data are display values already and are not
    stretched. Flag `faint`: nothing in the central region is 3 sigma above the sky.
    """
    bands = data if data.ndim == 3 else data[:, :, None]
    if bands.dtype == np.uint8:
        return _three_planes(bands[::-1]), ()
    scaled, faint = _in_sky_units(bands, stretch)
    y = _lupton(scaled, stretch) if stretch.kind == "lupton" else _curve(scaled, stretch)
    pixels = np.rint(np.clip(y, 0, 1) * 255).astype(np.uint8)
    return _three_planes(pixels[::-1]), ("faint",) if faint else ()


def _in_sky_units(data: NDArray[Any], stretch: Stretch) -> tuple[Pixels, bool]:
    height, width, count = data.shape
    s = data.astype(np.float64)  # a damaged file's numbers overflow float32
    centre = s[height // 4 : height - height // 4, width // 4 : width - width // 4]
    peaks = np.percentile(centre, stretch.percentile, axis=(0, 1))
    balance = {1: (1.0,), 2: stretch.balance[::2], 3: stretch.balance}[count]
    for band in range(count):
        sky = measure_sky(data[:, :, band])
        unit = _unit(sky, peaks[band], s[:, :, band]) / balance[band]
        s[:, :, band] = (s[:, :, band] - sky.level) / unit
        peaks[band] = (peaks[band] - sky.level) / unit
    signal = float(peaks.mean())
    s /= max(1.0, signal / stretch.white)
    return np.clip(s, -1e6, 1e6).astype(np.float32), signal < 3 * sum(balance) / count


def _unit(sky: Sky, peak: float, plane: NDArray[Any]) -> float:
    """The noise of the band; for a simulation without noise a small part of its peak instead."""
    span = max(peak - sky.level, float(plane.max()) - sky.level if sky.sigma == 0 else 0.0)
    return max(sky.sigma, span * 1e-4) or 1.0


def _curve(s: Pixels, stretch: Stretch) -> Pixels:
    top = np.arcsinh((stretch.white + stretch.black) / stretch.softening)
    return np.asarray(np.arcsinh((s + stretch.black) / stretch.softening) / top, dtype=np.float32)


def _lupton(s: Pixels, stretch: Stretch) -> Pixels:
    if s.shape[2] == 1:
        return _curve(s, stretch)
    raised = np.maximum(s + stretch.black, 0)
    count = s.shape[2]
    # Sums and maxima over a last axis of three are slow in numpy; over whole planes they are not.
    intensity = (sum(raised[:, :, band] for band in range(count)) / count)[:, :, None]
    gain = _curve(intensity - stretch.black, stretch) / np.maximum(intensity, 1e-6)
    rgb = raised * gain
    # A pixel brighter than white is scaled down as a whole: clipping one band would change its colour.
    brightest = np.maximum.reduce([rgb[:, :, band] for band in range(count)])[:, :, None]
    return np.asarray(rgb / np.maximum(brightest, 1), dtype=np.float32)


def _three_planes(pixels: Display) -> Display:
    count = pixels.shape[2]
    if count == 1:
        return np.repeat(pixels, 3, axis=2)
    if count == 2:
        middle = pixels.mean(axis=2).astype(np.uint8)
        return np.stack([pixels[:, :, 0], middle, pixels[:, :, 1]], axis=2)
    return np.ascontiguousarray(pixels)
