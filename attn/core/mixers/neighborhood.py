"""Neighborhood attention: each token sees the k x k tokens around it (NATTEN, Hassani et al. 2024).

    out = softmax(q kᵀ / sqrt(D), over the window) v

Per axis, among the tokens with its remainder modulo the dilation, token p sees k tokens from centre - k//2
on, where the centre is p moved inside until the window fits: at the border windows are shifted, not padded,
and every token sees exactly k x k tokens. A kernel too large for the map is clipped. Positions play no part.

Gathering k·k keys for each query would move k·k times the keys through memory. Here a row of queries is one
matrix product with the k rows of keys it needs, and a mask picks the columns: more arithmetic (k·W products for a
query of a map W wide), less traffic.

In one dimension a block of queries is one product with the blocks of keys beside it, group by group. A causal window
is the k newest tokens of the group, and a step keeps a ring of keys and values: constant memory, pieces without end.

Shapes: B batch, L tokens or H x W map, C channels, heads, D = C / heads, K = k rows of keys; in one dimension inside
G groups of n blocks of L queries and M keys.
"""

from typing import Annotated

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from attn.core.attention.attend import attend
from attn.core.attention.watch import Geometry
from attn.core.decoding.cache import Cache, RingCache
from attn.core.mixers.base import MixerConfig, Size
from attn.core.mixers.projections import ProjectedMixer
from attn.core.mixers.registry import register

LEAST_BLOCK = 32  # smaller products would take as long


@register("neighborhood", dims=(2,), causal="no", weights=True, steps="no", cost="L^1.5 k", paper="arXiv:2403.04690")
class NeighborhoodMixer2d(ProjectedMixer):
    """Self-attention within a sliding window."""

    class Config(MixerConfig):
        """kernel: k; dilation: step between the tokens of a window."""

        kernel: Size = 7
        dilation: Size = 1

    def forward(self, x_bhwc: Float[Tensor, "B H W C0"]) -> Float[Tensor, "B H W C"]:
        """Every token sees its window."""
        height, width = x_bhwc.shape[1:3]
        rows_hk = windows(height, self.config.kernel, self.config.dilation, x_bhwc.device)
        columns_wk = windows(width, self.config.kernel, self.config.dilation, x_bhwc.device)
        q_bnhwd, k_bnhwd, v_bnhwd = self.project(x_bhwc)

        tokens = torch.arange(height * width, device=x_bhwc.device).view(height, width)
        y_bnhwd = attend(
            q_bnhwd,
            _take_rows(k_bnhwd, rows_hk),
            _take_rows(v_bnhwd, rows_hk),
            mask=_column_mask(columns_wk, rows_hk.shape[1]),
            site=self,
            geometry=Geometry(tokens, tokens[rows_hk].flatten(1)),
        )
        return self.merge(y_bnhwd)


def windows(n: int, kernel: int, dilation: int, device: torch.device) -> Int[Tensor, "n k"]:
    """The tokens that each of n tokens sees along one axis, in order; kernel and dilation are clipped."""
    dilation = min(dilation, n)
    kernel = min(kernel, n // dilation)  # the smallest group has n // dilation tokens
    before, after = kernel // 2, kernel // 2 + kernel % 2 - 1
    token = torch.arange(n, device=device)
    group, place = token % dilation, token // dilation
    last = (n - 1 - group) // dilation
    centre = torch.minimum(place.clamp(min=before), last - after)
    return group[:, None] + dilation * (centre[:, None] - before + torch.arange(kernel, device=device))


def _take_rows(x_bnhwd: Tensor, rows_hk: Tensor) -> Tensor:
    """(B, heads, H, W, D) to the keys of each row, (B, heads, H, K·W, D)."""
    b, n, h, _, d = x_bnhwd.shape
    return x_bnhwd.index_select(2, rows_hk.flatten()).reshape(b, n, h, -1, d)


def _column_mask(columns_wk: Tensor, rows: int) -> Tensor | None:
    """(W, K·W): True where a query of this column may look; None if everywhere."""
    width, kernel = columns_wk.shape
    if kernel == width:
        return None
    seen_ww = (columns_wk[:, :, None] == torch.arange(width, device=columns_wk.device)).any(1)
    return seen_ww.repeat(1, rows)


@register(
    "neighborhood", dims=(1,), causal="optional", weights=True, steps="equal", cost="L k", paper="arXiv:2403.04690"
)
class NeighborhoodMixer(ProjectedMixer):
    """Self-attention within a sliding window of a sequence; with `causal`, over the newest tokens."""

    class Config(MixerConfig):
        """kernel: k; dilation: step between the tokens of a window."""

        kernel: Size = 64
        dilation: Annotated[int, Field(ge=1, le=4096)] = 1
        causal: bool = False

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.causal = self.endless = config.causal
        self.span = (config.kernel - 1) * config.dilation + 1  # tokens that a causal window reaches over

    def start(
        self, batch: int, length: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> RingCache:
        """An empty cache for any number of tokens: `span` new ones at once, and those before them that they see."""
        if not self.causal:
            raise self.no_steps()
        return RingCache(batch, self.heads, 2 * self.span, self.head_dim, device=device, dtype=dtype)

    def forward(self, x_blc: Float[Tensor, "B L C0"], past: Cache | None = None) -> Float[Tensor, "B L C"]:
        """Every token sees its window; with `past` the next L tokens do."""
        parts = self.project(x_blc, past)
        if past is None:
            return self.merge(self._pass(*parts))
        q_bhld, k_bhld, v_bhld = (torch.split(part, self.span, 2) for part in parts)
        pieces = zip(q_bhld, k_bhld, v_bhld, strict=True)
        return self.merge(torch.cat([self._step(q, k, v, past) for q, k, v in pieces], 2))

    def _pass(self, q_bhld: Tensor, k_bhld: Tensor, v_bhld: Tensor) -> Tensor:
        """A block of queries sees its own block and the one before, and if not causal the one after."""
        length, device = q_bhld.shape[2], q_bhld.device
        dilation = min(self.config.dilation, max(length, 1))
        kernel = self.config.kernel if self.causal else max(min(self.config.kernel, length // dilation), 1)
        group = -(-length // dilation)
        block = max(min(max(kernel, LEAST_BLOCK), group), 1)
        beside = (0, 0) if group <= block else (1, 0) if self.causal else (1, 1)
        q_bhgnld, k_bhgnld, v_bhgnld = (_in_groups(part, dilation, block) for part in (q_bhld, k_bhld, v_bhld))
        # Token numbers plus one go through the same cuts, so that padding, which is 0, ends as -1.
        numbers_11l1 = torch.arange(1, length + 1, device=device).view(1, 1, -1, 1)
        tokens_11gnl1 = _in_groups(numbers_11l1, dilation, block)
        queries_gnl = tokens_11gnl1[0, 0, ..., 0] - 1
        keys_gnm = _beside(tokens_11gnl1, *beside)[0, 0, ..., 0] - 1
        apart_gnlm = queries_gnl[..., None] - keys_gnm[..., None, :]
        if self.causal:
            seen_gnlm = (apart_gnlm >= 0) & (apart_gnlm < kernel * dilation)
        else:
            before, after = kernel // 2, kernel // 2 + kernel % 2 - 1
            last_gnl = (length - 1 - queries_gnl % dilation) // dilation
            centre_gnl = torch.minimum((queries_gnl // dilation).clamp(min=before), last_gnl - after)
            place_gnlm = keys_gnm[..., None, :] // dilation - (centre_gnl - before)[..., None]
            seen_gnlm = (place_gnlm >= 0) & (place_gnlm < kernel)
        y_bhgnld = attend(
            q_bhgnld,
            _beside(k_bhgnld, *beside),
            _beside(v_bhgnld, *beside),
            mask=seen_gnlm & (keys_gnm >= 0)[..., None, :],
            site=self,
            geometry=Geometry(queries_gnl, keys_gnm),
        )
        return y_bhgnld.flatten(3, 4).transpose(2, 3).flatten(2, 3)[:, :, :length]

    def _step(self, q_bhld: Tensor, k_bhld: Tensor, v_bhld: Tensor, past: Cache) -> Tensor:
        """Up to `span` new tokens."""
        k_bhnd, v_bhnd, positions = self.extend(past, k_bhld, v_bhld).neighbours()
        keys, new, dilation = k_bhnd.shape[2], q_bhld.shape[2], self.config.dilation
        keys_n = torch.arange(keys, device=k_bhnd.device)
        first = 0 if positions is None else positions[0]
        if new == 1 and not torch.compiler.is_exporting():
            oldest = keys - 1 - dilation * min(self.config.kernel - 1, (keys - 1) // dilation)
            k_bhnd, v_bhnd, keys_n = (
                k_bhnd[:, :, oldest::dilation],
                v_bhnd[:, :, oldest::dilation],
                keys_n[oldest::dilation],
            )
            mask_ln = None
        else:
            apart_ln = keys_n[-new:, None] - keys_n
            mask_ln = (apart_ln >= 0) & (apart_ln < self.config.kernel * dilation) & (apart_ln % dilation == 0)
        geometry = Geometry(keys_n[-new:] + first, keys_n + first)
        return attend(q_bhld, k_bhnd, v_bhnd, mask=mask_ln, site=self, geometry=geometry)


def _in_groups(x_bhld: Tensor, dilation: int, block: int) -> Tensor:
    """(B, heads, L, D) to (B, heads, dilation, blocks, block, D): a token lies among those with its remainder."""
    b, h, length, d = x_bhld.shape
    stride = dilation * block
    x_bhld = F.pad(x_bhld, (0, 0, 0, -length % stride))
    return x_bhld.reshape(b, h, -1, dilation, d).transpose(2, 3).reshape(b, h, dilation, -1, block, d)


def _beside(x_bhgnld: Tensor, before: int, after: int) -> Tensor:
    """The tokens of each block behind those of the block before, and in front of those of the block after."""
    blocks = x_bhgnld.shape[3]
    x_bhgnld = F.pad(x_bhgnld, (0, 0, 0, 0, before, after))
    return torch.cat([x_bhgnld[:, :, :, n : n + blocks] for n in range(before + after + 1)], 4)
