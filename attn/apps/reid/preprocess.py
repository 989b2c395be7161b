"""From a photograph to what the model sees, the same in training, in a gallery and in a search.

Shapes: H height and W width of a photograph, S height and T width of the model's image.
"""

from typing import Annotated

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

Side = Annotated[int, Field(ge=8, le=8192)]


class Preprocessing(BaseModel):
    """Stored in the model's record: the photograph, squashed to (S, T) with antialiasing.

    Training stretches its pictures at random, so that the shape of a photograph tells little.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: tuple[Side, Side]

    def pixels(self, picture_hw3: np.ndarray) -> Tensor:
        """(H, W, 3) uint8 to (3, S, T) uint8."""
        height, width = self.size
        squashed = Image.fromarray(picture_hw3).resize((width, height), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(squashed)).permute(2, 0, 1).contiguous()


def to_unit(pixels_b3st: Tensor) -> Tensor:
    """uint8 to floats in 0..1; maps of a body's first stages stay as they are."""
    return pixels_b3st.float() / 255 if pixels_b3st.dtype == torch.uint8 else pixels_b3st.float()
