"""Relative global attention over a sequence (Music Transformer, Huang et al. 2018).

    out = softmax((q kᵀ + S) / sqrt(D)) v,    S[i, j] = q_i · E[M - 1 - (i - j)],    over j <= i

Every head has its own table E of M vectors, the last row for distance 0. The paper's code adds nothing beyond the
table; with `clip` its farthest row goes on instead, as in Shaw et al. 2018. Memory: see `attn.core.relative`.

Shapes: B batch, L tokens, C channels, heads, D = C / heads, M rows of the table. The rows of `qkv` are q, k, v,
each head by head.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attn.core.attention.attend import attend, merge_heads, split_heads
from attn.core.attention.relative import Relative
from attn.core.decoding.cache import Cache, KVCache
from attn.core.errors import UsageError
from attn.core.mixers.registry import Mixer, register, require_heads


@register("relative", dims=(1,), causal=True, weights=True, steps=True, cost="L^2", paper="arXiv:1809.04281")
class RelativeMixer(Mixer):
    """Causal self-attention with learned relative positions."""

    steps_by_row = True

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """What the mechanism needs.

        channels: C; heads: must divide C; size: (L,) it is made for; max_distance: M, half of L if None;
        clip: beyond M as at M - 1, else without a relative term; channels_in: C unless given.
        """

        channels: int
        heads: int
        size: tuple[int]
        max_distance: int | None = None
        clip: bool = False
        channels_in: int | None = None

        def __post_init__(self) -> None:
            if self.max_distance is not None and self.max_distance < 1:
                raise UsageError(f"max_distance {self.max_distance} must be at least 1", hint="1 is distance 0 only")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        require_heads(config.channels, config.heads)
        head_dim = config.channels // config.heads
        rows = config.max_distance or max(config.size[0] // 2, 1)
        self.qkv = nn.Linear(config.channels_in or config.channels, 3 * config.channels)
        self.out = nn.Linear(config.channels, config.channels)
        self.table = nn.Parameter(torch.empty(config.heads, rows, head_dim))
        nn.init.normal_(self.table, std=head_dim**-0.5)

    @property
    def row_relative(self) -> Relative:
        """The table, and whether it goes on."""
        return Relative(self.table, self.config.clip)

    def forward(self, x_blc: Float[Tensor, "B L C0"]) -> Float[Tensor, "B L C"]:
        """(B, L, channels_in) to (B, L, C)."""
        return self._mix(x_blc, None)

    def start(
        self, batch: int, length: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> KVCache:
        """An empty cache for `length` tokens."""
        heads = self.config.heads
        return KVCache(batch, heads, length, self.config.channels // heads, device=device, dtype=dtype)

    def step(self, x_blc: Float[Tensor, "B L C0"], cache: Cache) -> Float[Tensor, "B L C"]:
        """The next L tokens. Raises AttnError when the cache is full."""
        return self._mix(x_blc, cache)

    def _mix(self, x_blc: Tensor, cache: Cache | None) -> Tensor:
        q_bhld, k_bhnd, v_bhnd = (split_heads(x, self.config.heads) for x in self.qkv(x_blc).chunk(3, -1))
        if cache is not None:
            k_bhnd, v_bhnd = cache.append(k_bhnd, v_bhnd)
        y_bhld = attend(q_bhld, k_bhnd, v_bhnd, relative=self.row_relative, causal=True, site=self)
        out: Tensor = self.out(merge_heads(y_bhld))
        return out
