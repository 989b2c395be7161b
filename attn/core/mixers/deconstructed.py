"""Attention taken apart (Deconstructing Attention, arXiv:2510.11602, section 3): six causal mixers.

    mlp              silu(gate) * value, made of the token alone: nothing is mixed
    approximate      weights 1 + s + s²/2 instead of exp(s), s = q·k / sqrt(D)
    non_approximate  softmax over the keys of sum_d silu(q'_d) k_d / sqrt(D), q' being the key token's own query
    random           softmax attention whose queries and keys are read from one fixed Gaussian sequence
    fixed            the same with one fixed text
    static           the same with the tokens as the first layer sees them

Each name alone stands for `deconstructed:variant=name`. The last three read from a *guide* that the model brings
(`Mixer.guide`); without one they read the tokens. The hidden width of `mlp` gives it the parameters of the others. The
weights of `approximate` can be had from running sums, which have D² numbers for each channel: fewer only than the keys
and values of D²/2 tokens, so that a step keeps keys and values, as in the other variants.

Shapes: B batch, L tokens, C0 channels in, C channels, heads, D = C / heads; the guide has B rows or 1 (G).
"""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from attn.core.attention.attend import attend, mix, split_heads
from attn.core.attention.watch import Geometry
from attn.core.decoding.tails import Tails
from attn.core.mixers.base import Guide, MixerConfig
from attn.core.mixers.projections import ProjectedMixer
from attn.core.mixers.registry import register

_GUIDES: dict[str, Guide] = {"random": "noise", "fixed": "text", "static": "start"}


@register(
    "deconstructed",
    dims=(1,),
    causal="always",
    weights=True,
    steps="equal",
    cost="L^2",
    paper="arXiv:2510.11602",
    option="variant",
    short=("mlp", "approximate", "non_approximate", "random", "fixed", "static"),
)
class DeconstructedMixer(ProjectedMixer):
    """One of the six variants."""

    causal = True

    class Config(MixerConfig):
        """variant: what is left of attention."""

        variant: Literal["mlp", "approximate", "non_approximate", "random", "fixed", "static"] = "approximate"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.guide = _GUIDES.get(config.variant)
        self.endless = config.variant == "mlp"
        if config.variant == "mlp":
            hidden = max(4 * config.channels // 3, 1)
            self.qkv = nn.Linear(config.channels_in or config.channels, 2 * hidden)
            self.out = nn.Linear(hidden, config.channels)

    def start(
        self, batch: int, length: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Any:
        """An empty cache for `length` tokens; `mlp` only counts them."""
        return Tails() if self.endless else super().start(batch, length, device=device, dtype=dtype)

    def forward(
        self, x_blc: Float[Tensor, "B L C0"], past: Any = None, *, guide: Float[Tensor, "G L C0"] | None = None
    ) -> Float[Tensor, "B L C"]:
        """Mix all tokens, or with `past` the next L, whose guide it is. Raises AttnError when the cache is full."""
        if self.config.variant == "mlp":
            return self._alone(x_blc, past)
        q_bhld, k_bhld, v_bhld = self._read(x_blc, x_blc if guide is None else guide)
        scale = self.head_dim**-0.5
        if self.config.variant == "non_approximate":
            # As products of a query and a key: the key has its score in the first channel, and the query picks it.
            score_bhl = (F.silu(q_bhld) * k_bhld).sum(-1) * scale
            k_bhld = F.pad(score_bhl[..., None], (0, self.head_dim - 1))
            q_bhld = F.pad(torch.ones_like(score_bhl[..., None]), (0, self.head_dim - 1))
            scale = 1.0
        k_bhnd, v_bhnd, _ = seen = self.extend(past, k_bhld, v_bhld)
        geometry = seen.geometry(x_blc.shape[1])
        if self.config.variant == "approximate":
            if geometry is None:
                keys_n = torch.arange(k_bhnd.shape[2], device=x_blc.device)
                geometry = Geometry(keys_n[-x_blc.shape[1] :], keys_n)
            weights_bhln = _by_taylor(q_bhld * scale, k_bhnd)
            return self.merge(mix(weights_bhln, v_bhnd, site=self, geometry=geometry))
        return self.merge(attend(q_bhld, k_bhnd, v_bhnd, causal=True, scale=scale, site=self, geometry=geometry))

    def _alone(self, x_blc: Tensor, past: Tails | None) -> Tensor:
        if past is not None:
            past.length += x_blc.shape[1]
        gate_blm, value_blm = self.qkv(x_blc).chunk(2, -1)
        out: Tensor = self.out(F.silu(gate_blm) * value_blm)
        return out

    def _read(self, x_blc: Tensor, guide_glc: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys of the guide, values of the tokens."""
        if guide_glc is x_blc:
            return self.project(x_blc)
        rows = 2 * self.config.channels
        qk_glc = F.linear(guide_glc, self.qkv.weight[:rows], self.qkv.bias[:rows])
        v_blc = F.linear(x_blc, self.qkv.weight[rows:], self.qkv.bias[rows:])
        q_bhld, k_bhld = (
            split_heads(part, self.heads).expand(x_blc.shape[0], -1, -1, -1) for part in qk_glc.chunk(2, -1)
        )
        return q_bhld, k_bhld, split_heads(v_blc, self.heads)


def _by_taylor(q_bhld: Tensor, k_bhnd: Tensor) -> Tensor:
    """Weights in float32 or better, over the past: each is at least 1/2 before rows are divided by their sum."""
    queries, keys = q_bhld.shape[-2], k_bhnd.shape[-2]
    exact = torch.promote_types(q_bhld.dtype, torch.float32)
    with torch.autocast(q_bhld.device.type, enabled=False):
        s_bhln = q_bhld.to(exact) @ k_bhnd.to(exact).mT
        past_ln = torch.ones(queries, keys, dtype=torch.bool, device=q_bhld.device).tril(keys - queries)
        terms_bhln = (1 + s_bhln + s_bhln.square() / 2) * past_ln
        return terms_bhln / terms_bhln.sum(-1, keepdim=True)
