"""Relative local attention over a sequence (Music Transformer, Huang et al. 2018).

    out = softmax((q kᵀ + S) / sqrt(D)) v,    S[i, j] = q_i · E[2N - 1 - (i - j)],    over the j <= i in reach

The sequence is cut into blocks of N tokens, and a token sees the past of its own block and the whole block before.
The largest distance is 2N - 1, so that each head's table has 2N vectors (the paper's code stores 4N).

Decoding forgets what no later token can see: its memory is constant, however long the sequence.

Shapes: B batch, L tokens, C0 channels in, C channels, heads, D = C / heads.
"""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from attn.core.attention.attend import attend
from attn.core.attention.relative import Relative
from attn.core.decoding.cache import Cache, Reach, RingCache
from attn.core.mixers.base import MixerConfig, OneToken, Size
from attn.core.mixers.projections import ProjectedMixer
from attn.core.mixers.registry import register
from attn.core.mixers.relative_sequence import distance_table


@runtime_checkable
class BlockwiseCache(Cache, Protocol):
    """A cache that does not take in tokens of two blocks at once."""

    @property
    def room(self) -> int:
        """Tokens up to the end of the block: the one after them pushes out keys that they see."""


class BlockCache(RingCache):
    """Keys and values of two blocks; a token gets the keys in its reach."""

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

    def reach(self, position: int) -> int:
        """The past of the token's own block, and the block before."""
        return Reach(self.block)(position)


@register(
    "relative_local", dims=(1,), causal="always", weights=True, steps="equal", cost="L N", paper="arXiv:1809.04281"
)
class RelativeLocalMixer(ProjectedMixer):
    """Causal self-attention within a block and the one before, with learned relative positions."""

    causal = True
    endless = True

    class Config(MixerConfig):
        """block: N."""

        block: Size = 512

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.reach = Reach(config.block)
        self.table = distance_table(config.heads, 2 * config.block, self.head_dim)

    @property
    def one_token(self) -> OneToken:
        """A step adds the rows of the table; the cache gives back only what is in reach."""
        return OneToken(self.qkv, self.out, self.heads, Relative(self.table))

    def start(
        self, batch: int, length: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> BlockCache:
        """An empty cache of two blocks, for any number of tokens."""
        return BlockCache(batch, self.heads, self.config.block, self.head_dim, device=device, dtype=dtype)

    def forward(self, x_blc: Float[Tensor, "B L C0"], past: BlockwiseCache | None = None) -> Float[Tensor, "B L C"]:
        """Mix all tokens, or with `past` the next L, block by block."""
        q_bhld, k_bhld, v_bhld = self.project(x_blc, past)
        if past is None:
            relative = Relative(self.table, block=self.config.block)
            return self.merge(attend(q_bhld, k_bhld, v_bhld, relative=relative, causal=True, site=self))
        parts, first = [], 0
        while first < x_blc.shape[1]:
            new = slice(first, min(first + past.room, x_blc.shape[1]))
            parts.append(self._step(q_bhld[:, :, new], k_bhld[:, :, new], v_bhld[:, :, new], past))
            first = new.stop
        return self.merge(torch.cat(parts, 2))

    def _step(self, q_bhld: Tensor, k_bhld: Tensor, v_bhld: Tensor, past: BlockwiseCache) -> Tensor:
        seen = self.extend(past, k_bhld, v_bhld).neighbours()
        return attend(
            q_bhld,
            seen.k_bhnd,
            seen.v_bhnd,
            relative=Relative(self.table),
            causal=True,
            site=self,
            geometry=seen.geometry(q_bhld.shape[2]),
        )
