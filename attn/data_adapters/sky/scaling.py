"""From the numbers in a FITS image to its values: BSCALE, BZERO and BLANK (FITS standard 4.0, sections 4.4.2.5, 5.3).

astropy scales 16-bit numbers in float32, in which a sky of 10 million has no digits left for a galaxy. Here the values
are float64 wherever float32 would lose digits of the file; the sky is subtracted before anything is rounded.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attn.core.errors import InputError
from attn.data_adapters.sky.band_cards import card

_EXACT = 1 << 24  # whole numbers up to here are exact in float32


def is_display(header: Any, where: str) -> bool:
    """Whether the pixels are display values: unscaled bytes."""
    return bool(
        header["BITPIX"] == 8 and number(header, "BSCALE", 1, where) == 1 and number(header, "BZERO", 0, where) == 0
    )


def scaled(raw: NDArray[Any], header: Any, where: str) -> NDArray[Any]:
    """BZERO + BSCALE * raw, NaN where raw is BLANK: float32, or float64 where the file has more digits than float32.

    A card whose number is written as a text is read as the number. InputError: it is no number.
    """
    scale, zero = number(header, "BSCALE", 1, where), number(header, "BZERO", 0, where)
    whole = raw.dtype.kind in "iu"
    few = raw.dtype.itemsize <= (2 if whole else 4)
    shifted = scale != 0 and abs(zero / scale) > (_EXACT - 2**16 if whole else 0)
    out: NDArray[Any] = raw.astype(np.float32 if few and not shifted else np.float64)
    if scale != 1:
        out = out * out.dtype.type(scale)
    if zero != 0:
        out = out + out.dtype.type(zero)
    if whole and "BLANK" in header:
        out[raw == number(header, "BLANK", 0, where)] = np.nan
    return out


def number(header: Any, key: str, default: float, where: str) -> float:
    """The number of a card. InputError: it holds something else."""
    text = card(header, key)
    if not text:
        return default
    try:
        return float(text)
    except ValueError:
        raise InputError(f"its card {key} is {text!r}, not a number", where=where, hint="correct the header") from None
