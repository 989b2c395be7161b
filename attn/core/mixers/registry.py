"""Modules that mix tokens, and the registry that finds them by name.

One file in this folder is one mechanism. It registers its classes, and nothing else needs to know of it:

    @register("softmax", dims=(1,), causal=True, weights=True, steps=True, cost="L^2", paper="...")
    class SoftmaxMixer(Mixer):
        @dataclass(frozen=True, kw_only=True)
        class Config: ...

Causal mixers decode token by token: `cache = mixer.start(batch, length)`, then `mixer.step(x, cache)` for the next
tokens, be they a prompt or a single one. The steps together equal one `forward` over all tokens.

A mixer whose tokens lie on other axes too (time, pitch) says on how many in its class attribute `coordinates`;
its `forward` and `step` then take `coordinates`, integers (B, L, axes).

A mixer whose step is attention between two linear layers `qkv` and `out`, over all that its cache gives back, says so
in `steps_by_row`; `attn.core.blocks.one_token` then does one token faster than `step`.

Shapes: 1-D (B, L, C) -> (B, L, C); 2-D (B, H, W, C) -> (B, H, W, C); the input may have another width C0, the
Config's `channels_in`. Every mixer also takes other sizes than that it was made for.
"""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attn.core.attention.relative import Relative
from attn.core.errors import UsageError


class Mixer(nn.Module):
    """Base of all mixers: made from a `Config`, a dataclass in the class with only what the mixer uses."""

    Config: Any
    coordinates: int = 0
    steps_by_row: bool = False

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    def forward(self, x: Float[Tensor, "B *grid C0"]) -> Float[Tensor, "B *grid C"]:
        """Mix tokens; the grid stays."""
        raise NotImplementedError

    @property
    def row_relative(self) -> Relative | None:
        """What a mixer with `steps_by_row` adds to the products of a query with what its cache gives back."""
        return None

    def start(
        self, batch: int, length: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Any:
        """An empty cache for decoding up to `length` tokens; where the memory is constant, any number.

        Raises UsageError where the mechanism cannot decode step by step.
        """
        raise self._no_steps()

    def step(self, x_blc: Float[Tensor, "B L C0"], cache: Any) -> Float[Tensor, "B L C"]:
        """The next L >= 1 tokens: the last L rows of `forward` on all tokens so far.

        Raises UsageError where the mechanism cannot, AttnError when the cache is full.
        """
        raise self._no_steps()

    def _no_steps(self) -> UsageError:
        return UsageError(f"the mixer {type(self).__name__} cannot decode step by step", hint="see `attn mixers`")


@dataclass(frozen=True, slots=True)
class MixerInfo:
    """What a mixer can do.

    dims: token grids it takes; causal: has a causal form; weights: has softmax weights to record;
    steps: decodes step by step; cost: in tokens; paper: where it is from.
    """

    name: str
    dims: tuple[int, ...]
    causal: bool
    weights: bool
    steps: bool
    cost: str
    paper: str


M = TypeVar("M", bound=type[Mixer])
_registry: dict[tuple[str, int], tuple[MixerInfo, type[Mixer]]] = {}


def register(
    name: str, *, dims: tuple[int, ...], causal: bool, weights: bool, steps: bool, cost: str, paper: str
) -> Callable[[M], M]:
    """Class decorator: enter a mixer under a name, for token grids of these dimensions."""
    info = MixerInfo(name, dims, causal, weights, steps, cost, paper)

    def enter(mixer: M) -> M:
        for n in dims:
            _registry[name, n] = (info, mixer)
        return mixer

    return enter


def available() -> list[MixerInfo]:
    """All mixers, by name and dimensions."""
    _import_all()
    return sorted({info for info, _ in _registry.values()}, key=lambda info: (info.name, info.dims))


def create(
    name: str,
    *,
    dims: int,
    channels: int,
    heads: int,
    size: tuple[int, ...],
    channels_in: int | None = None,
    **options: Any,
) -> Mixer:
    """Make a mixer for token grids of `dims` dimensions, usually of this `size`.

    `channels_in` is the width of the input where it is not that of the output. The mixer's Config gets those
    of these common values that it has, and all `options`. Raises UsageError for a name that does not exist or
    not for `dims`, for an option the mixer lacks, and for values that do not fit.
    """
    _import_all()
    if (name, dims) not in _registry:
        raise UsageError(f"no mixer {name!r} for {dims}-D tokens", hint=f"those that are: {_names(dims)}")
    mixer = _registry[name, dims][1]
    known = {field.name for field in fields(mixer.Config)}
    common = {"channels": channels, "heads": heads, "size": size, "channels_in": channels_in or channels}
    if unknown := sorted(options.keys() - (known - common.keys())):
        own = ", ".join(sorted(known - common.keys())) or "none"
        raise UsageError(f"the mixer {name!r} has no option {', '.join(unknown)}", hint=f"its options: {own}")
    config = mixer.Config(**{key: value for key, value in common.items() if key in known}, **options)
    return mixer(config)


def require_heads(channels: int, heads: int) -> None:
    """Raise UsageError unless the channels split evenly into heads."""
    if heads < 1 or channels % heads:
        raise UsageError(f"{channels} channels cannot be split into {heads} heads")


def _import_all() -> None:
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        import_module(f"{__package__}.{module.name}")


def _names(dims: int) -> str:
    return ", ".join(sorted(name for name, n in _registry if n == dims)) or "none"
