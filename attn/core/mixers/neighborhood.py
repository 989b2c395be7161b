"""Neighborhood attention: each token sees the k x k tokens around it (NATTEN, Hassani et al. 2024).

    out = softmax(q kᵀ / sqrt(D), over the window) v

Per axis, among the tokens with its remainder modulo the dilation, token p sees k tokens from centre - k//2
on, where the centre is p moved inside until the window fits: at the border windows are shifted, not padded,
and every token sees exactly k x k tokens. A kernel too large for the map is clipped. Positions play no part.

Gathering k·k keys for each query would move k·k times the keys through memory. Here a row of queries is one
matrix product with the k rows of keys it needs, and a mask picks the columns: more arithmetic, less traffic.

Shapes: B batch, H x W map, C channels, heads, D = C / heads, K = k rows of keys.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attn.core.attention.attend import attend
from attn.core.attention.watch import Geometry
from attn.core.mixers.base import MixerConfig, Size
from attn.core.mixers.projections import ProjectedMixer
from attn.core.mixers.registry import register


@register("neighborhood", dims=(2,), causal="no", weights=True, steps="no", cost="L k^2", paper="arXiv:2403.04690")
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
