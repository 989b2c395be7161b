"""Plain multi-head self-attention (Vaswani et al. 2017, equation 1 and section 3.2.2).

    out = softmax(q kᵀ / sqrt(D)) v

It knows no positions: in two dimensions the tokens are a set.

Shapes: B batch, L tokens, C channels, heads, D = C / heads. The rows of `qkv` are q, k, v, each head by
head, as in `torch.nn.MultiheadAttention.in_proj_weight`.
"""

from dataclasses import asdict, dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from attn.core.attention.attend import attend, merge_heads, split_heads
from attn.core.decoding.cache import Cache, KVCache
from attn.core.mixers.registry import Mixer, register, require_heads


@register("softmax", dims=(1,), causal=True, weights=True, steps=True, cost="L^2", paper="arXiv:1706.03762")
class SoftmaxMixer(Mixer):
    """Self-attention over a sequence; with `causal`, a token sees itself and the past."""

    steps_by_row = True

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """channels: C; heads: must divide C; causal: blind to later tokens; channels_in: C unless given."""

        channels: int
        heads: int
        causal: bool = False
        channels_in: int | None = None

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        require_heads(config.channels, config.heads)
        self.qkv = nn.Linear(config.channels_in or config.channels, 3 * config.channels)
        self.out = nn.Linear(config.channels, config.channels)

    def forward(
        self, x_blc: Float[Tensor, "B L C0"], mask_bl: Bool[Tensor, "B L"] | None = None
    ) -> Float[Tensor, "B L C"]:
        """(B, L, channels_in) to (B, L, C). True in the mask is a token, False padding, which nothing attends to."""
        q_bhld, k_bhld, v_bhld = (split_heads(x, self.config.heads) for x in self.qkv(x_blc).chunk(3, -1))
        mask = None if mask_bl is None else mask_bl[:, None, None]
        y_bhld = attend(q_bhld, k_bhld, v_bhld, mask=mask, causal=self.config.causal, site=self)
        out: Tensor = self.out(merge_heads(y_bhld))
        return out

    def start(
        self, batch: int, length: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> KVCache:
        """An empty cache for `length` tokens. Raises UsageError unless causal."""
        if not self.config.causal:
            raise self._no_steps()
        heads = self.config.heads
        return KVCache(batch, heads, length, self.config.channels // heads, device=device, dtype=dtype)

    def step(self, x_blc: Float[Tensor, "B L C0"], cache: Cache) -> Float[Tensor, "B L C"]:
        """The next L tokens. Raises UsageError unless causal, AttnError when the cache is full."""
        if not self.config.causal:
            raise self._no_steps()
        q_bhld, k_bhld, v_bhld = (split_heads(x, self.config.heads) for x in self.qkv(x_blc).chunk(3, -1))
        y_bhld = attend(q_bhld, *cache.append(k_bhld, v_bhld), causal=True, site=self)
        out: Tensor = self.out(merge_heads(y_bhld))
        return out


@register("softmax", dims=(2,), causal=False, weights=True, steps=False, cost="L^2", paper="arXiv:1706.03762")
class SoftmaxMixer2d(SoftmaxMixer):
    """Self-attention over all tokens of a grid."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """channels: C; heads: must divide C; channels_in: C unless given."""

        channels: int
        heads: int
        channels_in: int | None = None

    def __init__(self, config: Config) -> None:
        super().__init__(SoftmaxMixer.Config(**asdict(config)))

    def forward(  # type: ignore[override]  # a grid has no padding
        self, x_bhwc: Float[Tensor, "B H W C0"]
    ) -> Float[Tensor, "B H W C"]:
        """(B, H, W, channels_in) to (B, H, W, C)."""
        return super().forward(x_bhwc.flatten(1, 2)).reshape(*x_bhwc.shape[:-1], -1)
