"""The counts that FITS headers declare, checked before anything is built on them.

astropy loops over the declared number of axes and columns, and hands the settings of a tile compression
to C decoders unchecked: a few wrong bytes there would hang or crash the process instead of raising.
"""

import math
import re
from pathlib import Path
from typing import Any, BinaryIO

from attn.core.errors import InputError

_BLOCK = 2880  # bytes; headers and data are padded to whole blocks
_MOST = 999  # axes or table columns, by the standard
_LONGEST_HEADER = 4000  # blocks, 11 MB
_MAX_TILE = 1 << 26  # pixels of a compressed tile
_LARGEST = 1 << 62  # bytes of an HDU
_INTEGER = re.compile(rb"(NAXIS\d*|BITPIX|PCOUNT|GCOUNT|TFIELDS|ZNAXIS) *= *([+-]?\d+)")


def check_counts(stream: BinaryIO, path: Path) -> None:
    """Walk the headers in `stream`; InputError for one that declares more than FITS allows.

    A header that cannot be followed ends the walk: what is wrong with it is left to the reader.
    """
    index = 0
    while cards := _next_header(stream):
        for key in ("NAXIS", "ZNAXIS", "TFIELDS"):
            if cards.get(key, 0) > _MOST:
                raise InputError(
                    f"declares {key} = {cards[key]:,}; FITS allows {_MOST}",
                    where=f"{path}, HDU {index}",
                    hint="the file is damaged; get it again",
                )
        lengths = [cards.get(f"NAXIS{k}", 0) for k in range(1, cards.get("NAXIS", 0) + 1)]
        if lengths and lengths[0] == 0:  # random groups
            lengths = lengths[1:]
        values = cards.get("GCOUNT", 1) * (cards.get("PCOUNT", 0) + (math.prod(lengths) if lengths else 0))
        size = abs(cards.get("BITPIX", 8)) // 8 * values
        if not 0 <= size < _LARGEST:
            return
        stream.seek(math.ceil(size / _BLOCK) * _BLOCK, 1)
        index += 1


def check_tiles(image: Any, where: str) -> None:
    """InputError when the tile compression of an astropy image HDU has settings its decoders cannot take."""
    table = getattr(image, "_bintable", None)  # the header with the settings has no public name
    if table is None:
        return
    names = {str(table.header[f"ZNAME{k}"]).strip(): k for k in range(1, 9) if f"ZNAME{k}" in table.header}
    settings = {name.upper(): table.header.get(f"ZVAL{k}") for name, k in names.items()}
    tile = math.prod(image.tile_shape)
    good = settings.get("BYTEPIX", 4) in (1, 2, 4, 8) and settings.get("BLOCKSIZE", 32) in (
        8,
        16,
        32,
        64,
        128,
    )
    if not good or not 0 < tile <= _MAX_TILE:
        raise InputError(
            f"its tile compression has impossible settings (tiles of {tile:,} pixels, {settings})",
            where=where,
            hint="the file is damaged; get it again",
        )


def _next_header(stream: BinaryIO) -> dict[str, int]:
    """The counts in the header at the stream's position; empty at its end or when it cannot be followed."""
    cards: dict[str, int] = {}
    for _ in range(_LONGEST_HEADER):
        block = stream.read(_BLOCK)
        if len(block) < _BLOCK:
            return {}
        for at in range(0, _BLOCK, 80):
            card = block[at : at + 80]
            if found := _INTEGER.match(card):
                cards.setdefault(found[1].decode(), int(found[2]))
            elif card.rstrip() == b"END":
                return cards
    return {}
