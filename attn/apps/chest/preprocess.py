"""From a radiograph's display values to what the model sees, the same in training and in prediction.

Shapes: B batch, H height, W width, S model side.
"""

import numpy as np
from jaxtyping import Float
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

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
        whole = Image.fromarray(np.ascontiguousarray(radiograph.pixels_hw, dtype=np.float32))
        return np.asarray(whole.resize((self.side, self.side), Image.Resampling.BILINEAR)).clip(0, 1)


def to_bytes(pixels_ss: Float[np.ndarray, "S S"]) -> np.ndarray:
    """(S, S) uint8, as a training keeps them in memory."""
    return (pixels_ss * 255).round().astype(np.uint8)


def to_unit(pixels_bss: Tensor) -> Float[Tensor, "B 1 S S"]:
    """uint8 (B, S, S) to floats in 0..1, (B, 1, S, S)."""
    return pixels_bss[:, None].float() / 255
