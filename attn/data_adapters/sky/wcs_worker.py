"""What the worker process computes for `attn.data_adapters.sky.wcs`; nothing else may import it."""

import warnings
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

    InputError: they do not work.
    """
    wcs = WCS(fits.Header.fromstring(str(text))).celestial
    if wcs.naxis != 2:
        return {"celestial": False}
    scale = float(np.mean(proj_plane_pixel_scales(wcs))) * 3600
    if not 0 < scale < np.inf:
        raise InputError("its WCS cannot be used (its pixels have no size)")
    middle = np.array([1.0, 100.0])
    to_pixels(text, **to_sky(text, middle, middle))
    return {"celestial": True, "scale": scale}


def to_pixels(text: np.ndarray, ra: np.ndarray, dec: np.ndarray) -> dict[str, Any]:
    """x, y (N,), from 0, of ICRS degrees."""
    wcs = WCS(fits.Header.fromstring(str(text))).celestial
    try:
        frame = wcs_to_celestial_frame(wcs)
    except ValueError:  # a frame astropy has no name for: the numbers are taken as they are
        frame = ICRS()
    good = np.isfinite(ra) & (np.abs(dec) <= 90)
    x, y = np.full((2, len(ra)), np.nan)
    at = SkyCoord(ra[good], dec[good], unit="deg", frame="icrs").transform_to(frame).spherical
    x[good], y[good] = wcs.all_world2pix(at.lon.deg, at.lat.deg, 0, quiet=True)
    return {"x": x, "y": y}


def to_sky(text: np.ndarray, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """ICRS degrees (N,) of pixel positions, from 0."""
    wcs = WCS(fits.Header.fromstring(str(text))).celestial
    sky = wcs.pixel_to_world(x, y).icrs
    return {"ra": np.atleast_1d(sky.ra.deg), "dec": np.atleast_1d(sky.dec.deg)}
