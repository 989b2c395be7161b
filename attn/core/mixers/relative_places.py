"""Relative attention over notes on a grid, with relative pitch and time (Huang et al. 2018).

    out = softmax((q kᵀ + S + P + T) / sqrt(D)) v,    over j <= i
    S[i, j] = q_i · E[M - 1 - (i - j)],   P[i, j] = q_i · Ep[pitch_i - pitch_j],   T[i, j] = q_i · Et[time_i - time_j]

The Music Transformer's extension for chorales: voices follow one another in the sequence, so that the distance in
tokens says little about the interval between two notes or the time between them. Differences beyond a table are
clipped to its end. The products q Epᵀ and q Etᵀ are made once, and each pair picks its own from them.

Shapes: B batch, L tokens, n >= L tokens so far, C channels, heads, D = C / heads. The rows of `qkv` are q, k, v,
each head by head. Coordinates are (B, L, 2) integers: time in steps of the grid, pitch in semitones.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from attn.core.attention.attend import attend, merge_heads, split_heads
from attn.core.attention.relative import Relative
from attn.core.decoding.cache import Cache, KVCache
from attn.core.errors import UsageError
from attn.core.mixers.registry import Mixer, register, require_heads


@runtime_checkable
class LocatingCache(Cache, Protocol):
    """A cache that knows where its tokens lie."""

    def locate(self, coordinates_bl2: Int[Tensor, "B L 2"]) -> Int[Tensor, "B n 2"]:
        """Note where the L tokens lie that were appended last; returns where all so far do."""


class GridCache(KVCache):
    """Keys and values with the coordinates of their tokens."""

    def __init__(
        self,
        batch: int,
        heads: int,
        length: int,
        dim: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(batch, heads, length, dim, device=device, dtype=dtype)
        self._coordinates_bn2 = torch.empty(batch, length, 2, device=device, dtype=torch.long)

    def locate(self, coordinates_bl2: Int[Tensor, "B L 2"]) -> Int[Tensor, "B n 2"]:
        """Copies the L places; what comes back is a view."""
        self._coordinates_bn2[:, self.length - coordinates_bl2.shape[1] : self.length] = coordinates_bl2
        return self._coordinates_bn2[:, : self.length]


@register("relative_pitch_time", dims=(1,), causal=True, weights=True, steps=True, cost="L^2", paper="arXiv:1809.04281")
class RelativePitchTimeMixer(Mixer):
    """Causal self-attention that knows distances in tokens, in pitch and in time."""

    coordinates = 2

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """What the mechanism needs.

        channels: C; heads: must divide C; size: (L,) it is made for; max_distance: rows of the table of tokens, half
        of L if None; max_pitch: semitones up and down; max_time: steps back; channels_in: C unless given.
        """

        channels: int
        heads: int
        size: tuple[int]
        max_distance: int | None = None
        max_pitch: int = 64
        max_time: int = 128
        channels_in: int | None = None

        def __post_init__(self) -> None:
            if self.max_distance is not None and self.max_distance < 1:
                raise UsageError(f"max_distance {self.max_distance} must be at least 1", hint="1 is distance 0 only")
            if self.max_pitch < 0 or self.max_time < 0:
                raise UsageError(f"max_pitch {self.max_pitch} and max_time {self.max_time} must be at least 0")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        require_heads(config.channels, config.heads)
        head_dim = config.channels // config.heads
        rows = config.max_distance or max(config.size[0] // 2, 1)
        self.qkv = nn.Linear(config.channels_in or config.channels, 3 * config.channels)
        self.out = nn.Linear(config.channels, config.channels)
        self.table = nn.Parameter(torch.empty(config.heads, rows, head_dim))
        self.pitch_table = nn.Parameter(torch.empty(config.heads, 2 * config.max_pitch + 1, head_dim))
        self.time_table = nn.Parameter(torch.empty(config.heads, config.max_time + 1, head_dim))
        nn.init.normal_(self.table, std=head_dim**-0.5)
        # At first it is relative attention: three tables of noise would hide what the distances say.
        nn.init.zeros_(self.pitch_table)
        nn.init.zeros_(self.time_table)

    def forward(
        self, x_blc: Float[Tensor, "B L C0"], coordinates: Int[Tensor, "B L 2"] | None = None
    ) -> Float[Tensor, "B L C"]:
        """(B, L, channels_in) to (B, L, C); without coordinates the time is the token's number and the pitch 0."""
        if coordinates is None:
            coordinates = _counting(x_blc, 0)
        q_bhld, k_bhld, v_bhld = (split_heads(x, self.config.heads) for x in self.qkv(x_blc).chunk(3, -1))
        return self._mix(q_bhld, k_bhld, v_bhld, coordinates)

    def start(
        self, batch: int, length: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> GridCache:
        """An empty cache for `length` tokens."""
        heads = self.config.heads
        return GridCache(batch, heads, length, self.config.channels // heads, device=device, dtype=dtype)

    def step(
        self, x_blc: Float[Tensor, "B L C0"], cache: LocatingCache, coordinates: Int[Tensor, "B L 2"] | None = None
    ) -> Float[Tensor, "B L C"]:
        """The next L tokens and where they lie. Raises AttnError when the cache is full."""
        if coordinates is None:
            coordinates = _counting(x_blc, cache.length)
        q_bhld, k_bhld, v_bhld = (split_heads(x, self.config.heads) for x in self.qkv(x_blc).chunk(3, -1))
        k_bhnd, v_bhnd = cache.append(k_bhld, v_bhld)
        return self._mix(q_bhld, k_bhnd, v_bhnd, cache.locate(coordinates))

    def _mix(self, q_bhld: Tensor, k_bhnd: Tensor, v_bhnd: Tensor, coordinates_bn2: Tensor) -> Tensor:
        time_bn, pitch_bn = coordinates_bn2.unbind(-1)
        queries = q_bhld.shape[2]
        time_bln = (time_bn[:, -queries:, None] - time_bn[:, None]).clamp(0, self.config.max_time)
        pitch_bln = (pitch_bn[:, -queries:, None] - pitch_bn[:, None]).clamp(
            -self.config.max_pitch, self.config.max_pitch
        )
        y_bhld = attend(
            q_bhld,
            k_bhnd,
            v_bhnd,
            bias=q_bhld.shape[-1] ** -0.5
            * (
                _pick(q_bhld, self.time_table, time_bln)
                + _pick(q_bhld, self.pitch_table, pitch_bln + self.config.max_pitch)
            ),
            relative=Relative(self.table),
            causal=True,
            site=self,
        )
        out: Tensor = self.out(merge_heads(y_bhld))
        return out


def _pick(q_bhld: Tensor, table_hrd: Tensor, rows_bln: Tensor) -> Tensor:
    """q_i · table[rows_ij], (B, H, L, n)."""
    products_bhlr = q_bhld @ table_hrd.transpose(-1, -2).to(q_bhld.dtype)
    return products_bhlr.gather(-1, rows_bln[:, None].expand(-1, q_bhld.shape[1], -1, -1))


def _counting(x_blc: Tensor, first: int) -> Tensor:
    batch, length = x_blc.shape[:2]
    time_l = torch.arange(first, first + length, device=x_blc.device)
    return torch.stack([time_l, torch.zeros_like(time_l)], -1).expand(batch, -1, -1)
