"""Augmentation for galaxies, on whole batches and on whatever device they are on.

A galaxy has no up and no fixed distance, so every rotation, both mirror images and a range of scales are equally good
pictures of it; its colour and brightness depend on survey and exposure only a little, so they are varied a little.
The randomness comes from torch's global generator, which the trainer reseeds at every epoch.

Shapes: B batch, C bands, H height, W width, S model side, K classes. Pixels are floats in 0..1.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from attn.core.training.views import theta, view
from attn.data_adapters.sky.stretch import Stretch


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Strengths; every probability is per image except that of mixing, which is per batch.

    coarse: the probability that an image gets the resolution of a galaxy that is small in its frame.
    restretch: the probability that it is stretched anew, as counts are. band_loss: that one band is the mean of the
    other two. gamma: half the range of the logarithm of the exponent; brightness: of what is added to every pixel.
    """

    scale: tuple[float, float] = (0.7, 1.25)
    shift: float = 0.06
    stretch: float = 0.1
    photometric: float = 0.15
    grey: float = 0.15
    noise: float = 0.03
    erase: float = 0.1
    coarse: float = 0.0
    restretch: float = 0.0
    band_loss: float = 0.0
    gamma: float = 0.0
    brightness: float = 0.0
    mixup: float = 0.8
    cutmix: float = 1.0
    mix_probability: float = 0.5


SURVEYS = AugmentConfig(
    scale=(0.7, 1.5),
    photometric=0.2,
    noise=0.04,
    coarse=0.3,
    restretch=0.25,
    band_loss=0.1,
    gamma=0.5,
    brightness=0.12,
)
"""For pictures of other surveys and other displays: the bundled model was trained further with it."""


def sky_level(x_bchw: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C 1 1"]:
    """Median of the image's one-pixel rim in each band, (B, C, 1, 1)."""
    rim = torch.cat([x_bchw[..., 0, :], x_bchw[..., -1, :], x_bchw[..., :, 0], x_bchw[..., :, -1]], dim=-1)
    return rim.median(dim=-1).values[..., None, None]


def random_view(x_bchw: Float[Tensor, "B C H W"], side: int, config: AugmentConfig) -> Float[Tensor, "B C S S"]:
    """One rotated, mirrored, scaled, shifted and slightly stretched view of each image, (B, C, side, side).

    One resampling does all of it. What lies outside the original frame is filled with the image's sky level.
    """
    batch = x_bchw.shape[0]
    draw = x_bchw.new_empty(6, batch)
    angle = draw[0].uniform_(0, 2 * math.pi)
    mirror = draw[1].bernoulli_(0.5) * 2 - 1
    zoom = draw[2].uniform_(math.log(config.scale[0]), math.log(config.scale[1])).exp()
    stretch = draw[3].uniform_(-config.stretch, config.stretch).exp()
    shift_b2 = draw[4:6].uniform_(-config.shift, config.shift).T
    cos, sin = angle.cos() / zoom, angle.sin() / zoom
    theta_b23 = theta((cos * mirror * stretch, -sin / stretch), (sin * mirror * stretch, cos / stretch), shift_b2)
    sky = sky_level(x_bchw)
    return view(x_bchw - sky, theta_b23, (side, side)) + sky


def photometric(x_bchw: Float[Tensor, "B C H W"], config: AugmentConfig) -> Float[Tensor, "B C H W"]:
    """Brightness, gamma, band gains, saturation, noise, and now and then a grey image or an erased patch."""
    batch, bands = x_bchw.shape[:2]

    def jitter(*shape: int) -> Tensor:
        return (x_bchw.new_empty(batch, *shape, 1, 1).uniform_(-1, 1) * config.photometric).exp()

    x = x_bchw.clamp(min=0)
    x = x.clamp(min=1e-4) ** jitter(1) * jitter(1) * jitter(bands).sqrt()
    # Noise comes before the colour is taken away, so that a grey image's three planes stay equal.
    x = x + torch.randn_like(x) * x.new_empty(batch, 1, 1, 1).uniform_(0, config.noise)
    grey = x.mean(dim=1, keepdim=True)
    saturation = jitter(1) ** 2 * (torch.rand(batch, 1, 1, 1, device=x.device) >= config.grey)
    x = grey + (x - grey) * saturation
    return _erase(x, config.erase).clamp(0, 1)


def coarsen(x_bchw: Float[Tensor, "B C H W"], config: AugmentConfig) -> Float[Tensor, "B C H W"]:
    """Some images at 0.35 to 0.8 of their resolution, the same for all of a batch."""
    if config.coarse == 0:
        return x_bchw
    height, width = x_bchw.shape[2:]
    share = float(torch.empty(()).uniform_(0.35, 0.8))
    size = (max(1, round(share * height)), max(1, round(share * width)))
    less = F.interpolate(x_bchw, size, mode="bilinear", antialias=True, align_corners=False)
    back = F.interpolate(less, (height, width), mode="bilinear", align_corners=False)
    chosen = torch.rand(len(x_bchw), 1, 1, 1, device=x_bchw.device) < config.coarse
    return torch.where(chosen, back, x_bchw)


def redisplay(x_bchw: Float[Tensor, "B C H W"], config: AugmentConfig) -> Float[Tensor, "B C H W"]:
    """Each image as another survey or another viewer shows it: stretched anew, a band lost, gamma, brightness."""
    batch, bands = x_bchw.shape[:2]

    def draw(low: float, high: float, *shape: int) -> Tensor:
        return x_bchw.new_empty(batch, *shape, 1, 1).uniform_(low, high)

    x = x_bchw
    if config.restretch:
        x = torch.where(draw(0, 1, 1) < config.restretch, _restretched(x, draw(-0.7, 0.7, 1).exp()), x)
    if config.band_loss:
        others = (x.sum(dim=1, keepdim=True) - x) / (bands - 1)
        lost = draw(0, 1, bands).argsort(dim=1) == 0  # one band of each image
        x = torch.where(lost & (draw(0, 1, 1) < config.band_loss), others, x)
    if config.gamma:
        x = x.clamp(min=1e-4) ** draw(-config.gamma, config.gamma, 1).exp()
    if config.brightness:
        x = x + draw(-config.brightness, config.brightness, 1)
    return x.clamp(0, 1)


def _restretched(x_bchw: Tensor, depth_b111: Tensor) -> Tensor:
    """The default `sky.stretch.Stretch` of the pixels, as if they were counts with `depth` times the rim's noise.

    Lupton's form (2004, equation 2): the curve of the bands' mean, their ratios kept.
    """
    stretch, sky = Stretch(), sky_level(x_bchw)
    noise = 1.4826 * sky_level((x_bchw - sky).abs()).clamp(min=1 / 255)
    balance_c11 = x_bchw.new_tensor(stretch.balance)[:, None, None]
    raised = ((x_bchw - sky) / noise / depth_b111 * balance_c11 + stretch.black).clamp(min=0)
    intensity = raised.mean(dim=1, keepdim=True).clamp(min=1e-6)
    top = math.asinh((stretch.white + stretch.black) / stretch.softening)
    shown = raised / intensity * (intensity / stretch.softening).asinh() / top
    return shown / shown.amax(dim=1, keepdim=True).clamp(min=1)


def mix(
    x_bchw: Float[Tensor, "B C H W"], target_bk: Float[Tensor, "B K"], config: AugmentConfig
) -> tuple[Float[Tensor, "B C H W"], Float[Tensor, "B K"]]:
    """Mixup (Zhang et al. 2018) or CutMix (Yun et al. 2019) of the batch with a permutation of itself.

    Targets are mixed by the share of each image that remains.
    """
    if torch.rand(()) >= config.mix_probability:
        return x_bchw, target_bk
    order = torch.randperm(x_bchw.shape[0], device=x_bchw.device)
    if torch.rand(()) < 0.5:
        kept = torch.distributions.Beta(config.mixup, config.mixup).sample()
        mixed = kept * x_bchw + (1 - kept) * x_bchw[order]
    else:
        kept = torch.distributions.Beta(config.cutmix, config.cutmix).sample()
        height, width = x_bchw.shape[2:]
        rows, columns = int(height * (1 - kept).sqrt()), int(width * (1 - kept).sqrt())
        top = int(torch.randint(height - rows + 1, ()))
        left = int(torch.randint(width - columns + 1, ()))
        mixed = x_bchw.clone()
        box = (..., slice(top, top + rows), slice(left, left + columns))
        mixed[box] = x_bchw[order][box]
        kept = torch.tensor(1 - rows * columns / (height * width))
    share = float(kept)
    return mixed, share * target_bk + (1 - share) * target_bk[order]


def _erase(x_bchw: Tensor, probability: float) -> Tensor:
    """Random erasing (Zhong et al. 2020): a square of a fifth of the side is set to the image's sky level."""
    batch, _, height, width = x_bchw.shape
    side = max(1, min(height, width) // 5)
    top = torch.randint(height - side + 1, (batch, 1, 1, 1), device=x_bchw.device)
    left = torch.randint(width - side + 1, (batch, 1, 1, 1), device=x_bchw.device)
    row = torch.arange(height, device=x_bchw.device)[:, None]
    column = torch.arange(width, device=x_bchw.device)
    inside = (row >= top) & (row < top + side) & (column >= left) & (column < left + side)
    chosen = torch.rand(batch, 1, 1, 1, device=x_bchw.device) < probability
    return torch.where(inside & chosen, sky_level(x_bchw), x_bchw)
