"""Interacting layer over fields (AutoInt, Song et al. 2019, arXiv:1810.11921, equations 5 to 7).

    out = concat over heads of softmax(scale · (W_q x)(W_k x)ᵀ) W_v x

The heads are concatenated and nothing comes after them; the residual of equation 8 is the model's. The paper has
neither scale nor activation nor bias. Its code divides by sqrt(D) (`scaled`), puts a ReLU on queries, keys and values
(`activated`) and adds biases (`bias`).

Shapes: B batch, F fields, C0 channels in, C channels, heads, D = C / heads.
"""

from jaxtyping import Float
from torch import Tensor

from attn.core.attention.attend import attend
from attn.core.mixers.base import MixerConfig
from attn.core.mixers.projections import ProjectedMixer
from attn.core.mixers.registry import register


@register("interacting", dims=(1,), causal="no", weights=True, steps="no", cost="L^2", paper="arXiv:1810.11921")
class InteractingMixer(ProjectedMixer):
    """Self-attention over fields without order."""

    class Config(MixerConfig):
        """scaled, activated, bias: as in the authors' code."""

        scaled: bool = False
        activated: bool = False
        bias: bool = False

    def __init__(self, config: Config) -> None:
        super().__init__(config, bias=config.bias, out=False)

    def forward(self, x_bfc: Float[Tensor, "B F C0"]) -> Float[Tensor, "B F C"]:
        """Every field sees every field."""
        q_bhfd, k_bhfd, v_bhfd = self.project(x_bfc)
        if self.config.activated:
            q_bhfd, k_bhfd, v_bhfd = q_bhfd.relu(), k_bhfd.relu(), v_bhfd.relu()
        return self.merge(attend(q_bhfd, k_bhfd, v_bhfd, scale=None if self.config.scaled else 1.0, site=self))
