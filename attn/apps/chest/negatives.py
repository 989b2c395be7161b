"""What a frontal chest radiograph is not: turned, mirrored, negative and cropped ones, and drawn forms.

They teach the gate and measure it. Batches are on any device, 0 black to 1 white.

Shapes: B batch, W working side, S side.
"""

from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

Picture = Float[np.ndarray, "S S"]
CROP = (0.35, 0.55)  # the sides of a crop as shares of the picture's: too little to see the chest
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def mirrored(x_b1ss: Float[Tensor, "B 1 S S"]) -> Float[Tensor, "B 1 S S"]:
    """The heart on the other side."""
    return x_b1ss.flip(3)


def inverted(x_b1ss: Float[Tensor, "B 1 S S"]) -> Float[Tensor, "B 1 S S"]:
    """The negative."""
    return 1 - x_b1ss


def turned(x_b1ss: Float[Tensor, "B 1 S S"]) -> Float[Tensor, "B 1 S S"]:
    """Each by one, two or three quarters."""
    quarters = torch.randint(1, 4, (len(x_b1ss),)).tolist()
    turns = [torch.rot90(x_1ss, quarter, (1, 2)) for x_1ss, quarter in zip(x_b1ss, quarters, strict=True)]
    return torch.stack(turns)


def part(x_b1ss: Float[Tensor, "B 1 S S"]) -> Float[Tensor, "B 1 S S"]:
    """A random part of each, enlarged to its size."""
    share_b2 = x_b1ss.new_empty(len(x_b1ss), 2).uniform_(*CROP)
    centre_b2 = (2 * torch.rand_like(share_b2) - 1) * (1 - share_b2)
    theta_b23 = torch.cat([torch.diag_embed(share_b2), centre_b2[:, :, None]], dim=2)
    grid = F.affine_grid(theta_b23, list(x_b1ss.shape), align_corners=False)
    enlarged: Tensor = F.grid_sample(x_b1ss, grid, padding_mode="border", align_corners=False)
    return enlarged


SPOILED = {"mirrored": mirrored, "turned": turned, "inverted": inverted, "part": part}
"""What is made of frontal chests, by the name of its kind."""


def form(side: int, draw: np.random.Generator) -> Picture:
    """A scanned page: lines of text and boxes, dark on white."""
    width, height = (int(length) for length in draw.integers(400, 900, 2))
    page = Image.new("L", (width, height), int(draw.integers(200, 256)))
    pen = ImageDraw.Draw(page)
    y = 20
    while y < height - 20:
        kind = draw.random()
        if kind < 0.15:
            bottom = min(y + int(draw.integers(20, 90)), height - 5)
            pen.rectangle(
                (20, y, width - 20, bottom), outline=int(draw.integers(0, 90)), width=int(draw.integers(1, 4))
            )
            y = bottom + 8
        elif kind < 0.85:
            x, end = 25, draw.uniform(0.4, 0.95) * width
            while x < end:
                word = "".join(LETTERS[letter] for letter in draw.integers(0, 26, int(draw.integers(2, 9))))
                pen.text((x, y), word, fill=int(draw.integers(0, 110)), font=_font(int(draw.integers(10, 22))))
                x += 9 * len(word) + 8
            y += int(draw.integers(16, 28))
        else:
            y += int(draw.integers(10, 60))
    small = page.convert("F").resize((side, side), Image.Resampling.BILINEAR)
    return (np.asarray(small, dtype=np.float32) / 255).clip(0, 1)


@cache
def _font(size: int) -> Any:
    """Pillow reads its own font anew each time that it is asked for a size."""
    return ImageFont.load_default(size)
