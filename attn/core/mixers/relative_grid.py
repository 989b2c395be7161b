"""Self-attention with a learned bias per head and offset on the grid (CoAtNet, Dai et al. 2021, section 2.1).

    out = softmax(q kᵀ / sqrt(D) + table[h, y_i - y_j, x_i - x_j]) v

The attention of Astroformer's last stage. At the size it was made for the table is used as it is; at another
size it is resized (`attn.core.attention.grid_bias.resize_table`).

Shapes: B batch, H x W grid, L = H·W tokens, C channels, heads, D = C / heads. The rows of `qkv` are q, k, v,
each head by head; timm's CoAtNet has q, k, v within each head instead.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attn.core.attention.attend import attend, merge_heads, split_heads
from attn.core.attention.grid_bias import grid_bias
from attn.core.mixers.registry import Mixer, register, require_heads


@register("relative", dims=(2,), causal=False, weights=True, steps=False, cost="L^2", paper="arXiv:2106.04803")
class RelativeMixer2d(Mixer):
    """Self-attention over all tokens of a grid, with a relative position bias."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """channels: C; heads: must divide C; size: (H, W) of the table; channels_in: C unless given."""

        channels: int
        heads: int
        size: tuple[int, int]
        channels_in: int | None = None

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        require_heads(config.channels, config.heads)
        height, width = config.size
        self.qkv = nn.Linear(config.channels_in or config.channels, 3 * config.channels)
        self.out = nn.Linear(config.channels, config.channels)
        self.table = nn.Parameter(torch.empty(config.heads, 2 * height - 1, 2 * width - 1))
        nn.init.trunc_normal_(self.table, std=0.02)

    def forward(self, x_bhwc: Float[Tensor, "B H W C0"]) -> Float[Tensor, "B H W C"]:
        """(B, H, W, channels_in) to (B, H, W, C)."""
        size = x_bhwc.shape[1], x_bhwc.shape[2]
        q_bhld, k_bhld, v_bhld = (
            split_heads(x, self.config.heads) for x in self.qkv(x_bhwc.flatten(1, 2)).chunk(3, -1)
        )
        y_bhld = attend(q_bhld, k_bhld, v_bhld, bias=grid_bias(self.table, size), site=self)
        out: Tensor = self.out(merge_heads(y_bhld))
        return out.reshape(*x_bhwc.shape[:-1], -1)
