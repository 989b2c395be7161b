"""Plain multi-head self-attention (Vaswani et al. 2017, equation 1 and section 3.2.2).

    out = softmax(q kᵀ / sqrt(D)) v

It knows no positions: in two dimensions the tokens are a set.

Shapes: B batch, L tokens, C0 channels in, C channels, heads, D = C / heads.
"""

from jaxtyping import Bool, Float
from torch import Tensor

from attn.core.attention.attend import attend
from attn.core.decoding.cache import Cache
from attn.core.mixers.base import MixerConfig, OneToken
from attn.core.mixers.projections import ProjectedMixer
from attn.core.mixers.registry import register


@register("softmax", dims=(1,), causal="optional", weights=True, steps="equal", cost="L^2", paper="arXiv:1706.03762")
class SoftmaxMixer(ProjectedMixer):
    """Self-attention over a sequence; with `causal`, a token sees itself and the past."""

    class Config(MixerConfig):
        """causal: a token does not see the tokens that follow."""

        causal: bool = False

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.causal = config.causal

    @property
    def one_token(self) -> OneToken:
        """A step adds nothing to the products."""
        return OneToken(self.qkv, self.out, self.heads)

    def forward(
        self, x_blc: Float[Tensor, "B L C0"], past: Cache | None = None, *, mask_bl: Bool[Tensor, "B L"] | None = None
    ) -> Float[Tensor, "B L C"]:
        """Mix all tokens, or with `past` the next L. True in the mask is a token, False padding, which nobody sees."""
        q_bhld, *new = self.project(x_blc, past)
        k_bhnd, v_bhnd, _ = seen = self.extend(past, *new)
        mask = None if mask_bl is None else mask_bl[:, None, None]
        geometry = seen.geometry(x_blc.shape[1])
        return self.merge(attend(q_bhld, k_bhnd, v_bhnd, mask=mask, causal=self.causal, site=self, geometry=geometry))


@register("softmax", dims=(2,), causal="no", weights=True, steps="no", cost="L^2", paper="arXiv:1706.03762")
class SoftmaxMixer2d(ProjectedMixer):
    """Self-attention over all tokens of a grid."""

    Config = MixerConfig

    def forward(self, x_bhwc: Float[Tensor, "B H W C0"]) -> Float[Tensor, "B H W C"]:
        """Every token sees every token."""
        q_bhld, k_bhld, v_bhld = self.project(x_bhwc.flatten(1, 2))
        return self.merge(attend(q_bhld, k_bhld, v_bhld, site=self)).reshape(*x_bhwc.shape[:-1], -1)
