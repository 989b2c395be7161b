"""Augmentation for photographs of individuals, on whole batches and on whatever device they are on.

What differs from one photograph of an individual to the next is varied: the crop, the shape, light and colour, and what
stands in front. Whether a mirror image is the same individual depends on the data, so the caller says which to mirror.
The randomness comes from torch's global generator, which the trainer reseeds at every epoch.

Shapes: B batch, H height, W width, S model height, T model width. Pixels are floats in 0..1.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attn.core.training.views import random_theta, view


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Strengths; 0 turns an item off, as (1, 1) does for `aspect` and `zoom`.

    aspect: range of width over height by which the picture is stretched; zoom: range of magnification; rotation in
    degrees; shift in parts of the side. light: deviation of the logarithms of brightness, contrast and saturation.
    erase: the probability that a rectangle is painted grey (Zhong et al. 2020), and `area` the largest one's share.
    """

    aspect: tuple[float, float] = (0.8, 1.25)
    zoom: tuple[float, float] = (0.9, 1.3)
    rotation: float = 10.0
    shift: float = 0.08
    light: float = 0.2
    erase: float = 0.4
    area: float = 0.25


def random_view(
    x_b3hw: Float[Tensor, "B 3 H W"], size: tuple[int, int], mirrored_b: Bool[Tensor, " B"], config: AugmentConfig
) -> Float[Tensor, "B 3 S T"]:
    """One stretched, zoomed, turned and shifted view of each picture, some mirrored; beyond its rim it is reflected.

    One resampling does all of it.
    """
    theta_b23 = random_theta(
        x_b3hw, aspect=config.aspect, zoom=config.zoom, rotation=config.rotation, shift=config.shift
    )
    theta_b23[mirrored_b, 0] *= -1
    return view(x_b3hw, theta_b23, size, "reflection")


def photometric(x_b3st: Float[Tensor, "B 3 S T"], config: AugmentConfig) -> Float[Tensor, "B 3 S T"]:
    """Brightness, contrast and saturation, and now and then something grey in front."""

    def factor() -> Tensor:
        return (x_b3st.new_empty(len(x_b3st), 1, 1, 1).uniform_(-1, 1) * config.light).exp()

    x = x_b3st * factor()
    mean = x.mean((1, 2, 3), keepdim=True)
    x = mean + (x - mean) * factor()
    grey = x.mean(1, keepdim=True)
    x = (grey + (x - grey) * factor()).clamp(0, 1)
    return _erased(x, config)


def random_part(x_bchw: Float[Tensor, "B C H W"], config: AugmentConfig) -> Float[Tensor, "B C H2 W2"]:
    """What maps can bear instead of both: one window for all, channels louder or softer, and now and then a hole.

    The window's sides are those of the map over at most the largest `zoom`.
    """
    sides = [int(torch.randint(math.ceil(side / config.zoom[1]), side + 1, ())) for side in x_bchw.shape[2:]]
    top, left = (int(torch.randint(whole - side + 1, ())) for whole, side in zip(x_bchw.shape[2:], sides, strict=True))
    x = x_bchw[:, :, top : top + sides[0], left : left + sides[1]]
    x = x * (x.new_empty(*x.shape[:2], 1, 1).uniform_(-1, 1) * config.light).exp()
    return _erased(x, config, 0)


def _erased(x_b3st: Tensor, config: AugmentConfig, filling: float | None = None) -> Tensor:
    """A rectangle of 2 % to `area` of the picture, at most 3 times as long as wide, of one grey, or of the filling."""
    batch, _, height, width = x_b3st.shape
    draw = x_b3st.new_empty(5, batch, 1).uniform_(0, 1)
    share, shape = 0.02 + draw[0] * (config.area - 0.02), ((2 * draw[1] - 1) * math.log(3)).exp()
    tall, wide = (share * shape).sqrt().clamp(max=1) * height, (share / shape).sqrt().clamp(max=1) * width
    top, left = draw[2] * (height - tall), draw[3] * (width - wide)
    row = torch.arange(height, device=x_b3st.device) + 0.5
    column = torch.arange(width, device=x_b3st.device) + 0.5
    rows_bs, columns_bt = (row >= top) & (row < top + tall), (column >= left) & (column < left + wide)
    chosen_b1 = torch.rand(batch, 1, device=x_b3st.device) < config.erase
    inside = (rows_bs & chosen_b1)[:, None, :, None] & columns_bt[:, None, None, :]
    grey = draw[4][:, None, None]
    return torch.where(inside, grey if filling is None else torch.full_like(grey, filling), x_b3st)
