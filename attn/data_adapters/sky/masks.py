"""Which pixels a file itself calls bad: the MASK, DQ or BPM extension that belongs to an image.

A mask has the shape of the image or of one of its planes, and the image's EXTVER where there are several. Its bits mean
what the telescope says: JWST and Roman call a pixel bad by the first bit alone, Hubble keeps warm and saturated pixels
(32, 64, 256), the Rubin pipelines name their bits in the header (MP_BAD, MP_CR, ...), and a mask of anybody else calls
bad whatever is not 0.
"""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attn.data_adapters.sky.band_cards import card
from attn.data_adapters.sky.file import FitsFile
from attn.data_adapters.sky.scaling import number

MOST_HIDDEN = 0.5  # of a section, or of its middle: what hides more says something else than which pixels are bad
_NAMES = frozenset(
    ["MASK", "MSK", "DQ", "DQA", "BPM", "BADPIX", "FLAG", "FLAGS", "QUALITY", "CRMASK", "BADMASK", "BADPIXELS"]
)
_ALL = -1
_HUBBLE_KEEPS = 32 | 64 | 256
_RUBIN_BAD = ("MP_BAD", "MP_CR", "MP_NO_DATA", "MP_EDGE")


@dataclass(frozen=True)
class Mask:
    """The mask of one plane: its HDU, what comes before (rows, columns) in its index, the bits that mean bad."""

    hdu: Any
    name: str
    lead: tuple[int, ...]
    bits: int

    def bad(self, rows: slice, cols: slice) -> NDArray[np.bool_]:
        """Which pixels of a section are bad."""
        part = np.asarray(self.hdu.section[(*self.lead, rows, cols)])
        if part.dtype.kind == "f":  # 0 and 1 as floats; bits have no meaning
            return np.asarray(part != 0)
        part = part.astype(np.int64)
        bits = (part + int(number(self.hdu.header, "BZERO", 0, self.name))) & self.bits
        return np.asarray(bits != 0)


def find_mask(file: FitsFile, image: Any, shape: tuple[int, int], plane: int) -> Mask | None:
    """The mask of plane number `plane` of the HDU `image`, None without one; `shape` is (rows, columns)."""
    planes = int(np.prod(image.shape)) // (shape[0] * shape[1])
    found = [unit for unit in file.hdus if unit is not image and _is_mask(unit, shape, planes)]
    own = [unit for unit in found if unit.ver == image.ver] if len(found) > 1 else found
    if not own:
        return None
    unit = own[0]
    outer = tuple(int(n) for n in unit.shape[:-2])
    lead = tuple(plane if n > plane and n > 1 else 0 for n in outer)
    return Mask(unit, str(unit.name).strip(), lead, _bad_bits(file, unit))


def hides_too_much(bad: NDArray[np.bool_]) -> bool:
    """Whether a mask covers so much that its pixels cannot be the bad ones: it may mark the objects, or the good."""
    height, width = bad.shape
    middle = bad[height // 4 : height - height // 4, width // 4 : width - width // 4]
    return bool(bad.mean() > MOST_HIDDEN or (middle.size and middle.mean() > MOST_HIDDEN))


def _is_mask(unit: Any, shape: tuple[int, int], planes: int) -> bool:
    if not unit.is_image or len(unit.shape) < 2 or tuple(unit.shape[-2:]) != shape:
        return False
    if int(np.prod(unit.shape[:-2])) not in (1, planes):  # of a cube beside the image
        return False
    words = re.split(r"[^A-Z0-9]+", str(unit.name).upper())
    return bool(_NAMES.intersection(words))


def _bad_bits(file: FitsFile, unit: Any) -> int:
    header, primary = unit.header, file.hdus[0].header
    named = [key for key in header if str(key).startswith("MP_")]
    if named:
        return sum(1 << int(header[key]) for key in named if key in _RUBIN_BAD and 0 <= int(header[key]) < 63)
    telescope = (card(header, "TELESCOP") or card(primary, "TELESCOP")).upper()
    if telescope in ("JWST", "ROMAN"):
        return 1
    return _ALL & ~_HUBBLE_KEEPS if telescope == "HST" else _ALL
