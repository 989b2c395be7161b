"""Relative global attention over a sequence (Music Transformer, Huang et al. 2018).

    out = softmax((q kᵀ + S) / sqrt(D)) v,    S[i, j] = q_i · E[M - 1 - (i - j)],    over j <= i

Every head has its own table E of M vectors, the last row for distance 0. The paper's code adds nothing beyond the
table; with `clip` its farthest row is used there, as in Shaw et al. 2018. Memory: see `attn.core.attention.relative`.

Shapes: B batch, L tokens, C0 channels in, C channels, heads, D = C / heads, M rows of the table.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attn.core.attention.attend import attend
from attn.core.attention.relative import Relative
from attn.core.decoding.cache import Cache
from attn.core.mixers.base import MixerConfig, OneToken, Size
from attn.core.mixers.projections import ProjectedMixer
from attn.core.mixers.registry import register


@register("relative", dims=(1,), causal="always", weights=True, steps="equal", cost="L^2", paper="arXiv:1809.04281")
class RelativeMixer(ProjectedMixer):
    """Causal self-attention with learned relative positions."""

    causal = True

    class Config(MixerConfig):
        """What the mechanism needs.

        size: (L,) it is made for; max_distance: M, half of L if None; clip: beyond M as at M - 1, else without a
        relative term.
        """

        size: tuple[int]
        max_distance: Size | None = None
        clip: bool = False

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.table = distance_table(config.heads, config.max_distance or max(config.size[0] // 2, 1), self.head_dim)

    @property
    def relative(self) -> Relative:
        """The table, and whether it is used beyond its end."""
        return Relative(self.table, self.config.clip)

    @property
    def one_token(self) -> OneToken:
        """A step adds the rows of the table."""
        return OneToken(self.qkv, self.out, self.heads, self.relative)

    def forward(self, x_blc: Float[Tensor, "B L C0"], past: Cache | None = None) -> Float[Tensor, "B L C"]:
        """Mix all tokens, or with `past` the next L. Raises AttnError when the cache is full."""
        q_bhld, *new = self.project(x_blc, past)
        k_bhnd, v_bhnd, _ = seen = self.extend(past, *new).neighbours()
        geometry = seen.geometry(x_blc.shape[1])
        y_bhld = attend(q_bhld, k_bhnd, v_bhnd, relative=self.relative, causal=True, site=self, geometry=geometry)
        return self.merge(y_bhld)


def distance_table(heads: int, rows: int, dim: int) -> nn.Parameter:
    """A vector for each head and distance, at first about as long as a query of unit entries is wide."""
    table = nn.Parameter(torch.empty(heads, rows, dim))
    nn.init.normal_(table, std=dim**-0.5)
    return table
