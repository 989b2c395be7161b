"""Augmentation for chest X-rays, on whole batches and on whatever device they are on.

What differs between hospitals and not between diseases is varied: the shape of the picture, its crop, exposure and
display curve, sharpness, noise, and what stands on its border. The heart lies on the left, so nothing is mirrored.
The randomness comes from torch's global generator, which the trainer reseeds at every epoch.

Shapes: B batch, H height, W width, S model side, K classes. Pixels are floats in 0..1.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from attn.core.training.views import random_theta, view


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Strengths; 0 turns an item off, as (1, 1) does for `aspect` and `zoom`.

    aspect: range of width over height by which the picture is stretched; zoom: range of magnification; rotation in
    degrees; shift in parts of the side. contrast, gamma: standard ranges of their logarithms; brightness: of an offset.
    blur: the smallest share of the side that a picture is shrunk to and brought back from is 1 - blur. noise: the
    largest deviation. border: the probability that a rim is painted over, and `rim` the widest one in parts of the
    side. mix: the probability that a batch is mixed with itself (Zhang et al. 2018).
    """

    aspect: tuple[float, float] = (0.7, 1.4)
    zoom: tuple[float, float] = (0.9, 1.2)
    rotation: float = 8.0
    shift: float = 0.06
    gamma: float = 0.2
    contrast: float = 0.2
    brightness: float = 0.05
    blur: float = 0.25
    noise: float = 0.02
    border: float = 0.2
    rim: float = 0.08
    mix: float = 0.0


def random_view(x_b1hw: Float[Tensor, "B 1 H W"], side: int, config: AugmentConfig) -> Float[Tensor, "B 1 S S"]:
    """One stretched, zoomed, turned and shifted view of each picture; what lies outside it is black.

    One resampling does all of it.
    """
    theta_b23 = random_theta(
        x_b1hw, aspect=config.aspect, zoom=config.zoom, rotation=config.rotation, shift=config.shift
    )
    return view(x_b1hw, theta_b23, (side, side))


def photometric(x_b1ss: Float[Tensor, "B 1 S S"], config: AugmentConfig) -> Float[Tensor, "B 1 S S"]:
    """Sharpness, gamma, contrast, brightness, noise, and a rim painted over in one grey."""

    def uniform(low: float, high: float) -> Tensor:
        return x_b1ss.new_empty(len(x_b1ss), 1, 1, 1).uniform_(low, high)

    x = _blurred(x_b1ss, config.blur).clamp(min=1e-4)
    x = x ** uniform(-config.gamma, config.gamma).exp()
    mean = x.mean((2, 3), keepdim=True)
    x = mean + (x - mean) * uniform(-config.contrast, config.contrast).exp()
    x = x + uniform(-config.brightness, config.brightness)
    x = x + torch.randn_like(x) * uniform(0, config.noise)
    return _without_rim(x.clamp(0, 1), config)


def mix(
    x_b1ss: Float[Tensor, "B 1 S S"], target_bk: Float[Tensor, "B K"], config: AugmentConfig
) -> tuple[Float[Tensor, "B 1 S S"], Float[Tensor, "B K"]]:
    """Mixup of the batch with a permutation of itself, pictures of one source with those of another."""
    if torch.rand(()) >= config.mix:
        return x_b1ss, target_bk
    order = torch.randperm(len(x_b1ss), device=x_b1ss.device)
    kept = float(torch.distributions.Beta(0.4, 0.4).sample())
    return kept * x_b1ss + (1 - kept) * x_b1ss[order], kept * target_bk + (1 - kept) * target_bk[order]


def _blurred(x_b1ss: Tensor, strength: float) -> Tensor:
    """Shrunk and enlarged again, half of the batches; the whole batch by one factor, which is one resize each way."""
    if torch.rand(()) >= 0.5 or strength == 0:
        return x_b1ss
    side = x_b1ss.shape[-1]
    small = max(8, round(side * (1 - strength * float(torch.rand(())))))
    less = F.interpolate(x_b1ss, size=(small, small), mode="bilinear", antialias=True, align_corners=False)
    return F.interpolate(less, size=(side, side), mode="bilinear", align_corners=False)


def _without_rim(x_b1ss: Tensor, config: AugmentConfig) -> Tensor:
    batch, _, side, _ = x_b1ss.shape
    chosen = torch.rand(batch, 1, device=x_b1ss.device) < config.border
    width_b4 = torch.rand(batch, 4, device=x_b1ss.device) * config.rim * side * chosen
    place = torch.arange(side, device=x_b1ss.device) + 0.5
    rows = (place > width_b4[:, 0, None]) & (place < side - width_b4[:, 1, None])
    columns = (place > width_b4[:, 2, None]) & (place < side - width_b4[:, 3, None])
    grey_b111 = x_b1ss.new_empty(batch, 1, 1, 1).uniform_(0, 1)
    return torch.where(rows[:, None, :, None] & columns[:, None, None, :], x_b1ss, grey_b111)
