"""Gated positional self-attention (ConViT, d'Ascoli et al. 2021, equations 6 and 7).

    A_h = (1 - s_h) softmax(q kᵀ / sqrt(D)) + s_h softmax(w_h · (dx, dy, dx² + dy²)),    s_h = sigmoid(gate_h)

(dx, dy) is key minus query. At first w_h makes head h look at one offset, within about strength^(-1/2) tokens, the
values are the input, and s = 0.73: the layer is a convolution. Training moves each gate away from position or towards
it (`gates`). The paper divides rows by their sum, which is 1 already; its position logits have a bias, which softmax
takes away.

The exponent has one term in x and one in y, so that the softmax over positions is the product of one over rows and one
over columns. Values are averaged along one axis after the other: H + W products for each token instead of H·W.

Heads are a square grid of offsets in the paper (4, 9, 16), where an even grid has offsets of half a token. Other
numbers of heads take the offsets nearest to the token.

Shapes: B batch, H x W map (also y x, of keys j x i), L = H·W tokens, C0 channels in, C channels, heads, D = C / heads.
"""

import math
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from attn.core.attention.attend import attend, mix, weigh
from attn.core.attention.watch import is_watched
from attn.core.mixers.base import MixerConfig
from attn.core.mixers.projections import ProjectedMixer
from attn.core.mixers.registry import register


@register("gated_positional", dims=(2,), causal="no", weights=True, steps="no", cost="L^2", paper="arXiv:2103.10697")
class GatedPositionalMixer2d(ProjectedMixer):
    """Self-attention by content and by position, with a gate between them for each head."""

    class Config(MixerConfig):
        """strength: how narrowly a head looks at its offset at first."""

        strength: Annotated[float, Field(gt=0, le=1e4, allow_inf_nan=False)] = 1.0

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.gate = nn.Parameter(torch.empty(config.heads))
        self.position = nn.Parameter(torch.empty(config.heads, 3))
        GatedPositionalMixer2d.initialise(self)

    @torch.no_grad()
    def initialise(self) -> None:
        """The layer is a convolution at first (section 3)."""
        nn.init.ones_(self.gate)
        offsets_h2 = self.position.new_tensor(_offsets(self.heads))
        self.position[:, :2] = 2 * self.config.strength * offsets_h2
        self.position[:, 2] = -self.config.strength
        nn.init.eye_(self.qkv.weight[2 * self.config.channels :])

    @property
    def gates(self) -> Float[Tensor, " heads"]:
        """The share of position in each head, 0..1."""
        return self.gate.sigmoid()

    def forward(self, x_bhwc: Float[Tensor, "B H W C0"]) -> Float[Tensor, "B H W C"]:
        """Every token sees every token."""
        height, width = x_bhwc.shape[1:3]
        q_bnyxd, k_bnyxd, v_bnyxd = self.project(x_bhwc)
        q_bnld, k_bnld, v_bnld = (part.flatten(2, 3) for part in (q_bnyxd, k_bnyxd, v_bnyxd))
        rows_nyj, columns_nxi = self._along(height, 1), self._along(width, 0)
        gates_n11 = self.gates[:, None, None]
        if is_watched(self):
            positions_nll = torch.einsum("nyj,nxi->nyxji", rows_nyj, columns_nxi).flatten(3).flatten(1, 2)
            weights_bnll = (1 - gates_n11) * weigh(q_bnld, k_bnld) + gates_n11 * positions_nll
            y_bnld = mix(weights_bnll, v_bnld, site=self)
        else:
            by_content_bnld = attend(q_bnld, k_bnld, v_bnld)
            by_position_bnyxd = torch.einsum(
                "nyj,nxi,bnjid->bnyxd", rows_nyj.to(v_bnyxd.dtype), columns_nxi.to(v_bnyxd.dtype), v_bnyxd
            )
            y_bnld = torch.lerp(by_content_bnld, by_position_bnyxd.flatten(2, 3), gates_n11.to(v_bnyxd.dtype))
        return self.merge(y_bnld.reshape(v_bnyxd.shape))

    def _along(self, size: int, axis: int) -> Float[Tensor, "heads size size"]:
        """Weights over the keys of one axis, in float32 or better: squares of distances have many digits."""
        place = torch.arange(size, device=self.position.device)
        apart = (place - place[:, None]).to(torch.promote_types(self.position.dtype, torch.float32))
        weights = self.position.to(apart.dtype)
        return (weights[:, axis, None, None] * apart + weights[:, 2, None, None] * apart.square()).softmax(-1)


def _offsets(heads: int) -> list[tuple[float, float]]:
    """(dx, dy) that each head looks at first."""
    side = math.isqrt(heads)
    if side * side < heads:
        side = side + 1 + side % 2  # odd: the nearest offset is the token itself
    middle = (side - 1) / 2
    grid = [(x - middle, y - middle) for x in range(side) for y in range(side)]
    if len(grid) > heads:
        grid.sort(key=lambda offset: (offset[0] ** 2 + offset[1] ** 2, offset))
    # timm's order: head number = row of the grid + side · column, whose rows are along y
    return grid[:heads]
