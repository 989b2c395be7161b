"""Blocked local attention with a halo (HaloNet, Vaswani et al. 2021, section 2).

The map is cut into blocks of b x b queries; each block sees the (b+2h) x (b+2h) window around it:

    logits = q·k / sqrt(D) + q·r_h[dy] + q·r_w[dx];   out = softmax over the window · v

with one learned vector per offset and axis, shared by the heads. Windows reach over the border of the map.
With `masked` nothing attends there. Without, border windows see zero keys and values with the position terms
alone as logits: that is timm's `HaloAttn`, whose border outputs shrink for it.

A map that is not a multiple of b is padded, and one smaller than b is a single block. An output projection
follows, as in the other mixers (timm's has no output projection).

Shapes: B batch, H x W map, C channels, heads, D = C / heads, X = B·heads, G blocks, L = b·b queries or
(b+2h)·(b+2h) keys of a block. Row b + h - 1 + d of a table belongs to offset d = key - query.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from attn.core.attention.attend import attend
from attn.core.attention.watch import Geometry
from attn.core.mixers.base import MixerConfig, Size
from attn.core.mixers.projections import ProjectedMixer
from attn.core.mixers.registry import register


@register("halo", dims=(2,), causal="no", weights=True, steps="no", cost="L (b+2h)^2", paper="arXiv:2103.12731")
class HaloMixer2d(ProjectedMixer):
    """Self-attention from blocks to the windows around them."""

    class Config(MixerConfig):
        """block: b; halo: h; masked: nothing attends beyond the border."""

        block: Size = 8
        halo: Annotated[int, Field(ge=0, le=4096)] = 3
        masked: bool = True

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        offsets = 2 * (config.block + config.halo) - 1
        self.rows = nn.Parameter(torch.empty(offsets, self.head_dim))
        self.columns = nn.Parameter(torch.empty(offsets, self.head_dim))
        nn.init.trunc_normal_(self.rows, std=self.head_dim**-0.5)
        nn.init.trunc_normal_(self.columns, std=self.head_dim**-0.5)

    def forward(self, x_bhwc: Float[Tensor, "B H W C0"]) -> Float[Tensor, "B H W C"]:
        """Every block sees its window."""
        height, width = x_bhwc.shape[1:3]
        across_y, across_x = self._axis(height), self._axis(width)
        # The heads lie beside the examples while the map is cut.
        q_xhwd, k_xhwd, v_xhwd = (part.flatten(0, 1) for part in self.project(x_bhwc))
        q_bhgld = self._apart(blocks(q_xhwd, across_y, across_x))
        k_bhgld = self._apart(_windows(k_xhwd, across_y, across_x))
        v_bhgld = self._apart(_windows(v_xhwd, across_y, across_x))

        # Token numbers plus one go through the same cuts, so that padding, which is 0, ends as -1.
        tokens_1hw1 = torch.arange(1, height * width + 1, device=x_bhwc.device).view(1, height, width, 1)
        queries_gl = blocks(tokens_1hw1, across_y, across_x)[0, ..., 0] - 1
        keys_gl = _windows(tokens_1hw1, across_y, across_x)[0, ..., 0] - 1

        y_bhgld = attend(
            q_bhgld,
            k_bhgld,
            v_bhgld,
            bias=self._position_logits(q_bhgld, across_y, across_x),
            mask=(keys_gl >= 0).unsqueeze(-2) if self.config.masked else None,
            site=self,
            geometry=Geometry(queries_gl, keys_gl),
        )
        y_xhwd = unblocks(y_bhgld.flatten(0, 1), across_y, across_x)
        return self.merge(self._apart(y_xhwd)[:, :, :height, :width])

    def _apart(self, x: Tensor) -> Tensor:
        """(B·heads, ...) to (B, heads, ...)."""
        return x.view(-1, self.heads, *x.shape[1:])

    def _axis(self, size: int) -> "Axis":
        block = min(self.config.block, size)
        # One masked block sees the whole axis: its halo would hold padding only.
        halo = 0 if self.config.masked and block == size else self.config.halo
        return Axis(size, block, halo)

    def _position_logits(self, q_bhgld: Tensor, across_y: "Axis", across_x: "Axis") -> Tensor:
        reach = self.config.block + self.config.halo - 1
        rows_yjd = F.embedding(across_y.offsets(q_bhgld.device) + reach, self.rows)
        columns_xid = F.embedding(across_x.offsets(q_bhgld.device) + reach, self.columns)
        b, h, g, _, d = q_bhgld.shape
        q_bhgyxd = q_bhgld.reshape(b, h, g, across_y.block, across_x.block, d)
        logits_y = torch.einsum("bhgyxd,yjd->bhgyxj", q_bhgyxd, rows_yjd)
        logits_x = torch.einsum("bhgyxd,xid->bhgyxi", q_bhgyxd, columns_xid)
        return (logits_y.unsqueeze(-1) + logits_x.unsqueeze(-2)).flatten(-2).flatten(-3, -2)


@dataclass(frozen=True, slots=True)
class Axis:
    """How one axis of the map is cut."""

    size: int
    block: int
    halo: int

    @property
    def count(self) -> int:
        """Blocks, the last of which may be padded."""
        return -(-self.size // self.block)

    @property
    def window(self) -> int:
        """Tokens that a block sees."""
        return self.block + 2 * self.halo

    @property
    def padding(self) -> int:
        """Tokens that the last block lacks."""
        return self.count * self.block - self.size

    def offsets(self, device: torch.device) -> Tensor:
        """Key minus query, (block, window)."""
        keys = torch.arange(self.window, device=device) - self.halo
        return keys - torch.arange(self.block, device=device)[:, None]


def blocks(x_bhwc: Tensor, y: Axis, x: Axis) -> Tensor:
    """(B, H, W, C) to (B, G, block·block, C)."""
    if y.padding or x.padding:  # by none it would be copied
        x_bhwc = F.pad(x_bhwc, (0, 0, 0, x.padding, 0, y.padding))
    b, _, _, c = x_bhwc.shape
    cut = x_bhwc.reshape(b, y.count, y.block, x.count, x.block, c).transpose(2, 3)
    return cut.reshape(b, y.count * x.count, y.block * x.block, c)


def unblocks(x_bglc: Tensor, y: Axis, x: Axis) -> Tensor:
    """The inverse of `blocks`, with the padding at the end of both axes."""
    b, _, _, c = x_bglc.shape
    cut = x_bglc.reshape(b, y.count, x.count, y.block, x.block, c).transpose(2, 3)
    return cut.reshape(b, y.count * y.block, x.count * x.block, c)


def _windows(x_bhwc: Tensor, y: Axis, x: Axis) -> Tensor:
    """(B, H, W, C) to (B, G, window·window, C), zero beyond the border."""
    padding = (0, 0, x.halo, x.halo + x.padding, y.halo, y.halo + y.padding)
    cut_bgkcyx = F.pad(x_bhwc, padding).unfold(1, y.window, y.block).unfold(2, x.window, x.block)
    return cut_bgkcyx.permute(0, 1, 2, 4, 5, 3).flatten(3, 4).flatten(1, 2)
