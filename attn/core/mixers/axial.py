"""Axial attention: along one axis at a time (Axial Transformers, Ho et al. 2019, arXiv:1912.12180, section 3).

On a map every token attends along its row, and then along its column, so that it sees the whole map for H + W products
instead of H·W:

    y = rows(x);   out = y + columns(y)

Causal, over a sequence that is a grid in raster order (`width` tokens a row, as the steps of a bar), after section 3.2:

    h = rows(x)                       whole rows see themselves
    u = columns(h), a row later       a token gets what its column and those above say of the rows before its own
    out = own(x + u)                  a token sees its own row, up to itself

so that every token sees all before it. The paper shifts each row by a token too, to predict a token from those before
it; here, as in other causal mixers, a token sees itself. A step of decoding attends in its own row, and once for each
row a step reads the row that ended ("semi-parallel"). Positions are the model's.

Shapes: B batch, L tokens or H x W map, R rows of W tokens, C0 channels in, C channels, heads, D = C / heads.
"""

from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from attn.core.attention.attend import attend
from attn.core.attention.watch import Geometry
from attn.core.decoding.cache import KVCache
from attn.core.errors import AttnError
from attn.core.mixers.base import Mixer, MixerConfig, Size
from attn.core.mixers.projections import ProjectedMixer
from attn.core.mixers.registry import register


class Lines(ProjectedMixer):
    """Attention within each of G lines of tokens."""

    def __init__(self, config: MixerConfig, causal: bool = False) -> None:
        super().__init__(config)
        self.causal = causal

    def forward(self, x_bglc: Float[Tensor, "B G L C0"], tokens_gl: Int[Tensor, "G L"]) -> Float[Tensor, "B G L C"]:
        """Every token sees its line, up to itself if `causal`; `tokens_gl` are their numbers, -1 for padding."""
        q, k, v = self.project(x_bglc)
        geometry = Geometry(tokens_gl, tokens_gl)
        return self.merge(attend(q, k, v, causal=self.causal, site=self, geometry=geometry))


@register("axial", dims=(2,), causal="no", weights=True, steps="no", cost="L^1.5", paper="arXiv:1912.12180")
class AxialMixer2d(Mixer):
    """Attention along rows, then along columns."""

    class Config(MixerConfig):
        """along: both, or one of the two, for layers that alternate."""

        along: Literal["both", "rows", "columns"] = "both"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.rows = None if config.along == "columns" else Lines(config)
        second = config if self.rows is None else config.model_copy(update={"channels_in": None})
        self.columns = None if config.along == "rows" else Lines(second)

    def forward(self, x_bhwc: Float[Tensor, "B H W C0"]) -> Float[Tensor, "B H W C"]:
        """Every token sees its row, and what its column has seen."""
        tokens_hw = torch.arange(x_bhwc.shape[1] * x_bhwc.shape[2], device=x_bhwc.device).view(x_bhwc.shape[1:3])
        y_bhwc = x_bhwc if self.rows is None else self.rows(x_bhwc, tokens_hw)
        if self.columns is None:
            return y_bhwc
        out_bhwc: Tensor = self.columns(y_bhwc.transpose(1, 2), tokens_hw.T).transpose(1, 2)
        return out_bhwc if self.rows is None else y_bhwc + out_bhwc


class AxialCache:
    """The row that is being read, what the rows before say to it, and keys and values of rows and columns."""

    endless = False

    def __init__(self, mixer: "AxialMixer", batch: int, length: int, **kind: Any) -> None:
        heads, dim, self.width = mixer.config.heads, mixer.own.head_dim, mixer.config.width
        self.length, self.capacity = 0, length
        self.row: list[Tensor] = []  # tokens (B, l, C0) of the row that is being read
        self.above: Tensor | None = None  # (B, W, C0); None for the first row
        self.own = KVCache(batch, heads, self.width, dim, **kind)
        self.columns = KVCache(batch * self.width, heads, max(length // self.width, 1), dim, **kind)


@register("axial", dims=(1,), causal="always", weights=True, steps="equal", cost="L^2 / w", paper="arXiv:1912.12180")
class AxialMixer(Mixer):
    """Causal attention over a grid in raster order."""

    causal = True

    class Config(MixerConfig):
        """width: tokens of a row, w; at w = √L a pass costs L^1.5."""

        width: Size = 16

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        inside = config.model_copy(update={"channels_in": None})
        self.rows = Lines(config)
        self.columns = Lines(inside, causal=True)
        self.columns.out = nn.Linear(config.channels, config.channels_in or config.channels)  # it is added to tokens
        self.own = Lines(config, causal=True)

    def start(
        self, batch: int, length: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> AxialCache:
        """An empty cache for `length` tokens."""
        return AxialCache(self, batch, length, device=device, dtype=dtype)

    def forward(self, x_blc: Float[Tensor, "B L C0"], past: AxialCache | None = None) -> Float[Tensor, "B L C"]:
        """Mix all tokens, or with `past` the next L. Raises AttnError when the cache is full."""
        if past is not None:
            return self._steps(x_blc, past)
        batch, length, channels = x_blc.shape
        width = self.config.width
        rows = -(-length // width)
        x_brwc = F.pad(x_blc, (0, 0, 0, rows * width - length)).view(batch, rows, width, channels)
        tokens_rw = torch.arange(rows * width, device=x_blc.device).view(rows, width)
        if rows > 1:  # all rows but the last are whole
            h_brwc = self.rows(x_brwc[:, :-1], tokens_rw[:-1])
            u_brwc = self.columns(h_brwc.transpose(1, 2), tokens_rw[:-1].T).transpose(1, 2)
            x_brwc = x_brwc + F.pad(u_brwc, (0, 0, 0, 0, 1, 0))
        out: Tensor = self.own(x_brwc, tokens_rw.where(tokens_rw < length, -1)).flatten(1, 2)
        return out[:, :length]

    def _steps(self, x_blc: Tensor, past: AxialCache) -> Tensor:
        """Piece by piece, up to the end of each row."""
        if past.length + x_blc.shape[1] > past.capacity:
            needed = past.length + x_blc.shape[1]
            raise AttnError(
                f"the cache has room for {past.capacity} tokens, not for {needed}", hint="start a longer one"
            )
        parts, first = [], 0
        while first < x_blc.shape[1]:
            place = past.length % past.width
            if place == 0 and past.length:
                self._end_row(past)
            piece = x_blc[:, first : first + past.width - place]
            past.row.append(piece)
            end = place + piece.shape[1]
            seen = piece if past.above is None else piece + past.above[:, place:end]
            q, k, v = self.own.project(seen)
            k, v, _ = past.own.append(k, v)
            tokens_n = torch.arange(past.length - place, past.length - place + end, device=x_blc.device)
            geometry = Geometry(tokens_n[place:], tokens_n)
            parts.append(self.own.merge(attend(q, k, v, causal=True, site=self.own, geometry=geometry)))
            past.length += piece.shape[1]
            first += piece.shape[1]
        return torch.cat(parts, 1)

    def _end_row(self, past: AxialCache) -> None:
        """Read the row that ended; the next row gets what it and the rows before say."""
        x_b1wc = torch.cat(past.row, 1)[:, None]
        row, width = past.length // past.width, past.width
        tokens_rw = torch.arange(row * width, device=x_b1wc.device).view(row, width)
        h_b1wc = self.rows(x_b1wc, tokens_rw[-1:])
        parts = (part.transpose(1, 2).flatten(0, 1) for part in self.columns.project(h_b1wc.transpose(1, 2)))
        q, *new = parts  # (B·W, heads, 1, D)
        k, v, _ = past.columns.append(*new)
        q, k, v = (part.view(-1, width, *part.shape[1:]).transpose(1, 2) for part in (q, k, v))
        geometry = Geometry(tokens_rw[-1:].T, tokens_rw.T)
        u_bw1c = self.columns.merge(attend(q, k, v, causal=True, site=self.columns, geometry=geometry))
        past.row, past.above, past.own.length = [], u_bw1c[:, :, 0], 0
