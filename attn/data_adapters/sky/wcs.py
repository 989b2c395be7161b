"""Where the pixels of an image are on the sky: the WCS of its header.

astropy hands a header to wcslib, which some damaged headers crash (SIP and ZPN ones) or keep busy for ever. The header
is therefore read, and positions are computed, in the worker process (`attn.data_adapters.sky.wcs_worker`).

Shapes: N positions.
"""

import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.io.fits import VerifyError
from numpy.typing import NDArray

from attn.core.errors import InputError
from attn.data_adapters.sky.band_cards import card
from attn.data_adapters.worker import call

Column = NDArray[np.float64]

BLOCK = 50_000  # positions of one call, which takes far less than the worker's time
_WORKER = "attn.data_adapters.sky.wcs_worker"
MOST_TABLE = 1 << 26  # bytes of a distortion table
_DISTORTIONS = ("WCSDVARR", "D2IMARR")
_NUMERIC = re.compile(r"(?:CRVAL|CRPIX|CDELT)\d|(?:CD|PC)\d_\d|(CROTA\d|EQUINOX)")  # without those in (), it works
_WHAT = "its WCS cannot be used"


@dataclass(frozen=True)
class SkyPositions:
    """The two celestial axes of a header that works.

    text: the header. tables: the bytes of the tables that it needs. arcsec_per_pixel: mean of the two axes.
    """

    text: str
    tables: NDArray[np.uint8]
    where: str
    arcsec_per_pixel: float

    def to_pixels(self, ra: Column, dec: Column) -> tuple[Column, Column]:
        """Positions x, y (N,), from 0, of ICRS degrees; NaN for what the WCS cannot show. InputError: see `call`."""
        x, y = np.full(ra.shape, np.nan), np.full(ra.shape, np.nan)
        good = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec) & (np.abs(dec) <= 90))
        for some in np.split(good, range(BLOCK, len(good), BLOCK)):
            if len(some):
                found = self._call("to_pixels", ra=ra[some], dec=dec[some])
                x[some], y[some] = found["x"], found["y"]
        return x, y

    def to_sky(self, x: Column, y: Column) -> tuple[Column, Column]:
        """ICRS degrees (N,) of pixel positions, from 0. InputError: see `call`."""
        blocks = range(BLOCK, len(x), BLOCK)
        parts = [
            self._call("to_sky", x=some_x, y=some_y)
            for some_x, some_y in zip(np.split(x, blocks), np.split(y, blocks), strict=True)
        ]
        return np.concatenate([part["ra"] for part in parts]), np.concatenate([part["dec"] for part in parts])

    def _call(self, function: str, **columns: Column) -> dict[str, NDArray[Any]]:
        return call(f"{_WORKER}:{function}", self.where, _WHAT, text=self.text, tables=self.tables, **columns)


def sky_positions(header: Any, where: str, hdus: Iterable[Any] = ()) -> SkyPositions | None:
    """The positions of an astropy header, None when it has no celestial axes. InputError: one that cannot be used.

    hdus: of the file, in which the header's distortion tables lie (HST's CPDIS and D2IMDIS, -TAB axes).
    """
    if "CTYPE1" not in header:
        return None
    text = _with_numbers(header, where).tostring(sep="", endcard=True, padding=False)
    tables = _tables(header, hdus)
    found = call(f"{_WORKER}:describe", where, _WHAT, text=text, tables=tables)
    return SkyPositions(text, tables, where, float(found["scale"])) if found["celestial"] else None


def _with_numbers(header: Any, where: str) -> Any:
    """The header with numbers in its cards of positions, where it has texts of numbers: wcslib would take 0.

    InputError: such a card has no number. An empty EQUINOX or CROTA is dropped.
    """
    found = header.copy()
    for match in filter(None, map(_NUMERIC.fullmatch, header)):
        key = match[0]
        try:
            if isinstance(header[key], str):
                text = header[key].strip()
                if match[1] and not text:
                    found.remove(key, ignore_missing=True, remove_all=True)
                else:
                    found[key] = float(text[1:] if key == "EQUINOX" and text[:1].upper() in ("J", "B") else text)
        except (ValueError, VerifyError):
            raise InputError(
                f"{_WHAT} (its card {key} has no number)", where=where, hint="correct the header"
            ) from None
    return found


def _tables(header: Any, hdus: Iterable[Any]) -> NDArray[np.uint8]:
    """A FITS file of the HDUs that the header's distortions and -TAB axes refer to, as bytes; empty without any."""
    tabular = any("-TAB" in card(header, f"CTYPE{axis}") for axis in (1, 2, 3, 4))
    if not tabular and not any(f"{key}{axis}" in header for key in ("CPDIS", "D2IMDIS") for axis in (1, 2)):
        return np.zeros(0, np.uint8)
    parts = []
    for unit in hdus:
        wanted = str(unit.name) in _DISTORTIONS or (tabular and not unit.is_image)
        if wanted and 0 < unit.size <= MOST_TABLE:
            parts.append(unit.copy())
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), *parts]).writeto(buffer)
    return np.frombuffer(buffer.getvalue(), np.uint8)
