"""Where the pixels of an image are on the sky: the WCS of its header.

astropy hands a header to wcslib, which some damaged headers crash (SIP and ZPN ones) or keep busy for ever. The header
is therefore read, and positions are computed, in the worker process (`attn.data_adapters.sky.wcs_worker`).

Shapes: N positions.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attn.data_adapters.worker import call

Column = NDArray[np.float64]

BLOCK = 50_000  # positions of one call, which takes far less than the worker's time
_WORKER = "attn.data_adapters.sky.wcs_worker"
_WHAT = "its WCS cannot be used"


@dataclass(frozen=True)
class SkyPositions:
    """The two celestial axes of a header that works. text: the header. arcsec_per_pixel: mean of the two axes."""

    text: str
    where: str
    arcsec_per_pixel: float

    def to_pixels(self, ra: Column, dec: Column) -> tuple[Column, Column]:
        """Positions x, y (N,), from 0, of ICRS degrees; NaN for what the WCS cannot show. InputError: see `call`."""
        x, y = np.full(ra.shape, np.nan), np.full(ra.shape, np.nan)
        good = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec) & (np.abs(dec) <= 90))
        for some in np.split(good, range(BLOCK, len(good), BLOCK)):
            if len(some):
                found = call(f"{_WORKER}:to_pixels", self.where, _WHAT, text=self.text, ra=ra[some], dec=dec[some])
                x[some], y[some] = found["x"], found["y"]
        return x, y

    def to_sky(self, x: Column, y: Column) -> tuple[Column, Column]:
        """ICRS degrees (N,) of pixel positions, from 0. InputError: see `call`."""
        blocks = range(BLOCK, len(x), BLOCK)
        parts = [
            call(f"{_WORKER}:to_sky", self.where, _WHAT, text=self.text, x=some_x, y=some_y)
            for some_x, some_y in zip(np.split(x, blocks), np.split(y, blocks), strict=True)
        ]
        return np.concatenate([part["ra"] for part in parts]), np.concatenate([part["dec"] for part in parts])


def sky_positions(header: Any, where: str) -> SkyPositions | None:
    """The positions of an astropy header, None when it has no celestial axes. InputError: one that cannot be used."""
    if "CTYPE1" not in header:
        return None
    text = header.tostring(sep="", endcard=True, padding=False)
    found = call(f"{_WORKER}:describe", where, _WHAT, text=text)
    return SkyPositions(text, where, float(found["scale"])) if found["celestial"] else None
