"""Large kernel attention: a convolution gates the tokens (VAN, Guo et al. 2022, section 3.2 and figure 3).

    u = gelu(W_1 x);   out = W_2 (u * W_3 wide(near(u))),    + x where the widths agree

`near` is a depthwise convolution of 5 x 5 taps and `wide` one of 7 x 7 taps with dilation 3. Together they reach over
23 x 23 tokens (the paper counts 21, the kernel that they stand for). The gate is neither squashed nor normalised.
Beyond the border are zeros. VAN puts a batch norm before the layer; here that is the block's layer norm.

In one dimension the padding is on the left alone, 4 and 18 tokens, and a step keeps these 22 inputs and nothing else.

Shapes: B batch, L tokens or H x W map, C0 channels in, C channels.
"""

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from attn.core.decoding.tails import Tails
from attn.core.mixers.base import Mixer, MixerConfig
from attn.core.mixers.projections import linear_in, require_heads, with_range
from attn.core.mixers.registry import register

NEAR, WIDE, DILATION = 5, 7, 3  # taps of the two convolutions, and the step between those of the second


class _LargeKernel(Mixer):
    def __init__(self, config: MixerConfig, near: nn.Module, wide: nn.Module) -> None:
        super().__init__(config)
        require_heads(config.channels, config.heads)
        width_in, width = config.channels_in or config.channels, config.channels
        self.before = nn.Linear(width_in, width)
        self.near, self.wide = near, wide
        self.gate = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.shortcut = width_in == width

    def _finish(self, x: Tensor, u: Tensor, wide: Tensor) -> Tensor:
        with torch.autocast(u.device.type, enabled=False):
            y = linear_in(self.out, with_range(u) * linear_in(self.gate, wide.to(u.dtype))).to(u.dtype)
        return y + x if self.shortcut else y


@register("large_kernel", dims=(2,), causal="no", weights=False, steps="no", cost="L", paper="arXiv:2202.09741")
class LargeKernelMixer2d(_LargeKernel):
    """A gate of 23 x 23 tokens."""

    Config = MixerConfig

    def __init__(self, config: MixerConfig) -> None:
        c, reach = config.channels, (WIDE - 1) * DILATION
        near = nn.Conv2d(c, c, NEAR, padding=NEAR // 2, groups=c)
        super().__init__(config, near, nn.Conv2d(c, c, WIDE, padding=reach // 2, dilation=DILATION, groups=c))

    def forward(self, x_bhwc: Float[Tensor, "B H W C0"]) -> Float[Tensor, "B H W C"]:
        """Every token is gated by the tokens around it."""
        u_bhwc = F.gelu(self.before(x_bhwc))
        wide_bchw = self.wide(self.near(u_bhwc.permute(0, 3, 1, 2)))
        return self._finish(x_bhwc, u_bhwc, wide_bchw.permute(0, 2, 3, 1))


@register("large_kernel", dims=(1,), causal="always", weights=False, steps="equal", cost="L", paper="arXiv:2202.09741")
class LargeKernelMixer(_LargeKernel):
    """A gate of the 23 newest tokens."""

    causal = True
    endless = True
    Config = MixerConfig

    def __init__(self, config: MixerConfig) -> None:
        c = config.channels
        near = nn.Conv1d(c, c, NEAR, groups=c)
        super().__init__(config, near, nn.Conv1d(c, c, WIDE, dilation=DILATION, groups=c))

    def start(
        self, batch: int, length: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Tails:
        """No inputs yet, for any number of tokens."""
        return Tails()

    def forward(self, x_blc: Float[Tensor, "B L C0"], past: Any = None) -> Float[Tensor, "B L C"]:
        """Mix all tokens, or with `past` the next L."""
        tails = cast(Tails, self.start(0, 0) if past is None else past)
        u_blc = F.gelu(self.before(x_blc))
        near_bcl = self.near(tails.before("near", u_blc.mT, NEAR - 1))
        wide_bcl = self.wide(tails.before("wide", near_bcl, (WIDE - 1) * DILATION))
        tails.length += x_blc.shape[1]
        return self._finish(x_blc, u_blc, wide_bcl.mT)
