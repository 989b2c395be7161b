"""Dual attention: over the tokens of a window, and over channels (DaViT, Ding et al. 2022, sections 3.2 and 3.3).

    window                out = softmax(q kᵀ / sqrt(D)) v       among the tokens of each w x w window
    channel, version 1    out = softmax(kᵀ v / sqrt(D)) qᵀ      among the D channels of a head, over all N tokens
    channel, version 2    out = softmax(qᵀ k / sqrt(N)) vᵀ      as in Florence-2

The channel attention multiplies keys with values: that is no mistake here but the authors' code. DaViT's blocks
alternate, each with a residual branch of its own. A mixer has one branch, so that both attentions read the same tokens
there and their outputs are added; `part` leaves one of them, for layers that alternate.

Windows are cut from the upper left corner; nothing attends to what pads the last of them (DaViT lets zeros attend).
The cost is linear in tokens. Channel attention asks for no grid: for sets it is the whole mechanism.

Shapes: B batch, N tokens (L, or H x W), C0 channels in, C channels, heads, D = C / heads, G windows, w·w tokens each.
"""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from attn.core.attention.attend import attend
from attn.core.attention.watch import Geometry
from attn.core.mixers.base import Mixer, MixerConfig, Size
from attn.core.mixers.halo import Axis, blocks, unblocks
from attn.core.mixers.projections import ProjectedMixer
from attn.core.mixers.registry import register


class ChannelAttention(ProjectedMixer):
    """Attention among the channels of each head; the order of tokens plays no part."""

    def __init__(self, config: Any, version: int) -> None:
        super().__init__(config)
        self.version = version

    def forward(self, x: Float[Tensor, "B *grid C0"]) -> Float[Tensor, "B *grid C"]:
        """Every token is changed by sums over all tokens."""
        q_bhdn, k_bhdn, v_bhdn = (part.flatten(2, -2).mT for part in self.project(x))
        channels_d = torch.arange(self.head_dim, device=x.device)
        geometry = Geometry(channels_d, channels_d, "channels")
        if self.version == 1:
            y_bhdn = attend(k_bhdn, v_bhdn, q_bhdn, scale=self.head_dim**-0.5, site=self, geometry=geometry)
        else:
            y_bhdn = attend(q_bhdn, k_bhdn, v_bhdn, site=self, geometry=geometry)
        return self.merge(y_bhdn.mT).reshape(*x.shape[:-1], -1)


class WindowAttention(ProjectedMixer):
    """Attention among the tokens of each window."""

    def forward(self, x_bhwc: Float[Tensor, "B H W C0"]) -> Float[Tensor, "B H W C"]:
        """Every token sees its window."""
        height, width = x_bhwc.shape[1:3]
        y, x = (Axis(size, min(self.config.window, size), 0) for size in (height, width))
        q_bhgld, k_bhgld, v_bhgld = self.project(blocks(x_bhwc, y, x))
        # Token numbers plus one go through the same cuts, so that padding, which is 0, ends as -1.
        numbers_1hw1 = torch.arange(1, height * width + 1, device=x_bhwc.device).view(1, height, width, 1)
        tokens_gl = blocks(numbers_1hw1, y, x)[0, ..., 0] - 1
        padded = y.padding > 0 or x.padding > 0
        y_bhgld = attend(
            q_bhgld,
            k_bhgld,
            v_bhgld,
            mask=(tokens_gl >= 0)[:, None] if padded else None,
            site=self,
            geometry=Geometry(tokens_gl, tokens_gl),
        )
        return unblocks(self.merge(y_bhgld), y, x)[:, :height, :width]


@register("dual", dims=(2,), causal="no", weights=True, steps="no", cost="L w^2", paper="arXiv:2204.03645")
class DualMixer2d(Mixer):
    """Attention over windows and over channels, side by side."""

    class Config(MixerConfig):
        """window: w; part: both attentions, or one; version: 2 for Florence-2's channel part."""

        window: Size = 7
        part: Literal["both", "window", "channel"] = "both"
        version: Literal[1, 2] = 1

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.window = WindowAttention(config) if config.part != "channel" else None
        self.channel = None if config.part == "window" else ChannelAttention(config, config.version)

    def forward(self, x_bhwc: Float[Tensor, "B H W C0"]) -> Float[Tensor, "B H W C"]:
        """Every token sees its window, and what all tokens say of the channels."""
        parts = [part(x_bhwc) for part in (self.window, self.channel) if part is not None]
        out: Tensor = parts[0] if len(parts) == 1 else parts[0] + parts[1]
        return out


@register("dual", dims=(1,), causal="no", weights=True, steps="no", cost="L", paper="arXiv:2204.03645")
class DualMixer(ChannelAttention):
    """The channel part alone, for sets."""

    class Config(MixerConfig):
        """version: 2 for Florence-2's form."""

        version: Literal[1, 2] = 1

    def __init__(self, config: Config) -> None:
        super().__init__(config, config.version)
