"""From a cut-out's display pixels to what the model sees, the same in training and in prediction.

Shapes: B batch, C bands, H height, W width, S model side.
"""

from typing import Annotated

import numpy as np
import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from attn.apps.galaxy.number import Number
from attn.data_adapters.images.cutout import Cutout
from attn.data_adapters.sky.framing import frame, galaxy_share, laid, lifted, orientation
from attn.data_adapters.sky.stretch import Stretch

PositiveFloat = Annotated[float, Field(ge=1e-6, le=1e6)]
PixelMean = Annotated[float, Field(ge=-1e6, le=1e6)]


class Preprocessing(BaseModel):
    """Stored in the model's record: how counts become display pixels, and pixels the model's input.

    `side` in pixels, `mean` and `std` per band of pixels scaled to 0..1. With `framed` the picture is cropped to the
    galaxy in its middle, so that its size in the frame matters little. A picture whose sky is darker than `least_sky`
    display levels is made brighter until it is not. With `upright` it is turned and mirrored to one of its eight
    orientations, which does not depend on the one that it comes in.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    side: int = Field(ge=8, le=8192)
    mean: tuple[PixelMean, ...] = Field(min_length=3, max_length=3)
    std: tuple[PositiveFloat, ...] = Field(min_length=3, max_length=3)
    stretch: Stretch = Stretch()
    framed: bool = True
    least_sky: float = Field(default=0.0, ge=0, le=128)
    upright: bool = False

    def pixels(self, cutout: Cutout) -> np.ndarray:
        """The part of the cut-out that the model sees: (S, S, 3) uint8."""
        framed_ssc = self.framed_pixels(cutout)
        return laid(framed_ssc, orientation(framed_ssc)) if self.upright else framed_ssc

    def framed_pixels(self, cutout: Cutout) -> np.ndarray:
        """The same part, in the orientation in which it comes."""
        pixels_hwc = lifted(cutout.pixels, self.least_sky)
        return frame(pixels_hwc, self.side, galaxy_share(pixels_hwc) if self.framed else 1.0)

    def normalise(self, x_bchw: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Zero mean and unit variance, on the input's device, from pixels in 0..1."""
        mean = x_bchw.new_tensor(self.mean)[:, None, None]
        std = x_bchw.new_tensor(self.std)[:, None, None]
        return (x_bchw - mean) / std


class Calibration(BaseModel):
    """What prediction reads of the record's calibration: how the network's outputs become answers.

    Logits of classes are divided by `temperature`. A model without classes has a `number`.
    """

    model_config = ConfigDict(frozen=True)

    temperature: float = Field(default=1.0, ge=1e-3, le=1e3)
    number: Number | None = None


def to_unit(pixels_bhwc: Tensor) -> Tensor:
    """uint8 (B, H, W, 3) to floats in 0..1, (B, 3, H, W) in the channels-last memory format."""
    return pixels_bhwc.permute(0, 3, 1, 2).float() / 255


def symmetries(x_bchw: Float[Tensor, "B C S S"]) -> list[Tensor]:
    """The eight images of the dihedral group: four right-angle turns, each with its mirror image."""
    turns = [torch.rot90(x_bchw, quarter, (2, 3)) for quarter in range(4)]
    return turns + [turn.flip(3) for turn in turns]
