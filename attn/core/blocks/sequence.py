"""Transformer blocks over sequences: decoders, encoders, and decoders that look at an encoder's memory.

Pre-norm residual branches (Xiong et al. 2020, figure 1b) with any one-dimensional mixer:

    x = x + mixer(norm(x));   x = x + cross(norm(x), memory);   x = x + mlp(norm(x))

A decoding block is started once and then stepped:

    state = block.start(batch, length, memory)
    y_blc = block.step(x_blc, state)           # L new tokens; equal to the last rows of forward

Shapes: B batch, L tokens, M tokens of the memory, C channels, heads, D = C / heads.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from attn.core.attention.attend import attend, merge_heads, split_heads
from attn.core.attention.watch import is_watched
from attn.core.blocks.one_token import TokenStep
from attn.core.mixers.registry import Mixer, require_heads


@dataclass(frozen=True, slots=True)
class BlockState:
    """What a block keeps between steps: its mixer's cache, and the memory's keys, values and mask.

    token_step: the block for one token, where there is a faster way.
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
        memory_bmc: Float[Tensor, "B M C"] | None = None,
        memory_mask: Bool[Tensor, "B M"] | None = None,
        coordinates: Int[Tensor, "B L A"] | None = None,
        mask_bl: Bool[Tensor, "B L"] | None = None,
    ) -> Float[Tensor, "B L C"]:
        """Same shape as the input.

        The memory is for blocks with cross attention, the coordinates for mixers that take them; others do without.
        The mask, for the softmax mixer alone, says which tokens are no padding.
        """
        masked = {} if mask_bl is None else {"mask_bl": mask_bl}
        y_blc = self.mixer(self.norm1(x_blc), **self._for_mixer(coordinates), **masked)
        return self._rest(x_blc + self.dropout(y_blc), self._read(memory_bmc, memory_mask))

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
        weight = self.norm1.weight
        # In lower precision, and in another than the weights', sums want care that one row does not take.
        exact = weight.dtype.itemsize >= 4 and weight.dtype == (dtype or torch.get_default_dtype())
        by_token = self.mixer.steps_by_row and self.cross is None and exact
        token_step = TokenStep(self.norm1, self.mixer, self.norm2, self.mlp, cache, batch) if by_token else None
        return BlockState(cache, self._read(memory_bmc, memory_mask), token_step)

    def step(
        self,
        x_blc: Float[Tensor, "B L C"],
        state: BlockState,
        coordinates: Int[Tensor, "B L A"] | None = None,
    ) -> Float[Tensor, "B L C"]:
        """The next L tokens. Raises AttnError when the mixer's cache is full."""
        if state.token_step is not None and self._by_token(x_blc):
            return state.token_step(x_blc)
        y_blc = self.mixer.step(self.norm1(x_blc), state.cache, **self._for_mixer(coordinates))
        return self._rest(x_blc + self.dropout(y_blc), state.memory)

    def _by_token(self, x_blc: Tensor) -> bool:
        """Whether a token is all there is to do: no gradient, no other precision, nobody who looks."""
        others = torch.is_grad_enabled() or torch.is_autocast_enabled(x_blc.device.type) or is_watched(self)
        return x_blc.shape[1] == 1 and not others

    def _for_mixer(self, coordinates: Tensor | None) -> dict[str, Tensor | None]:
        return {"coordinates": coordinates} if self.mixer.coordinates else {}

    def _read(self, memory_bmc: Tensor | None, mask_bm: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None] | None:
        assert (memory_bmc is None) == (self.cross is None), "memory goes with cross attention"
        if self.cross is None or memory_bmc is None:
            return None
        return (*self.cross.read(memory_bmc), mask_bm)

    def _rest(self, x_blc: Tensor, memory: tuple[Tensor, Tensor, Tensor | None] | None) -> Tensor:
        if self.cross is not None and memory is not None:
            x_blc = x_blc + self.dropout(self.cross(self.norm_cross(x_blc), *memory))
        out: Tensor = x_blc + self.dropout(self.mlp(self.norm2(x_blc)))
        return out
