"""Relative attention over tokens that lie at places on two axes (Huang et al. 2018, the extension for a grid).

    out = softmax((q kᵀ + S + A + X) / sqrt(D)) v,    over j <= i
    S[i, j] = q_i · E[M - 1 - (i - j)],   A[i, j] = q_i · Ea[a_i - a_j],   X[i, j] = q_i · Ex[x_i - x_j]

Token i lies at (a_i, x_i). Places along the first axis never fall from token to token; places across it go both ways.
Where several tokens share a place along, the distance in tokens says little about the distance on either axis.
Differences beyond a table are clipped to its end. The products q Eaᵀ and q Exᵀ are made once, and each pair picks its
own from them.

Shapes: B batch, L tokens, n >= L tokens so far, C0 channels in, C channels, heads, D = C / heads. Coordinates are
(B, L, 2) integers: the place along, and the place across.
"""

from typing import Annotated, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from attn.core.attention.attend import attend
from attn.core.attention.relative import Relative
from attn.core.decoding.cache import Cache, KVCache
from attn.core.mixers.base import MixerConfig, Size
from attn.core.mixers.projections import ProjectedMixer
from attn.core.mixers.registry import register
from attn.core.mixers.relative_sequence import distance_table

Span = Annotated[int, Field(ge=0, le=65_536)]


@runtime_checkable
class LocatingCache(Cache, Protocol):
    """A cache that knows where its tokens lie."""

    def locate(self, coordinates_bl2: Int[Tensor, "B L 2"]) -> Int[Tensor, "B n 2"]:
        """Note where the L tokens lie that were appended last; returns the places of all tokens so far."""


class PlacesCache(KVCache):
    """Keys and values with the coordinates of their tokens."""

    def __init__(
        self,
        batch: int,
        heads: int,
        capacity: int,
        dim: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(batch, heads, capacity, dim, device=device, dtype=dtype)
        self._coordinates_bn2 = torch.empty(batch, capacity, 2, device=device, dtype=torch.long)

    def locate(self, coordinates_bl2: Int[Tensor, "B L 2"]) -> Int[Tensor, "B n 2"]:
        """Copies the L places; what comes back is a view."""
        self._coordinates_bn2[:, self.length - coordinates_bl2.shape[1] : self.length] = coordinates_bl2
        return self._coordinates_bn2[:, : self.length]


@register(
    "relative_places", dims=(1,), causal="always", weights=True, steps="equal", cost="L^2", paper="arXiv:1809.04281"
)
class RelativePlacesMixer(ProjectedMixer):
    """Causal self-attention that knows distances in tokens and on two axes."""

    causal = True
    coordinates = 2

    class Config(MixerConfig):
        """What the mechanism needs.

        size: (L,) it is made for; max_distance: rows of the table of tokens, half of L if None; max_along: the largest
        difference back along the first axis; max_across: the largest difference across it, either way.
        """

        size: tuple[int]
        max_distance: Size | None = None
        max_along: Span = 128
        max_across: Span = 64

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.table = distance_table(config.heads, config.max_distance or max(config.size[0] // 2, 1), self.head_dim)
        # At first it is relative attention: three tables of noise would hide what the distances say.
        self.across_table = nn.Parameter(torch.zeros(config.heads, 2 * config.max_across + 1, self.head_dim))
        self.along_table = nn.Parameter(torch.zeros(config.heads, config.max_along + 1, self.head_dim))

    def start(
        self, batch: int, length: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> PlacesCache:
        """An empty cache for `length` tokens."""
        return PlacesCache(batch, self.heads, length, self.head_dim, device=device, dtype=dtype)

    def forward(
        self,
        x_blc: Float[Tensor, "B L C0"],
        past: LocatingCache | None = None,
        *,
        coordinates: Int[Tensor, "B L 2"] | None = None,
    ) -> Float[Tensor, "B L C"]:
        """Mix all tokens, or with `past` the next L, and where they lie. Raises AttnError when the cache is full.

        Without coordinates a token's place along is its number, and its place across is 0.
        """
        if coordinates is None:
            coordinates = _counting(x_blc, 0 if past is None else past.length)
        q_bhld, *new = self.project(x_blc, past)
        k_bhnd, v_bhnd, _ = self.extend(past, *new).neighbours()
        if past is not None:
            coordinates = past.locate(coordinates)
        bias = self._products(q_bhld, coordinates) * self.head_dim**-0.5
        return self.merge(
            attend(q_bhld, k_bhnd, v_bhnd, bias=bias, relative=Relative(self.table), causal=True, site=self)
        )

    def _products(self, q_bhld: Tensor, coordinates_bn2: Tensor) -> Tensor:
        """A + X for the newest tokens, (B, heads, L, n)."""
        across, queries = self.config.max_across, q_bhld.shape[2]
        along_bln, across_bln = (place[:, -queries:, None] - place[:, None] for place in coordinates_bn2.unbind(-1))
        return _pick(q_bhld, self.along_table, along_bln.clamp(0, self.config.max_along)) + _pick(
            q_bhld, self.across_table, across_bln.clamp(-across, across) + across
        )


def _pick(q_bhld: Tensor, table_hrd: Tensor, rows_bln: Tensor) -> Tensor:
    """q_i · table[rows_ij], (B, H, L, n)."""
    products_bhlr = q_bhld @ table_hrd.transpose(-1, -2).to(q_bhld.dtype)
    return products_bhlr.gather(-1, rows_bln[:, None].expand(-1, q_bhld.shape[1], -1, -1))


def _counting(x_blc: Tensor, first: int) -> Tensor:
    batch, length = x_blc.shape[:2]
    along_l = torch.arange(first, first + length, device=x_blc.device)
    return torch.stack([along_l, torch.zeros_like(along_l)], -1).expand(batch, -1, -1)
