"""One object cut out of a picture, as display pixels."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Display = NDArray[np.uint8]
"""Pixels (H, W, 3), red, green, blue."""


@dataclass(frozen=True)
class Cutout:
    """One object ready to be looked at.

    Display pixels (H, W, 3) uint8, what was odd about them, and extra columns for the result table. `measures` (M,) are
    what an app has measured in the pixels.
    """

    id: str
    pixels: Display
    flags: tuple[str, ...] = ()
    values: Mapping[str, float | str | None] = field(default_factory=dict)
    measures: NDArray[np.float64] | None = None
