"""Interacting layer over fields (AutoInt, Song et al. 2019, arXiv:1810.11921, equations 5 to 7).

    out = concat over heads of softmax(scale · (W_q x)(W_k x)ᵀ) W_v x

The heads are concatenated and nothing comes after them; the residual of equation 8 is the model's. The paper has
neither scale nor activation nor bias. Its code divides by sqrt(D) (`scaled`), puts a ReLU on queries, keys and values
(`activated`) and adds biases (`bias`).

Shapes: B batch, F fields, C0 channels in, C channels, heads, D = C / heads. The rows of `qkv` are q, k, v, each head by
head.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from attn.core.attention.attend import attend, merge_heads, split_heads
from attn.core.mixers.registry import Mixer, register, require_heads


@register("interacting", dims=(1,), causal=False, weights=True, steps=False, cost="L^2", paper="arXiv:1810.11921")
class InteractingMixer(Mixer):
    """Self-attention over fields without order."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """channels: C; heads: must divide C; channels_in: C unless given; scaled, activated, bias: as in the code."""

        channels: int
        heads: int
        channels_in: int | None = None
        scaled: bool = False
        activated: bool = False
        bias: bool = False

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        require_heads(config.channels, config.heads)
        self.qkv = nn.Linear(config.channels_in or config.channels, 3 * config.channels, bias=config.bias)

    def forward(self, x_bfc: Float[Tensor, "B F C0"]) -> Float[Tensor, "B F C"]:
        """(B, F, channels_in) to (B, F, C)."""
        qkv = self.qkv(x_bfc)
        if self.config.activated:
            qkv = qkv.relu()
        q_bhfd, k_bhfd, v_bhfd = (split_heads(x, self.config.heads) for x in qkv.chunk(3, -1))
        return merge_heads(attend(q_bhfd, k_bhfd, v_bhfd, scale=None if self.config.scaled else 1.0, site=self))
