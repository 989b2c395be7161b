"""From a radiograph's display values to what the model sees, the same in training and in prediction.

Shapes: B batch, H height, W width, S model side.
"""

import numpy as np
import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F

from attn.data_adapters.dicom.radiograph import Radiograph


class Preprocessing(BaseModel):
    """Stored in the model's record: the `side` in pixels that every radiograph is brought to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    side: int = Field(ge=8, le=8192)

    def pixels(self, radiograph: Radiograph) -> Float[np.ndarray, "S S"]:
        """The radiograph squashed to the square: (S, S) float32 in 0..1.

        Square pixels and then a square picture is one resize, whatever the spacing: height and width are both divided
        by what brings them to S. Each new pixel is a mean over all that it covers (bilinear, antialiased).
        """
        x_11hw = torch.from_numpy(np.require(radiograph.pixels_hw, np.float32, ("C", "W")))[None, None]
        return resized(x_11hw, self.side)[0, 0].clamp(0, 1).numpy()


def resized(x_b1hw: Float[Tensor, "B 1 H W"], side: int) -> Float[Tensor, "B 1 S S"]:
    """Antialiased bilinear resize to (side, side), as Pillow's to seven digits, in two thirds of its time."""
    if x_b1hw.shape[-2:] == (side, side):
        return x_b1hw
    return F.interpolate(x_b1hw, size=(side, side), mode="bilinear", antialias=True, align_corners=False)


def to_bytes(pixels_ss: Float[np.ndarray, "S S"]) -> np.ndarray:
    """(S, S) uint8, as a training keeps them in memory."""
    return (pixels_ss * 255).round().astype(np.uint8)


def to_unit(pixels_bss: Tensor) -> Float[Tensor, "B 1 S S"]:
    """uint8 (B, S, S) to floats in 0..1, (B, 1, S, S)."""
    return pixels_bss[:, None].float() / 255
