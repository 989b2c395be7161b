"""Transformer blocks over sequences: decoders, encoders, and decoders that look at an encoder's memory.

Pre-norm residual branches (Xiong et al. 2020, figure 1b) with any one-dimensional mixer:

    x = x + mixer(norm(x));   x = x + cross(norm(x), memory);   x = x + mlp(norm(x))

A decoding block is started once, and then called with its past and the next tokens:

    past = block.start(batch, length, memory)
    y_blc = block(x_blc, past)                 # L new tokens; equal to the last rows of a pass

Shapes: B batch, L tokens, G rows of the guide (B or 1), M tokens of the memory, C channels, heads, D = C / heads.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from attn.core.attention.attend import attend, merge_heads, split_heads
from attn.core.blocks.one_token import TokenStep, shortens
from attn.core.mixers.base import Mixer
from attn.core.mixers.projections import require_heads


@dataclass(frozen=True, slots=True)
class BlockState:
    """What a block keeps between steps: its mixer's cache, and the memory's keys, values and mask.

    token_step: a faster way for one token, where there is one.
    """

    cache: Any
    memory: "tuple[Tensor, Tensor, Tensor | None] | None"
    token_step: TokenStep | None = None

    @property
    def length(self) -> int:
        """Tokens so far."""
        return int(self.cache.length)


class CrossAttention(nn.Module):
    """Attention from a sequence to a memory (Vaswani et al. 2017, section 3.2.3)."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        require_heads(channels, heads)
        self.heads = heads
        self.q = nn.Linear(channels, channels)
        self.kv = nn.Linear(channels, 2 * channels)
        self.out = nn.Linear(channels, channels)

    def read(
        self, memory_bmc: Float[Tensor, "B M C"]
    ) -> tuple[Float[Tensor, "B heads M D"], Float[Tensor, "B heads M D"]]:
        """The memory's keys and values."""
        k_bhmd, v_bhmd = (split_heads(x_bmc, self.heads) for x_bmc in self.kv(memory_bmc).chunk(2, -1))
        return k_bhmd.contiguous(), v_bhmd.contiguous()  # once, and not in every step of decoding

    def forward(
        self,
        x_blc: Float[Tensor, "B L C"],
        k_bhmd: Float[Tensor, "B heads M D"],
        v_bhmd: Float[Tensor, "B heads M D"],
        mask_bm: Bool[Tensor, "B M"] | None,
    ) -> Float[Tensor, "B L C"]:
        """Look at what `read` returned; True in the mask is a token, False padding."""
        mask = None if mask_bm is None else mask_bm[:, None, None]
        y_bhld = attend(split_heads(self.q(x_blc), self.heads), k_bhmd, v_bhmd, mask=mask, site=self)
        out: Tensor = self.out(merge_heads(y_bhld))
        return out


class SequenceBlock(nn.Module):
    """One pre-norm block around a mixer, with cross attention of `cross_heads` heads if given.

    hidden: width of the MLP, with GELU; dropout: on every residual branch, in training.
    """

    def __init__(
        self, mixer: Mixer, channels: int, hidden: int, dropout: float = 0.0, cross_heads: int | None = None
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.mixer = mixer
        if cross_heads is not None:
            self.norm_cross = nn.LayerNorm(channels)
        self.cross = None if cross_heads is None else CrossAttention(channels, cross_heads)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, channels))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x_blc: Float[Tensor, "B L C"],
        past: BlockState | None = None,
        *,
        memory_bmc: Float[Tensor, "B M C"] | None = None,
        memory_mask: Bool[Tensor, "B M"] | None = None,
        coordinates: Int[Tensor, "B L A"] | None = None,
        guide_glc: Float[Tensor, "G L C"] | None = None,
        mask_bl: Bool[Tensor, "B L"] | None = None,
    ) -> Float[Tensor, "B L C"]:
        """All tokens, or with `past` the next L; same shape as the input.

        The memory is for blocks with cross attention, in a pass: a state holds what it needs of it. Coordinates and
        the guide, which is normalised here, are for mixers that take them; other mixers ignore them. The mask, for the
        softmax mixer alone, is True for tokens and False for padding. Raises AttnError when the mixer's cache is full.
        """
        if past is None:
            return self._branches(x_blc, None, self._read(memory_bmc, memory_mask), coordinates, guide_glc, mask_bl)
        if past.token_step is not None and not self.training and past.token_step.takes(x_blc):
            return past.token_step(x_blc)
        return self._branches(x_blc, past.cache, past.memory, coordinates, guide_glc, mask_bl)

    def start(
        self,
        batch: int,
        length: int,
        memory_bmc: Float[Tensor, "B M C"] | None = None,
        memory_mask: Bool[Tensor, "B M"] | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> BlockState:
        """The state before the first of up to `length` tokens; keys and values of the memory are made here.

        Raises UsageError where the mixer cannot decode step by step.
        """
        cache = self.mixer.start(batch, length, device=device, dtype=dtype)
        plain = type(self) is SequenceBlock and self.cross is None
        by_token = plain and shortens(self, dtype or torch.get_default_dtype())
        token_step = TokenStep(self, cache, batch) if by_token else None
        return BlockState(cache, self._read(memory_bmc, memory_mask), token_step)

    def _read(self, memory_bmc: Tensor | None, mask_bm: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None] | None:
        assert (memory_bmc is None) == (self.cross is None), "memory goes with cross attention"
        if self.cross is None or memory_bmc is None:
            return None
        return (*self.cross.read(memory_bmc), mask_bm)

    def _branches(
        self,
        x_blc: Tensor,
        cache: Any,
        memory: tuple[Tensor, Tensor, Tensor | None] | None,
        coordinates: Tensor | None,
        guide_glc: Tensor | None,
        mask_bl: Tensor | None,
    ) -> Tensor:
        where = {"coordinates": coordinates} if self.mixer.coordinates else {}
        where |= {"guide": self.norm1(guide_glc)} if self.mixer.guide and guide_glc is not None else {}
        where |= {} if mask_bl is None else {"mask_bl": mask_bl}
        where |= {} if cache is None else {"past": cache}
        x_blc = x_blc + self.dropout(self.mixer(self.norm1(x_blc), **where))
        if self.cross is not None and memory is not None:
            x_blc = x_blc + self.dropout(self.cross(self.norm_cross(x_blc), *memory))
        out: Tensor = x_blc + self.dropout(self.mlp(self.norm2(x_blc)))
        return out
