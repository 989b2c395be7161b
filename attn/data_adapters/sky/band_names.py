"""The wavelength of a photometric band by its name, as surveys and instruments write it.

Names come as `r`, `SDSS r`, `r.MP9601`, `HSC-R2`, `W-S-I+`, `g.00000`, `Bessell V`, `rp`, `GIMG`, `F606W`, `H-alpha`,
`POSSII-J`, `4.5 um`. A name is known when one of its words is. `F200W` counts nanometres at Hubble and tens of them at
JWST: the instrument tells, else the number does where only one of the two has such a filter.
"""

import re

# Effective wavelength in nanometres, to put bands in order; close to, not exactly, each survey's own value.
_NANOMETRES = {
    "fuv": 153, "nuv": 231, "u": 357, "b": 440, "g": 478, "v": 551, "vr": 620, "r": 623, "vis": 715, "i": 763, "z": 905,
    "zs": 905, "rc": 641, "ic": 798, "y": 1000, "j": 1250, "h": 1650, "k": 2190, "ks": 2160, "kp": 2120, "kprime": 2120,
    "w1": 3400, "w2": 4600, "w3": 12000, "w4": 22000, "irac1": 3550, "irac2": 4490, "irac3": 5730, "irac4": 7870,
    "red": 650, "green": 530, "blue": 450, "ha": 656, "halpha": 656, "oiii": 501, "nii": 658, "sii": 672,
    "bj": 460, "zg": 478, "zr": 623, "zi": 763, "uvw2": 193, "uvm2": 225, "uvw1": 260, "ha6563": 656,
    "gg385": 460, "gg395": 460, "rg610": 650, "rg630": 650, "rg715": 830, "rg9": 830, "iiiaj": 460, "iiiaf": 650,
    "ivn": 830,
    "plateo": 405, "platee": 645, "platej": 460, "plateej": 460, "platef": 650, "plater": 650, "plateer": 650,
    "platen": 830, "platei": 830, "platev": 551, "mips24": 24e3, "mips70": 70e3, "mips160": 160e3,
    "psw": 250e3, "pmw": 350e3, "plw": 500e3,
}  # fmt: skip
_OF_TELESCOPES = (
    (("roman", "wfi"), {"f062": 620, "f087": 870, "f106": 1060, "f129": 1290, "f146": 1460, "f158": 1580, "f184": 1840,
                        "f213": 2130}),
    (("splus", "s-plus", "jplus", "j-plus", "t80", "jast"), {"f378": 378, "f395": 395, "f410": 410, "f430": 430,
                                                            "f515": 515, "f660": 660, "f861": 861}),
)  # fmt: skip
"""Names that count only where the header or the name says whose they are: elsewhere f430 may number a field."""
_LETTER = re.compile(
    r"([ugrizyjhk])(?:p|prime|img|image|band|sci|flux|sdss|java)|([riz])2", re.IGNORECASE
)  # rp of LCO, GIMG, gSDSS, r2 of HSC
_NARROW = re.compile(r"(?:nb|ia|ib)0?(\d{3,4})", re.IGNORECASE)  # NB816, NB0921, IA624
_DECAM_NARROW = re.compile(r"n(\d{3})", re.IGNORECASE)  # elsewhere N964 may be a galaxy
_IN_NANOMETRES = re.compile(r"(\d{3,8})nm")
_FILTER_WHEEL = re.compile(r"f(\d{3,4})(w2|w|m|n|lp|x|c)", re.IGNORECASE)
_UNITS = {"um": 1000.0, "µm": 1000.0, "micron": 1000.0, "microns": 1000.0, "nm": 1.0, "angstrom": 0.1}

# Names of which a part would be taken for another band, and what is to be read in their place.
_LINE = re.compile(r"h[-_ ]?(?:alpha|α|a)(?![a-z0-9])", re.IGNORECASE)
_SUPRIME = re.compile(r"(?<![a-z0-9])w-[jcs]-(?=[a-z])", re.IGNORECASE)  # W-J-B, W-C-RC, W-S-I+: the system's letter
_SUPRIME_NARROW = re.compile(r"(?<![a-z0-9])(?:n-b|i-a)-l?(?=\d{3})", re.IGNORECASE)  # N-B-L816, I-A-L427
_PLATE = re.compile(
    r"(?<![a-z])(?:poss(?:i|ii|1|2)?|serc|aao|ukst|dss\d?)[-_ ](e?[jr]|[foenvi])(?![a-z0-9])", re.IGNORECASE
)  # POSSII-J: J is blue there
_WITH_UNIT = re.compile(r"(\d+(?:\.\d+)?)\s*(um|µm|microns?|nm|angstrom)(?![a-z])", re.IGNORECASE)
_IRAC = re.compile(r"irac[-_ ]*(\d\.\d)(?:\s*um)?", re.IGNORECASE)
_READ_AS = (
    (_LINE, "halpha"), (_SUPRIME, ""), (_SUPRIME_NARROW, "nb"), (_PLATE, r"plate\1"), (_IRAC, r"\1um"),
)  # fmt: skip

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
    about = f"{instrument} {name}".lower()
    waves = (_of_word(word, about) for word in band_words(name))
    return next((wave for wave in waves if wave is not None), None)


def band_words(name: str) -> list[str]:
    """The words of a name of which each may be a band."""
    for pattern, plain in _READ_AS:
        name = pattern.sub(plain, name)
    name = _WITH_UNIT.sub(lambda found: f" {float(found[1]) * _UNITS[found[2].lower()]:.0f}nm ", name)
    return re.split(r"[^A-Za-z0-9α]+", name)


def _of_word(word: str, instrument: str) -> float | None:
    if word == "v" and "skymapper" in instrument:
        return 384.0
    found = _NANOMETRES.get(word.lower())
    for telescopes, names in _OF_TELESCOPES:
        if word.lower() in names and any(each in instrument for each in telescopes):
            found = names[word.lower()]
    if found is not None:
        return float(found)
    if wheel := _FILTER_WHEEL.fullmatch(word):
        return _of_wheel(word.upper(), int(wheel[1]), instrument)
    if letter := _LETTER.fullmatch(word):
        return _of_word(letter[1] or letter[2], instrument)
    number = _NARROW.fullmatch(word) or _IN_NANOMETRES.fullmatch(word)
    if number is None and "decam" in instrument:
        number = _DECAM_NARROW.fullmatch(word)
    return float(number[1]) if number and int(number[1]) >= 100 else None


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
