"""The wavelength of a photometric band by its name, as surveys and instruments write it.

Names come as `r`, `SDSS r`, `r.MP9601`, `HSC-R2`, `W-S-I+`, `g.00000`, `Bessell V`, `rp`, `GIMG`, `F606W`, `H-alpha`.
A name is known when one of its words is. `F200W` counts nanometres at Hubble and tens of them at JWST: the instrument
tells, else the number does where only one of the two has such a filter.
"""

import re

# Effective wavelength in nanometres, to put bands in order; close to, not exactly, each survey's own value.
_NANOMETRES = {
    "fuv": 153, "nuv": 231, "u": 357, "b": 440, "g": 478, "v": 551, "vr": 620, "r": 623, "vis": 715, "i": 763, "z": 905,
    "zs": 905, "rc": 641, "ic": 798, "y": 1000, "j": 1250, "h": 1650, "k": 2190, "ks": 2160, "kp": 2120, "kprime": 2120,
    "w1": 3400, "w2": 4600, "w3": 12000, "w4": 22000, "irac1": 3550, "irac2": 4490, "irac3": 5730, "irac4": 7870,
    "red": 650, "green": 530, "blue": 450, "ha": 656, "halpha": 656, "oiii": 501, "nii": 658, "sii": 672,
    "bj": 460,
}  # fmt: skip
_LETTER = re.compile(
    r"([ugrizyjhk])(?:[2p]|prime|img|image|band|sci|flux)", re.IGNORECASE
)  # r2 of HSC, rp of LCO, GIMG
_NARROW = re.compile(r"(?:nb|ia|ib)0?(\d{3,4})", re.IGNORECASE)  # NB816, NB0921, IA624
_SUPRIME = re.compile(
    r"w-[jcs]-([a-z]+)\+?", re.IGNORECASE
)  # W-J-B, W-C-RC, W-S-I+: the letter of the system is no band
_FILTER_WHEEL = re.compile(r"f(\d{3,4})(w2|w|m|n|lp|x|c)", re.IGNORECASE)
_LINE = re.compile(r"h[-_ ]?(?:alpha|α|a)(?![a-z0-9])", re.IGNORECASE)  # its first word would be the band H

# Filters whose names only JWST has: from 200 on, Hubble's names count nanometres.
_LONG = (
    "F200W F210M F250M F277W F300M F322W2 F323N F335M F356W F360M F380M F405N F430M F444W F460M F466N F470N F480M "
    "F560W F770W F1000W F1065C F1130W F1140C F1280W F1500W F1550C F1800W F2100W F2300C F2550W"
)
_JWST_ONLY = frozenset(_LONG.split())
_BOTH = frozenset({"F410M"})
_JWST = ("jwst", "nircam", "niriss", "miri", "nirspec")
_TENS_OF_HUBBLE = ("nicmos",)
_OPTICAL_OF_HUBBLE = ("wfpc", "stis", "foc", "acs")


def wavelength(name: str, instrument: str = "") -> float | None:
    """Nanometres of the first known word in `name`, None for a name without a known word.

    instrument: what the header says of telescope, instrument and detector, in any order.
    """
    if suprime := _SUPRIME.fullmatch(name.strip()):
        return _of_word(suprime[1], instrument)
    words = re.split(r"[^A-Za-z0-9α]+", _LINE.sub("halpha", name))
    waves = (_of_word(word, instrument) for word in words)
    return next((wave for wave in waves if wave is not None), None)


def _of_word(word: str, instrument: str) -> float | None:
    found = _NANOMETRES.get(word.lower())
    if found is not None:
        return float(found)
    if wheel := _FILTER_WHEEL.fullmatch(word):
        return _of_wheel(word.upper(), int(wheel[1]), instrument.lower())
    if letter := _LETTER.fullmatch(word):
        return _of_word(letter[1], instrument)
    narrow = _NARROW.fullmatch(word)
    return float(narrow[1]) if narrow and int(narrow[1]) >= 300 else None


def _of_wheel(word: str, number: int, instrument: str) -> float | None:
    """A filter of Hubble or JWST; None for a name that both have, where no instrument is known."""
    tens = number * 10.0
    if any(name in instrument for name in (*_JWST, *_TENS_OF_HUBBLE)):
        return tens
    if any(name in instrument for name in _OPTICAL_OF_HUBBLE):
        return float(number)
    if number < 200:  # the infrared channel of WFC3, and NIRCam
        return tens
    if "hst" in instrument or "wfc3" in instrument or "hubble" in instrument:
        return float(number)
    if word in _BOTH:
        return None
    return tens if word in _JWST_ONLY else float(number)
