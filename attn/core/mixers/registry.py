"""The registry that finds mixers by name.

One file in this folder is one mechanism. It registers its classes, and nothing else needs to know of it:

    @register("softmax", dims=(1,), causal="optional", weights=True, steps="equal", cost="L^2", paper="...")
    class SoftmaxMixer(ProjectedMixer):
        class Config(MixerConfig): ...

`tests/core/mixers/test_registry.py` tests every registered mixer by what it says of itself.
"""

import pkgutil
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from attn.core.errors import UsageError
from attn.core.mixers.base import Mixer, MixerConfig
from attn.core.mixers.choice import Choice, parse
from attn.core.settings import fault

Causal = Literal["no", "optional", "always"]
Steps = Literal["no", "equal", "close"]


@dataclass(frozen=True, slots=True)
class MixerInfo:
    """What a mixer can do.

    dims: token grids it takes; causal: whether a token may be, or always is, blind to what follows; weights: has
    weights to record; steps: decodes step by step, equal to a pass or close to it (then a pass may choose which tokens
    it compares by tokens that follow, though no gradient reaches them); cost: in tokens; paper: its source;
    square: takes square grids only; experimental: its numbers are not those of its paper; buffers: the names of what it
    stores beside its parameters, which training changes but no gradient does; short: values of its `option` that name
    the mechanism with that option.
    """

    name: str
    dims: tuple[int, ...]
    causal: Causal
    weights: bool
    steps: Steps
    cost: str
    paper: str
    square: bool = False
    experimental: bool = False
    buffers: tuple[str, ...] = ()
    option: str = ""
    short: tuple[str, ...] = ()

    @property
    def exponent(self) -> float:
        """The power of the tokens L that `cost` names, of square maps where the tokens lie on one."""
        named = re.match(r"L(?:\^([0-9.]+))?", self.cost)
        assert named is not None, self.cost
        return float(named[1] or 1)

    def has(self, causal: bool) -> bool:
        """Whether there is a causal form, or one that is not."""
        return self.causal != ("no" if causal else "always")


M = TypeVar("M", bound=type[Mixer])
_registry: dict[tuple[str, int], tuple[MixerInfo, type[Mixer]]] = {}


def register(
    name: str,
    *,
    dims: tuple[int, ...],
    causal: Causal,
    weights: bool,
    steps: Steps,
    cost: str,
    paper: str,
    square: bool = False,
    experimental: bool = False,
    buffers: tuple[str, ...] = (),
    option: str = "",
    short: tuple[str, ...] = (),
) -> Callable[[M], M]:
    """Class decorator: enter a mixer under a name, for token grids of these dimensions; see `MixerInfo`."""
    info = MixerInfo(name, dims, causal, weights, steps, cost, paper, square, experimental, buffers, option, short)

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
    mixer: str | Choice,
    *,
    dims: int,
    channels: int,
    heads: int,
    size: tuple[int, ...],
    channels_in: int | None = None,
    causal: bool | None = None,
    **options: Any,
) -> Mixer:
    """Make a mixer for token grids of `dims` dimensions, usually of this `size`.

    mixer: as in "halo:block=4", or parsed already; `options` come on top. channels_in: the width of the input where it
    is not that of the output. causal: True if no token may see the tokens that follow, False if every token must, None
    if either will do. Raises UsageError for a name that does not exist for `dims` or lacks the form asked for, for an
    option that the mixer lacks, and for values that do not fit.
    """
    choice = parse(mixer) if isinstance(mixer, str) else mixer
    common = {"channels": channels, "heads": heads, "size": size, "channels_in": channels_in or channels}
    kind, config = resolve(Choice(choice.name, {**choice.options, **options}), dims=dims, causal=causal, **common)
    made = kind.make(config)
    if causal is not None and made.causal != causal:  # what a mechanism wraps may have one form alone
        raise _lacks_form(str(choice), dims, causal)
    return made


def resolve(choice: Choice, *, dims: int, causal: bool | None, **common: Any) -> tuple[type[Mixer], MixerConfig]:
    """The class and the configuration that `create` makes a mixer of; see there."""
    _import_all()
    name, options = _in_full(choice, dims)
    if (name, dims) not in _registry:
        raise UsageError(f"no mixer {name!r} for {dims}-D tokens", hint=f"mixers that fit: {_names(dims, causal)}")
    info, kind = _registry[name, dims]
    if causal is not None and not info.has(causal):
        raise _lacks_form(name, dims, causal)
    known = kind.Config.model_fields.keys()
    common["causal"] = bool(causal)
    if unknown := sorted(options.keys() - (known - common.keys())):
        own = ", ".join(sorted(known - common.keys())) or "it has no options"
        raise UsageError(f"the mixer {name!r} has no option {', '.join(unknown)}", hint=f"its options: {own}")
    try:
        return kind, kind.Config(**{key: value for key, value in common.items() if key in known}, **options)
    except ValidationError as error:
        raise UsageError(f"the mixer {name!r}: {fault(error)}") from error


def _in_full(choice: Choice, dims: int) -> Choice:
    """The mechanism and the option that a short name stands for."""
    for (name, n), (info, _) in _registry.items():
        if n == dims and choice.name in info.short:
            if info.option in choice.options:
                meant = f"{name}:{info.option}={choice.name}"
                raise UsageError(f"{choice.name!r} is {meant}", hint=f"leave {info.option} out")
            return Choice(name, {info.option: choice.name, **choice.options})
    return choice


def _lacks_form(name: str, dims: int, causal: bool) -> UsageError:
    lacks = "lets tokens see what follows" if causal else "hides from tokens what follows"
    return UsageError(f"the mixer {name!r} {lacks}", hint=f"mixers that fit: {_names(dims, causal)}")


def _import_all() -> None:
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        import_module(f"{__package__}.{module.name}")


def _names(dims: int, causal: bool | None) -> str:
    fitting = (name for (name, n), (info, _) in _registry.items() if n == dims and (causal is None or info.has(causal)))
    return ", ".join(sorted(fitting)) or "there are no such mixers"
