"""Which bands become red, green and blue."""

from collections.abc import Sequence
from typing import NamedTuple

from attn.core.errors import InputError
from attn.data_adapters.sky.band_names import wavelength

ASSUMED = "band_order_assumed"
_SDSS = frozenset(wavelength(name) for name in "irg")


class Band(NamedTuple):
    """A band as the file calls it, and its wavelength in nanometres; None where nobody knows it."""

    name: str
    nanometres: float | None = None


def all_known(bands: Sequence[Band]) -> bool:
    """Every band has a wavelength and no two have the same one."""
    waves = [band.nanometres for band in bands]
    return None not in waves and len(set(waves)) == len(waves)


def display_order(
    bands: Sequence[Band], where: str, *, bluest_first: bool = False
) -> tuple[list[int], tuple[str, ...]]:
    """Indices of the one to three planes to show, reddest first, and flags.

    Known bands go from the longest wavelength to the shortest. Of more than three, i, r and g when all
    are there (the colours of SDSS pictures), else the reddest, the middle and the bluest; flag
    `bands_used:i,r,g`. Three planes of unknown bands are taken as red, green, blue in file order,
    as viewers do and as the i, r, g cubes of SDSS are written, or `bluest_first`, as people list them
    (`g r i`); flag `band_order_assumed`. Any other number of unknown bands is an InputError.
    """
    if len(bands) == 1:
        return [0], ()
    if not all_known(bands):
        if len(bands) == 3:
            return ([2, 1, 0] if bluest_first else [0, 1, 2]), (ASSUMED,)
        raise InputError(
            f"{len(bands)} planes without band names cannot be turned into a colour",
            where=where,
            hint="write each plane to its own file, or name the planes BAND1, BAND2, ... in the header",
        )
    order = sorted(range(len(bands)), key=lambda k: -(bands[k].nanometres or 0.0))
    if len(order) <= 3:
        return order, ()
    place = {band.nanometres: k for k, band in enumerate(bands)}
    if place.keys() >= _SDSS:
        chosen = sorted((place[wave] for wave in _SDSS), key=order.index)
    else:
        chosen = [order[0], order[len(order) // 2], order[-1]]
    return chosen, ("bands_used:" + ",".join(bands[k].name for k in chosen),)
