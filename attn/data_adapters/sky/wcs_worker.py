"""What the worker process computes for `attn.data_adapters.sky.wcs`; nothing else may import it.

Shapes: N positions.
"""

import io
import warnings
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from astropy.coordinates import ICRS, BarycentricMeanEcliptic, SkyCoord, Supergalactic
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales, wcs_to_celestial_frame

from attn.core.errors import InputError

_JULIAN = 1984.0  # from this equinox on, it counts Julian years, before it Besselian ones

warnings.simplefilter("ignore")  # astropy mends headers and says so; what it cannot mend raises


def describe(text: np.ndarray, tables: np.ndarray) -> dict[str, object]:
    """Whether the header has celestial axes, and the mean side of a pixel in arcseconds.

    InputError: the axes do not work.
    """
    sky = _celestial(str(text), tables.tobytes())
    if sky is None:
        return {"celestial": False}
    scale = float(np.mean(proj_plane_pixel_scales(sky.wcs))) * 3600
    if not 0 < scale < np.inf:
        raise InputError("its WCS cannot be used (its pixels have no size)")
    middle = np.array([1.0, 100.0])
    sky.wcs.all_world2pix(*sky.wcs.all_pix2world(middle, middle, 0), 0, quiet=True)
    return {"celestial": True, "scale": scale}


def to_pixels(text: np.ndarray, tables: np.ndarray, ra: np.ndarray, dec: np.ndarray) -> dict[str, Any]:
    """x, y (N,), from 0, of finite ICRS degrees."""
    sky = _celestial(str(text), tables.tobytes())
    assert sky is not None
    if not isinstance(sky.frame, ICRS):
        at = SkyCoord(ra, dec, unit="deg", frame="icrs").transform_to(sky.frame).spherical
        ra, dec = at.lon.deg, at.lat.deg
    x, y = sky.wcs.all_world2pix(*((dec, ra) if sky.latitude_first else (ra, dec)), 0, quiet=True)
    return {"x": x, "y": y}


def to_sky(text: np.ndarray, tables: np.ndarray, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """ICRS degrees (N,) of pixel positions, from 0."""
    sky = _celestial(str(text), tables.tobytes())
    assert sky is not None
    longitude, latitude = sky.wcs.all_pix2world(x, y, 0)
    if sky.latitude_first:
        longitude, latitude = latitude, longitude
    if isinstance(sky.frame, ICRS):
        return {"ra": longitude % 360, "dec": latitude}
    icrs = SkyCoord(longitude, latitude, unit="deg", frame=sky.frame).icrs
    return {"ra": icrs.ra.deg, "dec": icrs.dec.deg}


class _Celestial(NamedTuple):
    """The two celestial axes in the order of the pixels, and the frame of their coordinates."""

    wcs: Any
    frame: Any
    latitude_first: bool


@lru_cache(maxsize=4)
def _celestial(text: str, tables: bytes) -> _Celestial | None:
    """The celestial axes of a header, None without; `tables` is a FITS file of the tables that it needs, or empty."""
    wcs = WCS(fits.Header.fromstring(text), fobj=fits.open(io.BytesIO(tables)) if tables else None)
    wcs.wcs.set()
    if wcs.wcs.lng < 0 or wcs.wcs.lat < 0:
        return None
    if wcs.naxis > 2:  # .celestial would put the longitude first, and with it exchange rows and columns
        wcs = wcs.sub([min(wcs.wcs.lng, wcs.wcs.lat) + 1, max(wcs.wcs.lng, wcs.wcs.lat) + 1])
        wcs.wcs.set()
    return _Celestial(wcs, _frame(wcs), wcs.wcs.lat < wcs.wcs.lng)


def _frame(wcs: Any) -> Any:
    """The frame of the celestial coordinates (FITS standard 4.0, section 8.3); astropy finds all but two.

    InputError: nobody knows where it lies on the sky.
    """
    kind = wcs.wcs.ctype[wcs.wcs.lng].partition("-")[0]
    if kind == "SLON":
        return Supergalactic()
    if kind == "ELON":
        year = float(wcs.wcs.equinox) if np.isfinite(wcs.wcs.equinox) else 2000.0
        return BarycentricMeanEcliptic(equinox=Time(year, format="jyear" if year >= _JULIAN else "byear"))
    try:
        return wcs_to_celestial_frame(wcs)
    except ValueError:
        if kind == "RA":  # a RADESYS without a name: the numbers are taken as they are
            return ICRS()
        raise InputError(f"its WCS cannot be used (nobody knows where {kind} lies on the sky)") from None
