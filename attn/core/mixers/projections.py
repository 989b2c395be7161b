"""What most mixers share: a layer for queries, keys and values, and a layer after the heads are merged.

    q_bhld, k_bhld, v_bhld = self.project(x_blc)
    return self.merge(attend(q_bhld, k_bhld, v_bhld, site=self))

The rows of `qkv` are q, k, v, each head by head, as in `torch.nn.MultiheadAttention.in_proj_weight`.

Shapes: B batch, * tokens (L, or H x W), C0 channels in, C channels, heads, D = C / heads.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from attn.core.attention.attend import merge_heads, split_heads
from attn.core.decoding.cache import Cache, KVCache, Past
from attn.core.errors import UsageError
from attn.core.mixers.base import Mixer


class ProjectedMixer(Mixer):
    """A mixer between two linear layers, `qkv` and `out`."""

    def __init__(self, config: Any, *, bias: bool = True, out: bool = True) -> None:
        super().__init__(config)
        require_heads(config.channels, config.heads)
        self.heads = config.heads
        self.head_dim = config.channels // config.heads
        self.qkv = nn.Linear(config.channels_in or config.channels, 3 * config.channels, bias=bias)
        self.out: nn.Module = nn.Linear(config.channels, config.channels) if out else nn.Identity()

    def project(
        self, x: Float[Tensor, "B *grid C0"], past: Cache | None = None
    ) -> tuple[Float[Tensor, "B heads *grid D"], Float[Tensor, "B heads *grid D"], Float[Tensor, "B heads *grid D"]]:
        """Queries, keys and values of each head. What `past` tells is how many tokens lie before these."""
        q, k, v = (split_heads(part, self.heads) for part in self.qkv(x).chunk(3, -1))
        return q, k, v

    def merge(self, y: Float[Tensor, "B heads *grid D"]) -> Float[Tensor, "B *grid C"]:
        """The heads side by side, through the last layer."""
        out: Tensor = self.out(merge_heads(y))
        return out

    def extend(self, past: Cache | None, k_bhld: Tensor, v_bhld: Tensor) -> Past:
        """The keys and values that new tokens may see: their own in a pass, those of the past as well in a step.

        Raises UsageError for a step of a mixer that is not causal, AttnError when the cache is full.
        """
        if past is None:
            return Past(k_bhld, v_bhld)
        if not self.causal:
            raise self.no_steps()
        return past.append(k_bhld, v_bhld)

    def start(
        self, batch: int, length: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Any:
        """An empty cache for `length` tokens. Raises UsageError unless the mixer is causal."""
        if not self.causal:
            raise self.no_steps()
        return KVCache(batch, self.heads, length, self.head_dim, device=device, dtype=dtype)


def require_heads(channels: int, heads: int) -> None:
    """Raise UsageError unless the channels split evenly into heads."""
    if heads < 1 or channels % heads:
        raise UsageError(f"{channels} channels cannot be split into {heads} heads")


def linear_in(layer: nn.Module, x: Tensor) -> Tensor:
    """The linear layer in the precision of `x`, whatever its own is; a rounded layer works in any."""
    if not isinstance(layer, nn.Linear):
        out: Tensor = layer(x)
        return out
    return F.linear(x, layer.weight.to(x.dtype), None if layer.bias is None else layer.bias.to(x.dtype))


def with_range(x: Tensor) -> Tensor:
    """`x` in a type that holds products of two activations: float16 ends at 65,504, and infinities make NaN."""
    return x.float() if x.dtype == torch.float16 else x
