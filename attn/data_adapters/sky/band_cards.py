"""Which bands a FITS header says that its image has: first what it calls them, last the wavelengths that it states.

A single plane: FILTER, BAND, FILTNAM1, FILTER1 and FILTER2 (of which one is CLEAR), FILTERX, FPA.FILTER, PUPIL.
The planes of a cube: BANDS = 'grz' as the Legacy Surveys write it, BAND0, BAND1, ... or FILTER1, FILTER2, ..., a list
in FILTER, a third axis of colours or of wavelengths.

The cards of a header that cannot be understood are passed over: a bad FILTER card does not make a file unreadable.
"""

import re
from collections.abc import Iterable
from typing import Any

from astropy.io.fits import VerifyError

from attn.data_adapters.sky.band_names import wavelength
from attn.data_adapters.sky.bands import Band, all_known

SINGLE = (
    "FILTER", "BAND", "FILTNAM1", "FILTNAM", "FILTNAME", "FILTER1", "FILTER2", "FILTER3", "FILTERX", "FILTERS", "FILT",
    "FILTERID", "FILTER01", "FPA.FILTER", "FPA.FILTERID", "ESO INS FILT1 NAME", "PUPIL", "PHOTBAND", "PASSBAND",
)  # fmt: skip
ABOUT = ("TELESCOP", "INSTRUME", "DETECTOR", "CHANNEL")
LISTS = ("BANDS", "FILTERS", "FILTER", "BAND")
NUMBERED = ("BAND", "FILTER", "FILT", "PLANE", "BAND_", "FILTER_", "CHAN", "COLOR")
WAVELENGTHS = {"PHOTPLAM": 0.1, "WAVELEN": 1.0, "WAVELENG": 1.0, "WAVELNTH": 1.0, "LAMBDA": 1.0, "PIVOT": 0.1}
UNKNOWN = "unknown"
_NUMBERS = {
    "galex": {"1": "NUV", "2": "FUV"},
    "wise": {"1": "W1", "2": "W2", "3": "W3", "4": "W4"},
    "irac": {"1": "IRAC1", "2": "IRAC2", "3": "IRAC3", "4": "IRAC4"},
}
_LETTERS = re.compile(r"[ugrizyYJHKUBVRI]{2,8}")
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
    for key, unit in WAVELENGTHS.items():
        if (stated := _number(header, key)) > 0:
            return Band(texts[0] if texts else f"{stated * unit:g} nm", stated * unit)
    return Band(texts[0] if texts else UNKNOWN)


def plane_bands(header: Any) -> list[Band]:
    """Bands of the planes of a cube; empty unless they are all known and distinct."""
    instrument = " ".join(filter(None, (card(header, key) for key in ABOUT)))
    for names in _named_planes(header):
        bands = [Band(name, wavelength(name, instrument)) for name in names]
        if len(bands) > 1 and all_known(bands):
            return bands
    return _by_axis(header)


def _named_planes(header: Any) -> Iterable[list[str]]:
    for key in LISTS:
        text = card(header, key)
        words = [word for word in _SEPARATOR.split(text) if word]
        yield list(text) if _LETTERS.fullmatch(text) else words
    for key in NUMBERED:
        for first in (0, 1):
            names: list[str] = []
            while name := card(header, f"{key}{first + len(names)}"):
                names.append(name)
            yield names


def _by_number(header: Any, instrument: str) -> str:
    """The band of a telescope that numbers its bands (BAND = 1 of WISE and GALEX, CHNLNUM of IRAC)."""
    for telescope, names in _NUMBERS.items():
        if telescope in instrument.lower():
            return names.get(card(header, "BAND")) or names.get(card(header, "CHNLNUM"), "")
    return ""


def _by_axis(header: Any) -> list[Band]:
    """The planes of a third axis that is made of colours, or of wavelengths or frequencies."""
    kind, count = card(header, "CTYPE3").upper(), int(_number(header, "NAXIS3"))
    if kind == "RGB" and count == 3:
        return [Band(name, wavelength(name)) for name in ("red", "green", "blue")]
    step, start, at = (_number(header, f"{key}3") for key in ("CDELT", "CRVAL", "CRPIX"))
    step = step or _number(header, "CD3_3")
    if count != 3 or not step or not start:
        return []
    values = [start + (k + 1 - at) * step for k in range(count)]
    if min(values) <= 0:
        return []
    if kind.startswith(("WAVE", "AWAV", "LAMBDA")):
        return [Band(f"{value:g} {card(header, 'CUNIT3')}".strip(), value) for value in values]
    if kind.startswith("FREQ"):
        return [Band(f"{value:g} {card(header, 'CUNIT3')}".strip(), 1 / value) for value in values]
    return []


def _number(header: Any, key: str) -> float:
    """The number of a card, 0 where there is none."""
    try:
        return float(card(header, key) or 0)
    except ValueError:
        return 0.0
