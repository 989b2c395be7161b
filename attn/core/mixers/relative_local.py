"""Relative local attention over a sequence (Music Transformer, Huang et al. 2018).

    out = softmax((q kᵀ + S) / sqrt(D)) v,    S[i, j] = q_i · E[2N - 1 - (i - j)],    over the j <= i in reach

The sequence is cut into blocks of N tokens, and a token sees the past of its own block and the whole block before.
The largest distance is 2N - 1, so that each head's table has 2N vectors (the paper's code stores 4N).

Decoding forgets what no later token can see: its memory is constant, however long the sequence.

Shapes: B batch, L tokens, C channels, heads, D = C / heads. The rows of `qkv` are q, k, v, each head by head.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attn.core.attention.attend import attend, merge_heads, split_heads
from attn.core.attention.relative import Relative
from attn.core.attention.watch import Geometry
from attn.core.decoding.cache import Cache, RingCache
from attn.core.errors import UsageError
from attn.core.mixers.registry import Mixer, register, require_heads


@runtime_checkable
class BlockwiseCache(Cache, Protocol):
    """A cache that takes in no token of the next block together with those of this one."""

    @property
    def room(self) -> int:
        """Tokens up to the end of the block: the one after them pushes out keys that they see."""


class BlockCache(RingCache):
    """Keys and values of two blocks, of which a token gets those it sees."""

    def __init__(
        self,
        batch: int,
        heads: int,
        block: int,
        dim: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(batch, heads, 2 * block, dim, device=device, dtype=dtype)
        self.block = block

    @property
    def room(self) -> int:
        """Tokens up to the end of the block."""
        return self.block - self.length % self.block

    def append(
        self, k_bhld: Float[Tensor, "B heads L D"], v_bhld: Float[Tensor, "B heads L D"]
    ) -> tuple[Float[Tensor, "B heads n D"], Float[Tensor, "B heads n D"]]:
        """Take in L <= `room` tokens; returns views of the past of their block, and of the block before."""
        k_bhnd, v_bhnd = super().append(k_bhld, v_bhld)
        seen = min(self.length, self.block + (self.length - 1) % self.block + 1)
        return k_bhnd[:, :, -seen:], v_bhnd[:, :, -seen:]


@register("relative_local", dims=(1,), causal=True, weights=True, steps=True, cost="L N", paper="arXiv:1809.04281")
class RelativeLocalMixer(Mixer):
    """Causal self-attention within a block and the one before, with learned relative positions."""

    steps_by_row = True

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """channels: C; heads: must divide C; block: N; channels_in: C unless given."""

        channels: int
        heads: int
        block: int = 512
        channels_in: int | None = None

        def __post_init__(self) -> None:
            if self.block < 1:
                raise UsageError(f"block {self.block} must be at least 1")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        require_heads(config.channels, config.heads)
        head_dim = config.channels // config.heads
        self.qkv = nn.Linear(config.channels_in or config.channels, 3 * config.channels)
        self.out = nn.Linear(config.channels, config.channels)
        self.table = nn.Parameter(torch.empty(config.heads, 2 * config.block, head_dim))
        nn.init.normal_(self.table, std=head_dim**-0.5)

    @property
    def row_relative(self) -> Relative:
        """The table; the cache gives back only what is in reach."""
        return Relative(self.table)

    def forward(self, x_blc: Float[Tensor, "B L C0"]) -> Float[Tensor, "B L C"]:
        """(B, L, channels_in) to (B, L, C)."""
        q_bhld, k_bhld, v_bhld = (split_heads(x, self.config.heads) for x in self.qkv(x_blc).chunk(3, -1))
        relative = Relative(self.table, block=self.config.block)
        y_bhld = attend(q_bhld, k_bhld, v_bhld, relative=relative, causal=True, site=self)
        out: Tensor = self.out(merge_heads(y_bhld))
        return out

    def start(
        self, batch: int, length: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> BlockCache:
        """An empty cache of two blocks, for any number of tokens."""
        heads = self.config.heads
        return BlockCache(batch, heads, self.config.block, self.config.channels // heads, device=device, dtype=dtype)

    def step(self, x_blc: Float[Tensor, "B L C0"], cache: BlockwiseCache) -> Float[Tensor, "B L C"]:
        """The next L tokens, however many."""
        q_bhld, k_bhld, v_bhld = (split_heads(x, self.config.heads) for x in self.qkv(x_blc).chunk(3, -1))
        parts, first = [], 0
        while first < x_blc.shape[1]:
            last = min(first + cache.room, x_blc.shape[1])
            k_bhnd, v_bhnd = cache.append(k_bhld[:, :, first:last], v_bhld[:, :, first:last])
            tokens = torch.arange(cache.length - k_bhnd.shape[2], cache.length, device=x_blc.device)
            part = attend(
                q_bhld[:, :, first:last],
                k_bhnd,
                v_bhnd,
                relative=self.row_relative,
                causal=True,
                site=self,
                geometry=Geometry(tokens[first - last :], tokens),
            )
            parts.append(part)
            first = last
        out: Tensor = self.out(merge_heads(torch.cat(parts, 2)))
        return out
