"""HyperZZW's global branch: the map times a kernel of its own size (Zhang 2024, arXiv:2401.17948). Experimental.

    K = slow(coordinates);   y_c = (x_c * K_c) z_c / S,   a matrix product for each channel c;   z = W_z x

The slow net is a small network of sines that makes a kernel of any size from coordinates in [-1, 1]; multiplied by x it
depends on the context. z is the fast branch. Both are S x S maps: a map that is no square is filled up with zeros. The
paper's product is not divided by S. Its block has nine other branches (local kernels, channel mixing), a norm behind
them and a loss for the slow net; here the global branch stands alone, and whether it does what the paper says of the
whole is open.

Shapes: B batch, H x W map, S = max(H, W), C0 channels in, C channels.
"""

import math
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from attn.core.mixers.base import Mixer, MixerConfig, Size
from attn.core.mixers.projections import linear_in, require_heads, with_range
from attn.core.mixers.registry import register

FREQUENCY = 10.0  # of the first layer's sines over half the map, as for signals without fine detail


@register(
    "hyper_zzw",
    dims=(2,),
    causal="no",
    weights=False,
    steps="no",
    cost="L^1.5",
    paper="arXiv:2401.17948",
    experimental=True,
)
class HyperZZWMixer2d(Mixer):
    """The global branch of HyperZZW. Experimental: see the module."""

    class Config(MixerConfig):
        """hidden: width of the slow net."""

        hidden: Size = 32

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        require_heads(config.channels, config.heads)
        width_in, width = config.channels_in or config.channels, config.channels
        self.context = nn.Linear(width_in, width)
        self.fast = nn.Linear(width_in, width)
        self.slow = nn.ModuleList([nn.Linear(2, config.hidden), nn.Linear(config.hidden, config.hidden)])
        self.kernel = nn.Linear(config.hidden, width)
        self.out = nn.Linear(width, width)

    def forward(self, x_bhwc: Float[Tensor, "B H W C0"]) -> Float[Tensor, "B H W C"]:
        """Every token is mixed with its row of the kernel and the columns of the map."""
        height, width = x_bhwc.shape[1:3]
        side = max(height, width)
        x_bssc = F.pad(x_bhwc, (0, 0, 0, side - width, 0, side - height))
        x_bssc, z_bssc = self.context(x_bssc), self.fast(x_bssc)
        with torch.autocast(z_bssc.device.type, enabled=False):
            y_bssc = hyper_zzw(x_bssc, self.kernel_of(side), with_range(z_bssc)) / side
            return linear_in(self.out, y_bssc[:, :height, :width]).to(z_bssc.dtype)

    def kernel_of(self, side: int) -> Float[Tensor, "S S C"]:
        """What the slow net makes of the coordinates."""
        weight = self.kernel.weight
        exact = torch.promote_types(weight.dtype, torch.float32)  # a phase of narrower numbers is off by much
        place_s = torch.arange(side, device=weight.device, dtype=exact)
        axis_s = 2 * place_s / max(side - 1, 1) - min(side - 1, 1)
        x_ssn = torch.stack(torch.meshgrid(axis_s, axis_s, indexing="ij"), -1)
        with torch.autocast(weight.device.type, enabled=False):
            for layer, frequency in zip(self.slow, (FREQUENCY, 1.0), strict=True):
                x_ssn = (frequency * linear_in(cast(nn.Linear, layer), x_ssn)).sin()
            return linear_in(self.kernel, x_ssn) * math.sqrt(2)  # sines have variance 1/2


def hyper_zzw(
    x_bssc: Float[Tensor, "B S S C"], kernel_ssc: Float[Tensor, "S S C"], z_bssc: Float[Tensor, "B S S C"]
) -> Float[Tensor, "B S S C"]:
    """(x * K) z: the paper's operator, a matrix product for each channel; in the type of `z`."""
    with torch.autocast(z_bssc.device.type, enabled=False):
        y_bssc = torch.einsum("byxc,bxwc->bywc", x_bssc * kernel_ssc, z_bssc.to(kernel_ssc.dtype))
    return y_bssc.to(z_bssc.dtype)
