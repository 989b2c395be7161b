"""Selective self-attention: a temperature for each query and each value (Zhang et al. 2024, arXiv:2411.12892).

    out = softmax((τ_q * q) kᵀ / sqrt(D)) (τ_v * v)
    τ_q = 1 + tanh(a_q · q) + b_q log n,    τ_v = 1 + tanh(a_v · v) + b_v log n

n is how many tokens there are to see: of a causal mixer the token itself and those before it, else all. As n grows, a
softmax spreads its weights, and b_q log n sharpens them again. The vector a and the number b of each head start at 0,
so that training starts from the mechanism that is wrapped. The paper has sigmoid(α), which is never 0, in place of b,
and its tanh sees a small network of the token. Here it sees the query or the value that is made of the token anyway
(the sharing that the paper proposes): 2 D + 2 parameters more for each head. Values are scaled as tokens, before they
are mixed, so that a cached value keeps its temperature.

`of` names the mechanism that is wrapped, which has its default options.

Shapes: B batch, * tokens (L, or H x W), C0 channels in, C channels, heads, D = C / heads.
"""

import math
from functools import cache
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from attn.core.decoding.cache import Cache
from attn.core.errors import UsageError
from attn.core.mixers.base import Mixer, MixerConfig
from attn.core.mixers.choice import Choice
from attn.core.mixers.projections import ProjectedMixer
from attn.core.mixers.registry import register, resolve

Name = Annotated[str, Field(max_length=64)]


class _Tempered(ProjectedMixer):
    """In front of a class of mixers: changes the queries and values that it makes."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.selective = nn.Parameter(torch.zeros(2, self.heads, self.head_dim))  # of queries, of values
        self.by_length = nn.Parameter(torch.zeros(2, self.heads))

    @torch.no_grad()
    def initialise(self) -> None:
        """As the mechanism that is wrapped begins, with all temperatures 1."""
        super().initialise()
        nn.init.zeros_(self.selective)
        nn.init.zeros_(self.by_length)

    def project(self, x: Tensor, past: Cache | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and values at their temperatures."""
        q, k, v = super().project(x, past)
        grid = x.shape[1:-1]
        kind: dict[str, Any] = {"device": x.device, "dtype": torch.promote_types(q.dtype, torch.float32)}
        if self.causal:
            first = 1 if past is None else past.length + 1
            log_n = torch.arange(first, first + grid[0], **kind).log()[:, None]
        else:
            log_n = torch.tensor(math.log(max(math.prod(grid), 1)), **kind)
        return self._tempered(q, 0, log_n), k, self._tempered(v, 1, log_n)

    def _tempered(self, x: Tensor, which: int, log_n: Tensor) -> Tensor:
        """In float32 or better; what a narrower type has no room for ends as its largest number."""
        exact = log_n.dtype
        each_head = (-1, *(1,) * (x.dim() - 2))
        wide = x.to(exact)
        by_token = (wide * self.selective[which].to(exact).view(*each_head[:-1], self.head_dim)).sum(-1, keepdim=True)
        temperature = 1 + by_token.tanh() + self.by_length[which].to(exact).view(each_head) * log_n
        most = torch.finfo(x.dtype).max
        return (temperature * wide).clamp(-most, most).to(x.dtype)


@cache
def _tempered(kind: Any) -> Any:
    return type(f"Selective{kind.__name__}", (_Tempered, kind), {"__doc__": f"{kind.__name__} with temperatures."})


class _SelectiveConfig(MixerConfig):
    size: Any
    of: Name = "softmax"
    causal: bool = False


def _wrapped(config: Any, dims: int) -> Mixer:
    inner = {"channels": config.channels, "heads": config.heads, "channels_in": config.channels_in}
    kind: Any
    kind, settings = resolve(Choice(config.of), dims=dims, size=config.size, causal=config.causal or None, **inner)
    if not issubclass(kind, ProjectedMixer):
        raise UsageError(f"the mixer {config.of!r} makes no queries and values", hint="wrap softmax or relative")
    mixer: Mixer = _tempered(kind)(settings)
    return mixer


@register("selective", dims=(1,), causal="optional", weights=True, steps="equal", cost="L^2", paper="arXiv:2411.12892")
class SelectiveMixer(Mixer):
    """A mechanism over a sequence or a set, with temperatures."""

    class Config(_SelectiveConfig):
        """of: the mechanism that is wrapped; causal: which of its forms."""

        size: tuple[int]

    @classmethod
    def make(cls, config: Config) -> Mixer:
        """What `of` names, with temperatures."""
        return _wrapped(config, 1)


@register("selective", dims=(2,), causal="no", weights=True, steps="no", cost="L^2", paper="arXiv:2411.12892")
class SelectiveMixer2d(Mixer):
    """A mechanism over a grid, with temperatures."""

    class Config(_SelectiveConfig):
        """of: the mechanism that is wrapped."""

        size: tuple[int, int]

    @classmethod
    def make(cls, config: Config) -> Mixer:
        """What `of` names, with temperatures."""
        return _wrapped(config, 2)
