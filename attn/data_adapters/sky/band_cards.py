"""Which bands a FITS header says that its image has: first what it calls them, last the wavelengths that it states.

A single plane: FILTER, BAND, FILTNAM1, FILTER1 and FILTER2 (of which one is CLEAR), FILTERX, FPA.FILTER, PUPIL; else
a wavelength with its unit, of a card or of the third axis.
The planes of a cube: BANDS = 'grz' as the Legacy Surveys write it, BAND0, BAND1, ... or FILTER1, FILTER2, ..., a list
in FILTER, WAVE1, WAVE2, ..., a third axis of colours or of wavelengths.

The cards of a header that cannot be understood are passed over: a bad FILTER card does not make a file unreadable.
"""

import math
import re
from collections.abc import Iterable
from itertools import pairwise, takewhile
from typing import Any

import numpy as np
from astropy.io.fits import VerifyError

from attn.data_adapters.sky.band_names import wavelength
from attn.data_adapters.sky.bands import Band, all_known

SINGLE = (
    "FILTER", "BAND", "FILTNAM1", "FILTNAM", "FILTNAME", "FILTER1", "FILTER2", "FILTER3", "FILTERX", "FILTERS", "FILT",
    "FILTERID", "FILTER01", "FPA.FILTER", "FPA.FILTERID", "ESO INS FILT1 NAME", "PUPIL", "PHOTBAND", "PASSBAND",
    "BANDS",
)  # fmt: skip
ABOUT = ("TELESCOP", "INSTRUME", "DETECTOR", "CHANNEL", "SURVEY")
LISTS = ("BANDS", "FILTERS", "FILTER", "BAND")
NUMBERED = ("BAND", "FILTER", "FILT", "PLANE", "BAND_", "FILTER_", "CHAN", "COLOR")
WAVELENGTHS = {"PHOTPLAM": "Angstrom", "WAVELEN": "nm", "WAVELENG": "nm", "WAVELNTH": "nm", "LAMBDA": "nm",
               "PIVOT": "Angstrom"}  # fmt: skip
"""Cards, and the unit of those that name none."""
NUMBERED_WAVELENGTHS = ("WAVE", "WAVELEN", "LAMBDA")
MOST_PLANES = 10  # of an axis of wavelengths: with more, the cube is a spectrum of each pixel
LEAST_STEP = 1.05  # between the wavelengths of more than three planes: with less, they are channels of one line
UNKNOWN = "unknown"
_NUMBERS = {
    "galex": {"1": "NUV", "2": "FUV", "n": "NUV", "f": "FUV"},
    "wise": {"1": "W1", "2": "W2", "3": "W3", "4": "W4"},
    "irac": {"1": "IRAC1", "2": "IRAC2", "3": "IRAC3", "4": "IRAC4"},
}
_LETTERS = re.compile(r"[ugrizyYJHKUBVRIGb]{2,8}")
_AXES = {"WAVE": "m", "AWAV": "m", "LAMBDA": "m", "FREQ": "Hz", "ENER": "J", "WAVN": "1/m"}
"""Kinds of a third axis, and their units where CUNIT3 is missing (FITS standard 4.0, table 25)."""
_SPELLINGS = {"Angstrom": ("a", "aa", "å", "angstrom", "ang"), "um": ("um", "micron", "micrometer", "micrometre", "µm"),
              "nm": ("nm", "nanometer", "nanometre"), "m": ("m", "meter", "metre"), "Hz": ("hz", "hertz"),
              "kHz": ("khz",), "MHz": ("mhz",), "GHz": ("ghz",), "eV": ("ev",), "keV": ("kev",)}  # fmt: skip
"""Units as headers have them, in lower case and without the s of the plural; astropy knows them otherwise."""
_QUANTITY = re.compile(r"\s*(\d+\.?\d*(?:[eE][-+]?\d+)?)\s*([A-Za-zµ]*)\s*")
_SEPARATOR = re.compile(r"[\s,;/+|]+")


def card(header: Any, key: str) -> str:
    """The text of a card; empty where there is none, or one that cannot be understood."""
    try:
        return str(header[key]).strip() if key in header else ""
    except (VerifyError, ValueError, KeyError):
        return ""


def band_of(header: Any) -> Band:
    """The band of a single plane; its wavelength is None for a name that nobody knows."""
    instrument = " ".join(filter(None, (card(header, key) for key in ABOUT)))
    texts = list(filter(None, (card(header, key) for key in SINGLE)))
    if number := _by_number(header, instrument):
        texts.insert(0, number)
    if "jwst" in instrument.lower() and (pupil := card(header, "PUPIL")):
        texts.insert(0, pupil)  # a narrow filter stands before a wide one in the pupil wheel
    for text in texts:
        if (wave := wavelength(text, instrument)) is not None:
            return Band(text, wave)
    stated = (_stated(header, key, unit) for key, unit in WAVELENGTHS.items())
    found = next((band for band in stated if band is not None), None) or next(iter(_by_axis(header, 1)), None)
    if found is None:
        return Band(texts[0] if texts else UNKNOWN)
    return Band(texts[0], found.nanometres) if texts else found


def plane_bands(header: Any) -> list[Band]:
    """Bands of the planes of a cube; empty unless they are all known and distinct."""
    instrument = " ".join(filter(None, (card(header, key) for key in ABOUT)))
    codes = _codes(instrument)
    for names in _named_planes(header):
        bands = [Band(name, wavelength(name, instrument)) for name in (codes.get(name, name) for name in names)]
        if len(bands) > 1 and all_known(bands):
            return bands
    for key in NUMBERED_WAVELENGTHS:
        stated = list(takewhile(bool, (_stated(header, f"{key}{k}", "nm") for k in range(1, MOST_PLANES + 1))))
        if len(stated) > 1:
            return [band for band in stated if band is not None]
    count = int(_number(header, "NAXIS3"))
    return _by_axis(header, count) if 1 < count <= MOST_PLANES else []


def _named_planes(header: Any) -> Iterable[list[str]]:
    for key in LISTS:
        text = card(header, key)
        words = [word for word in _SEPARATOR.split(text) if word]
        yield list(text) if _LETTERS.fullmatch(text) else words
    yield list(card(header, "BANDS"))  # letters and numbers of a telescope that has its own
    for key in NUMBERED:
        for first in (0, 1):
            names: list[str] = []
            while name := card(header, f"{key}{first + len(names)}"):
                names.append(name)
            yield names


def _by_number(header: Any, instrument: str) -> str:
    """The band of a telescope that numbers its bands (BAND = 1 of WISE and GALEX, CHNLNUM of IRAC)."""
    codes = _codes(instrument)
    return next((codes[text] for key in ("BAND", "BANDS", "CHNLNUM") if (text := card(header, key)) in codes), "")


def _codes(instrument: str) -> dict[str, str]:
    return next((names for telescope, names in _NUMBERS.items() if telescope in instrument.lower()), {})


def _by_axis(header: Any, count: int) -> list[Band]:
    """The planes of a third axis that is made of colours, or of wavelengths, frequencies or energies."""
    kind = card(header, "CTYPE3").upper()
    if kind == "RGB" and count == 3:
        return [Band(name, wavelength(name)) for name in ("red", "green", "blue")]
    step, start, at = (_number(header, f"{key}3") for key in ("CDELT", "CRVAL", "CRPIX"))
    step = step or _number(header, "CD3_3")
    usual = next((unit for name, unit in _AXES.items() if kind.startswith(name)), None)
    if usual is None or not start or (count > 1 and not step):
        return []
    unit = card(header, "CUNIT3") or usual
    values = [start + (k + 1 - at) * step for k in range(count)] if count > 1 else [start]
    known = count == 1 or in_nanometres(1.0, unit) is not None  # of an unknown unit, the numbers still tell the order
    bands = [Band(f"{value:g} {unit}", in_nanometres(value, unit if known else usual)) for value in values]
    waves = [band.nanometres for band in bands if band.nanometres is not None]
    apart = all(max(a, b) >= LEAST_STEP * min(a, b) for a, b in pairwise(waves))
    return bands if len(waves) == count and (count <= 3 or apart) else []


def _stated(header: Any, key: str, unit: str) -> Band | None:
    """The wavelength in a card, with the unit that it names, else that of WAVEUNIT, else `unit`."""
    found = _QUANTITY.fullmatch(card(header, key))
    if found is None:
        return None
    written = found[2] or card(header, "WAVEUNIT") or unit
    wave = in_nanometres(float(found[1]), written)
    return None if wave is None else Band(f"{float(found[1]):g} {written}", wave)


def in_nanometres(value: float, unit: str) -> float | None:
    """The wavelength of `value`: a length, a frequency, an energy or a wave number; None for anything else."""
    from astropy import units

    plain = unit.strip().lower().removesuffix("s")
    name = next((name for name, spellings in _SPELLINGS.items() if plain in spellings), unit)
    try:
        with np.errstate(all="ignore"):
            wave = float((value * units.Unit(name)).to_value(units.nm, units.spectral())) if value > 0 else math.nan
    except (ValueError, TypeError, ArithmeticError, units.UnitsError):
        return None
    return wave if math.isfinite(wave) and wave > 0 else None


def _number(header: Any, key: str) -> float:
    """The number of a card, 0 where there is none."""
    try:
        return float(card(header, key) or 0)
    except ValueError:
        return 0.0
