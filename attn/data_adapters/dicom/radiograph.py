"""One radiograph as a display would show it, with what was done to get it."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from attn.core.errors import InputError
from attn.data_adapters.dicom.flags import Flag


class NotAnImageError(InputError):
    """A file that holds no image (a report, a PDF, a DICOMDIR, text): skipped in a folder, no fault of anybody."""


@dataclass(frozen=True)
class Radiograph:
    """One frame, ready to be looked at. No identity is in it.

    `pixels_hw` are 0 black to 1 white in the size they are stored in; `spacing` is the height and the width of a pixel,
    in mm or as a ratio. `header` holds what an allow-list lets through of the header (modality, view, sizes, transfer
    syntax, decoder, steps); it is empty for pictures.
    """

    id: str
    pixels_hw: Float[np.ndarray, "H W"]
    spacing: tuple[float, float] = (1.0, 1.0)
    flags: tuple[Flag, ...] = ()
    header: dict[str, str | float] = field(default_factory=dict)
