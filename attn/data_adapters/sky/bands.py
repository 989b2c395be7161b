"""Which photometric band a name means, and which bands become red, green and blue.

Names come as `r`, `SDSS r`, `r.MP9601`, `HSC-I`, `Bessell V`, `F606W`, `Ks`. A name is known when one of
its words is.
"""

import re
from collections.abc import Sequence

from attn.core.errors import InputError

# Effective wavelength in nanometres, to put bands in order; close to, not exactly, each survey's own value.
_NANOMETRES = {
    "fuv": 153, "nuv": 231, "u": 357, "b": 440, "g": 478, "v": 551, "vis": 715, "r": 623, "i": 763, "z": 905,
    "y": 1000, "j": 1250, "h": 1650, "k": 2190, "ks": 2160, "w1": 3400, "w2": 4600, "w3": 12000, "w4": 22000,
    "red": 650, "green": 530, "blue": 450,
}  # fmt: skip
_FILTER_WHEEL = re.compile(r"f(\d{3,4})(w|m|n|lp|x|w2)", re.IGNORECASE)


def wavelength(name: str) -> float | None:
    """Nanometres of the first known word in `name`, None for a name without a known word."""
    for word in re.split(r"[^A-Za-z0-9]+", name):
        if word.lower() in _NANOMETRES:
            return float(_NANOMETRES[word.lower()])
        if wheel := _FILTER_WHEEL.fullmatch(word):
            # Hubble's optical filters count nanometres, its infrared ones (F105W..F160W) tens of them.
            number = int(wheel[1])
            return float(number * 10 if number < 200 else number)
    return None


def all_known(names: Sequence[str]) -> bool:
    """Every name is a band and no two mean the same one."""
    waves = [wavelength(name) for name in names]
    return None not in waves and len(set(waves)) == len(waves)


def display_order(names: Sequence[str], where: str) -> tuple[list[int], tuple[str, ...]]:
    """Indices of the one to three planes to show, reddest first, and flags.

    Known names go from the longest wavelength to the shortest. Of more than three, i, r and g when all
    are there (the colours of SDSS pictures), else the reddest, the middle and the bluest; flag
    `bands_used:i,r,g`. Three planes without known names are taken as red, green, blue in file order,
    as viewers do and as the i, r, g cubes of SDSS are written; flag `band_order_assumed`. Any
    other number without names is an InputError.
    """
    if len(names) == 1:
        return [0], ()
    if not all_known(names):
        if len(names) == 3:
            return [0, 1, 2], ("band_order_assumed",)
        raise InputError(
            f"{len(names)} planes without band names cannot be turned into a colour",
            where=where,
            hint="write each plane to its own file, or name the planes BAND1, BAND2, ... in the header",
        )
    order = sorted(range(len(names)), key=lambda k: -(wavelength(names[k]) or 0.0))
    if len(order) <= 3:
        return order, ()
    words = {w.lower(): k for k, name in enumerate(names) for w in re.split(r"[^A-Za-z0-9]+", name)}
    if {"i", "r", "g"} <= words.keys():
        chosen = [words["i"], words["r"], words["g"]]
    else:
        chosen = [order[0], order[len(order) // 2], order[-1]]
    return chosen, ("bands_used:" + ",".join(names[k] for k in chosen),)
