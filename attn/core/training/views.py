"""Random views of images: turned, zoomed, stretched, shifted, in one resampling, on whatever device they are on.

Shapes: B batch, C channels, H height, W width, S height and T width of the view.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Range = tuple[float | int, float | int]


def random_theta(
    x_bchw: Float[Tensor, "B C H W"],
    *,
    aspect: Range,
    zoom: Range,
    rotation: float | int,
    shift: float | int,
) -> Float[Tensor, "B 2 3"]:
    """A random map from the places of a view to those of its image, one for each image, drawn on its device.

    aspect: range of width over height by which the image is stretched; zoom: range of magnification; rotation: the
    largest angle in degrees; shift: the largest one in parts of the side.
    """
    draw = x_bchw.new_empty(5, len(x_bchw))
    angle_b = draw[0].uniform_(-rotation, rotation) * (math.pi / 180)
    zoom_b = draw[1].uniform_(math.log(zoom[0]), math.log(zoom[1])).exp()
    # Half of the stretch widens, half of it lowers: the area stays.
    stretch_b = (draw[2].uniform_(math.log(aspect[0]), math.log(aspect[1])) / 2).exp()
    shift_b2 = draw[3:5].uniform_(-shift, shift).T
    cos_b, sin_b = angle_b.cos() / zoom_b, angle_b.sin() / zoom_b
    return theta((cos_b / stretch_b, -sin_b / stretch_b), (sin_b * stretch_b, cos_b * stretch_b), shift_b2)


def theta(
    upper: tuple[Tensor, Tensor], lower: tuple[Tensor, Tensor], shift_b2: Float[Tensor, "B 2"]
) -> Float[Tensor, "B 2 3"]:
    """The affine maps with these two rows of numbers (B,), and this shift."""
    rows = [torch.stack([*row, shift_b2[:, number]], dim=-1) for number, row in enumerate((upper, lower))]
    return torch.stack(rows, dim=1)


def view(
    x_bchw: Float[Tensor, "B C H W"], theta_b23: Float[Tensor, "B 2 3"], size: tuple[int, int], beyond: str = "zeros"
) -> Float[Tensor, "B C S T"]:
    """Each image seen through its map; `beyond` its rim there are "zeros", or its "reflection"."""
    grid = F.affine_grid(theta_b23, [*x_bchw.shape[:2], *size], align_corners=False)
    seen: Tensor = F.grid_sample(x_bchw, grid, mode="bilinear", padding_mode=beyond, align_corners=False)
    return seen
