"""What the worker process computes for `attn.data_adapters.sky.wcs`; nothing else may import it.

Shapes: N positions.
"""

import warnings
from functools import lru_cache
from typing import Any

import numpy as np
from astropy.coordinates import ICRS, SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales, wcs_to_celestial_frame

from attn.core.errors import InputError

warnings.simplefilter("ignore")  # astropy mends headers and says so; what it cannot mend raises


def describe(text: np.ndarray) -> dict[str, object]:
    """Whether the header has celestial axes, and the mean side of a pixel in arcseconds.

    InputError: the axes do not work.
    """
    wcs, _ = _celestial(str(text))
    if wcs.naxis != 2:
        return {"celestial": False}
    scale = float(np.mean(proj_plane_pixel_scales(wcs))) * 3600
    if not 0 < scale < np.inf:
        raise InputError("its WCS cannot be used (its pixels have no size)")
    middle = np.array([1.0, 100.0])
    wcs.all_world2pix(*wcs.all_pix2world(middle, middle, 0), 0, quiet=True)
    return {"celestial": True, "scale": scale}


def to_pixels(text: np.ndarray, ra: np.ndarray, dec: np.ndarray) -> dict[str, Any]:
    """x, y (N,), from 0, of finite ICRS degrees."""
    wcs, frame = _celestial(str(text))
    if not isinstance(frame, ICRS):
        at = SkyCoord(ra, dec, unit="deg", frame="icrs").transform_to(frame).spherical
        ra, dec = at.lon.deg, at.lat.deg
    x, y = wcs.all_world2pix(ra, dec, 0, quiet=True)
    return {"x": x, "y": y}


def to_sky(text: np.ndarray, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """ICRS degrees (N,) of pixel positions, from 0."""
    wcs, frame = _celestial(str(text))
    longitude, latitude = wcs.all_pix2world(x, y, 0)
    if isinstance(frame, ICRS):
        return {"ra": longitude % 360, "dec": latitude}
    sky = SkyCoord(longitude, latitude, unit="deg", frame=frame).icrs
    return {"ra": sky.ra.deg, "dec": sky.dec.deg}


@lru_cache(maxsize=1)
def _celestial(text: str) -> tuple[Any, Any]:
    """The WCS of the celestial axes, with `naxis` 0 if there are no celestial axes, and their frame."""
    wcs = WCS(fits.Header.fromstring(text)).celestial
    try:
        return wcs, wcs_to_celestial_frame(wcs)
    except ValueError:  # a frame astropy has no name for: the numbers are taken as they are
        return wcs, ICRS()
