"""Context mixing: each place of a map is mixed with kernels that it predicts itself (ContMix, Lou et al. 2025).

    region s of the map, 7 x 7 of them: its mean;   a = q · k_s · sqrt(heads / C);   kernels = W a + table
    out = W_o [near; wide],   each half of v, mixed with the softmax of its own kernel of 5 x 5 or 7 x 7

(arXiv:2502.20087, section 3.2 and the authors' code, whose scale is that of C / heads channels although q has half of
them.) Each head predicts a kernel from how its place relates to all regions, so that a small kernel knows of the whole
map. Windows are those of `neighborhood`: moved inside at the border; table rows are offsets of key minus query. A map
smaller than a kernel uses the first places of it. What follows in the paper's block (a dilated convolution,
squeeze-and-excitation, a gate) is left to the block around the mixer.

Shapes: B batch, H x W map, L = H·W tokens, C0 channels in, C channels, heads, D = C / (2 heads), S regions, K places of
a kernel.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attn.core.attention.attend import merge_heads, mix, split_heads
from attn.core.attention.watch import Geometry
from attn.core.errors import UsageError
from attn.core.mixers.base import Mixer, MixerConfig, Size
from attn.core.mixers.projections import linear_in, require_heads, with_range
from attn.core.mixers.registry import register


@register("context_mixing", dims=(2,), causal="no", weights=True, steps="no", cost="L", paper="arXiv:2502.20087")
class ContextMixingMixer2d(Mixer):
    """Kernels predicted from the context of each place."""

    class Config(MixerConfig):
        """near, wide: sides of the two kernels; regions: sides of the map of means."""

        near: Size = 5
        wide: Size = 7
        regions: Size = 7

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        require_heads(config.channels, config.heads)
        if config.channels % (2 * config.heads):
            raise UsageError(f"{config.channels} channels cannot be split into 2 halves of {config.heads} heads")
        width_in, width = config.channels_in or config.channels, config.channels
        self.q = nn.Linear(width_in, width // 2)
        self.k = nn.Linear(width_in, width // 2)
        self.v = nn.Linear(width_in, width)
        self.kernels = nn.Linear(config.regions**2, config.near**2 + config.wide**2)
        self.near = DynamicKernel(config.heads, config.near)
        self.wide = DynamicKernel(config.heads, config.wide)
        self.out = nn.Linear(width, width)

    def forward(self, x_bhwc: Float[Tensor, "B H W C0"]) -> Float[Tensor, "B H W C"]:
        """Every place is mixed with those around it, as all regions suggest."""
        config = self.config
        q_bnhwd = split_heads(self.q(x_bhwc), config.heads)
        k_bnsd = split_heads(self.k(_region_means(x_bhwc, config.regions)), config.heads)
        scale = (config.heads / config.channels) ** 0.5
        with torch.autocast(x_bhwc.device.type, enabled=False):
            products_bnhws = torch.einsum("bnhwd,bnsd->bnhws", with_range(q_bnhwd), with_range(k_bnsd))
            kernels_bnhwk = linear_in(self.kernels, products_bnhws * scale)
        near_bnhwk, wide_bnhwk = kernels_bnhwk[..., : config.near**2], kernels_bnhwk[..., config.near**2 :]
        first_bnhwd, second_bnhwd = (split_heads(half, config.heads) for half in self.v(x_bhwc).chunk(2, -1))
        near, wide = self.near(near_bnhwk, first_bnhwd), self.wide(wide_bnhwk, second_bnhwd)
        out: Tensor = self.out(torch.cat([merge_heads(near), merge_heads(wide)], -1))
        return out


class DynamicKernel(nn.Module):
    """Applies a kernel of `side` x `side` weights at each place; its softmax is taken here."""

    def __init__(self, heads: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.table = nn.Parameter(torch.zeros(heads, 2 * side - 1, 2 * side - 1))

    def forward(
        self, kernels_bnhwk: Float[Tensor, "B heads H W K"], v_bnhwd: Float[Tensor, "B heads H W D"]
    ) -> Float[Tensor, "B heads H W D"]:
        """Same shape as the values."""
        height, width = v_bnhwd.shape[2:4]
        rows_hs, columns_ws = (self._window(size, v_bnhwd.device) for size in (height, width))
        offsets_hs, offsets_ws = (
            (places - torch.arange(len(places), device=places.device)[:, None]).clamp(1 - self.side, self.side - 1)
            + self.side
            - 1
            for places in (rows_hs, columns_ws)
        )
        bias_nhwk = self.table[:, offsets_hs[:, None, :, None], offsets_ws[None, :, None, :]].flatten(3)
        inside_hwk = ((rows_hs < height)[:, None, :, None] & (columns_ws < width)[None, :, None, :]).flatten(2)
        tokens_hwk = (rows_hs[:, None, :, None] * width + columns_ws[None, :, None, :]).flatten(2)
        tokens_hwk = tokens_hwk.where(inside_hwk, 0)

        exact = torch.promote_types(kernels_bnhwk.dtype, torch.float32)
        with torch.autocast(v_bnhwd.device.type, enabled=False):
            logits_bnhwk = kernels_bnhwk.to(exact) + bias_nhwk.to(exact)
            weights_bnhwk = logits_bnhwk.masked_fill(~inside_hwk, torch.finfo(exact).min).softmax(-1)
        values_bnhwkd = v_bnhwd.flatten(2, 3)[:, :, tokens_hwk]
        queries_hw1 = torch.arange(height * width, device=v_bnhwd.device).view(height, width, 1)
        geometry = Geometry(queries_hw1, tokens_hwk.where(inside_hwk, -1))
        return mix(weights_bnhwk.unsqueeze(-2), values_bnhwkd, site=self, geometry=geometry)[..., 0, :]

    def _window(self, size: int, device: torch.device) -> Tensor:
        """The places that each of `size` places sees along an axis, (size, side); those from `size` on are outside."""
        place = torch.arange(size, device=device)
        first = (place - self.side // 2).clamp(0, max(size - self.side, 0))
        return first[:, None] + torch.arange(self.side, device=device)


def _region_means(x_bhwc: Tensor, regions: int) -> Tensor:
    """The means of regions x regions parts of the map (adaptive average pooling), (B, S, C)."""
    rows_rh, columns_rw = (_shares(size, regions, x_bhwc) for size in x_bhwc.shape[1:3])
    return torch.einsum("yh,xw,bhwc->byxc", rows_rh, columns_rw, x_bhwc).flatten(1, 2)


def _shares(size: int, regions: int, like: Tensor) -> Tensor:
    """Row r averages the places floor(r · size / regions) to ceil((r + 1) · size / regions) - 1."""
    region, place = torch.arange(regions, device=like.device)[:, None], torch.arange(size, device=like.device)
    first, end = region * size // regions, ((region + 1) * size + regions - 1) // regions
    inside = ((place >= first) & (place < end)).to(like.dtype)
    return inside / inside.sum(1, keepdim=True)
