"""Self-attention with a learned bias per head and offset on the grid (CoAtNet, Dai et al. 2021, section 2.1).

    out = softmax(q kᵀ / sqrt(D) + table[h, y_i - y_j, x_i - x_j]) v

The attention of Astroformer's last stage. At the size it was made for the table is used as it is; at another
size it is resized (`attn.core.attention.grid_bias.resize_table`).

Shapes: B batch, H x W grid, L = H·W tokens, C0 channels in, C channels, heads, D = C / heads. The rows of `qkv` are q,
k, v, each head by head; timm's CoAtNet has q, k, v within each head instead.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attn.core.attention.attend import attend
from attn.core.attention.grid_bias import grid_bias
from attn.core.mixers.base import MixerConfig
from attn.core.mixers.projections import ProjectedMixer
from attn.core.mixers.registry import register


@register("relative", dims=(2,), causal="no", weights=True, steps="no", cost="L^2", paper="arXiv:2106.04803")
class RelativeMixer2d(ProjectedMixer):
    """Self-attention over all tokens of a grid, with a relative position bias."""

    class Config(MixerConfig):
        """size: (H, W) of the table."""

        size: tuple[int, int]

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        height, width = config.size
        self.table = nn.Parameter(torch.empty(config.heads, 2 * height - 1, 2 * width - 1))
        nn.init.trunc_normal_(self.table, std=0.02)

    def forward(self, x_bhwc: Float[Tensor, "B H W C0"]) -> Float[Tensor, "B H W C"]:
        """Every token sees every token."""
        bias = grid_bias(self.table, (x_bhwc.shape[1], x_bhwc.shape[2]))
        q_bhld, k_bhld, v_bhld = self.project(x_bhwc.flatten(1, 2))
        return self.merge(attend(q_bhld, k_bhld, v_bhld, bias=bias, site=self)).reshape(*x_bhwc.shape[:-1], -1)
