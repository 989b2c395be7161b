"""Look inside a model, or step in, with no code in the models.

    with record(model) as seen:                                   # attention weights of every site
        model(x)
    seen["stages.3.0.mixer"].dense(n_tokens)

    with record(model, heads="blocks.*", outputs="blocks.*.mlp") as seen:
        model(x)
    seen.heads["blocks.0.mixer"], seen.outputs["blocks.0.mlp"]

    with intervene(model, {"blocks.*.mixer": change}, outputs={"blocks.2.mlp": steer}):
        model(x)

Three kinds of things can be seen and changed, each under the name of a module in `named_modules()`:

    weights   of a *site*, a module that attends; shown as an AttentionRecord
    heads     what each head of a site gives, (B, H, *G, Lq, Dv), before heads are merged and projected
    outputs   what any module returns: hidden states, MLPs, queries and keys, gates

Watchers live in a context variable: they nest, and one thread does not see another's. A `torch.compile`d or
exported graph is not watched. While a model is watched its blocks take no short cut (`is_watched`).

Shapes: B batch, H heads, G any dimensions of windows, Lq queries, Lk keys, N tokens, Dv width of a head.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from attn.core.errors import AttnError

WEIGHTS, HEADS, OUTPUTS = "weights", "heads", "outputs"
Change = Callable[[Any], Any]
Globs = str | tuple[str, ...]


class SiteError(AttnError, KeyError):
    """A site that is not there; the message lists those that are."""


class Geometry(NamedTuple):
    """Which token each query and each key is.

    Integer tensors that broadcast against (B, H, *G, Lq) and (B, H, *G, Lk); -1 marks padding.
    """

    query_positions: Tensor
    key_positions: Tensor


@dataclass(frozen=True, slots=True)
class AttentionRecord:
    """The weights of one site, after interventions and before dropout, and the token of each query and key.

    weights: (B, H, *G, Lq, Lk), float32 (float64 for float64 inputs), in the autograd graph if there is one.
    query_positions, key_positions: see `Geometry`.
    passes: how often the site was passed; the record is that of the last pass.
    """

    weights: Float[Tensor, "... Lq Lk"]
    query_positions: Int[Tensor, "..."]
    key_positions: Int[Tensor, "..."]
    passes: int = 1

    @property
    def is_itself(self) -> Tensor:
        """True where query and key are the same token; broadcastable to the weights."""
        return self.query_positions[..., :, None] == self.key_positions[..., None, :]

    def dense(self, n_tokens: int) -> Float[Tensor, "B H N N"]:
        """The weights as one (B, H, N, N) matrix; what a query does not see is 0, and padding is left out.

        A row sums to 1 unless the mechanism gave weight to padding. Raises AttnError if a position is not
        below `n_tokens`.
        """
        largest = int(max(self.query_positions.max(), self.key_positions.max()))
        if largest >= n_tokens:
            raise AttnError(f"the record has a token number {largest}, too large for {n_tokens} tokens")
        weights = self.weights
        batch, heads = weights.shape[:2]
        # Padding goes to one row and one column more, which are cut off at the end.
        rows = self.query_positions.where(self.query_positions >= 0, n_tokens).unsqueeze(-1)
        columns = self.key_positions.where(self.key_positions >= 0, n_tokens).unsqueeze(-2)
        cells = (rows * (n_tokens + 1) + columns).expand(weights.shape).reshape(batch, heads, -1)
        flat = weights.new_zeros(batch, heads, (n_tokens + 1) ** 2)
        flat = flat.scatter_add(-1, cells, weights.reshape(batch, heads, -1))
        return flat.view(batch, heads, n_tokens + 1, n_tokens + 1)[..., :n_tokens, :n_tokens]


class _Named(dict[str, Any]):
    def __missing__(self, name: str) -> Any:
        raise _no_such_site(name, self)


class Records(_Named):
    """What was seen, by name in order of the first pass: weights by themselves, `heads` and `outputs` beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.heads, self.outputs = _Named(), _Named()


@dataclass(frozen=True, slots=True)
class _Watcher:
    """What to record of one model and what to change, by kind and glob."""

    names: Mapping[nn.Module, str]
    wanted: Mapping[str, Globs] = field(default_factory=dict)
    changes: Mapping[str, Mapping[str, Change]] = field(default_factory=dict)
    keep: Change = lambda seen: seen
    records: Records = field(default_factory=Records)
    passed: set[tuple[str, str]] = field(default_factory=set)

    def changed(self, kind: str, name: str, x: Any, shown: Change) -> Any:
        """`x` after all changes; a change is given what `shown` makes of it."""
        self.passed.add((kind, name))
        for glob, change in self.changes.get(kind, {}).items():
            if fnmatchcase(name, glob):
                x = _same_shape(change(shown(x)), x, name)
        return x

    def note(self, kind: str, name: str, seen: Any) -> None:
        if _fits(name, self.wanted.get(kind, ())):
            into = self.records if kind == WEIGHTS else getattr(self.records, kind)
            if kind == WEIGHTS and name in into and isinstance(seen, AttentionRecord):
                object.__setattr__(seen, "passes", getattr(into[name], "passes", 0) + 1)
            into[name] = self.keep(seen)


_watchers: ContextVar[tuple[_Watcher, ...]] = ContextVar("attn_watchers", default=())


@contextmanager
def record(
    model: nn.Module,
    weights: Globs = "*",
    *,
    heads: Globs = (),
    outputs: Globs = (),
    keep: Change = lambda seen: seen,
) -> Iterator[Records]:
    """Record what passes the modules of `model` that the globs name, the last pass of each.

    keep: what to keep of it, made at once, so that a long sequence leaves no weight matrix behind
    (`lambda seen: seen.weights[..., -1, :].mean(1)`).
    """
    watcher = _Watcher(_names(model), {WEIGHTS: weights, HEADS: heads, OUTPUTS: outputs}, keep=keep)
    with _watching(watcher):
        yield watcher.records


@contextmanager
def intervene(
    model: nn.Module,
    weights: Mapping[str, Change] | None = None,
    *,
    heads: Mapping[str, Change] | None = None,
    outputs: Mapping[str, Change] | None = None,
) -> Iterator[None]:
    """Replace what passes: each maps a name or a glob to a function that returns another of the same shape.

    A function for `weights` is given an AttentionRecord and returns weights; one for `heads` and `outputs` is given the
    tensor. Where several apply they run in order, the outer context first, and a `record` at any depth sees what is
    used in the end.

    Raises SiteError at once if a name fits no module, and on leaving if nothing passed where it points: an
    intervention that does nothing is a mistake.
    """
    changes = {WEIGHTS: weights or {}, HEADS: heads or {}, OUTPUTS: outputs or {}}
    watcher = _Watcher(_names(model), changes=changes)
    globs = [(kind, glob) for kind, by_glob in changes.items() for glob in by_glob]
    for _, glob in globs:
        if not any(fnmatchcase(name, glob) for name in watcher.names.values()):
            raise _no_such_site(glob, watcher.names.values())
    with _watching(watcher):
        yield
    for kind, glob in globs:
        if not any(kind == passed and fnmatchcase(name, glob) for passed, name in watcher.passed):
            raise _no_such_site(glob, sorted(name for passed, name in watcher.passed if passed == kind))


def is_watched(module: nn.Module) -> bool:
    """Whether anyone watches the model that this module belongs to; then it may take no short cut."""
    return not torch.compiler.is_compiling() and any(module in watcher.names for watcher in _watchers.get())


def show(site: nn.Module, kind: str, x: Tensor, geometry: Geometry) -> Tensor:
    """Hand weights or heads of a site to all who watch; returns those to use."""
    here = [(watcher, watcher.names[site]) for watcher in _watchers.get() if site in watcher.names]

    def shown(x: Tensor) -> Any:
        return AttentionRecord(x, *geometry) if kind == WEIGHTS else x

    for watcher, name in here:
        x = watcher.changed(kind, name, x, shown)
    for watcher, name in here:
        watcher.note(kind, name, shown(x))
    return x


@contextmanager
def _watching(watcher: _Watcher) -> Iterator[None]:
    """Weights and heads are shown by `mix`; outputs by hooks, which look at nothing of other threads."""
    globs = (*_tuple(watcher.wanted.get(OUTPUTS, ())), *watcher.changes.get(OUTPUTS, {}))

    def hook(module: nn.Module, _: Any, out: Any) -> Any:
        if watcher in _watchers.get() and not torch.compiler.is_compiling():
            name = watcher.names[module]
            out = watcher.changed(OUTPUTS, name, out, lambda out: out)
            watcher.note(OUTPUTS, name, out)
        return out

    with ExitStack() as hooks:
        for module, name in watcher.names.items():
            if _fits(name, globs):
                hooks.callback(module.register_forward_hook(hook).remove)
        token = _watchers.set((*_watchers.get(), watcher))
        try:
            yield
        finally:
            _watchers.reset(token)


def _same_shape(changed: Any, x: Any, name: str) -> Any:
    if isinstance(x, Tensor) and changed.shape != x.shape:
        raise AttnError(f"an intervention made {tuple(changed.shape)} of {tuple(x.shape)}", where=name)
    return changed.to(x.dtype) if isinstance(x, Tensor) else changed


def _fits(name: str, globs: Globs) -> bool:
    return any(fnmatchcase(name, glob) for glob in _tuple(globs))


def _tuple(globs: Globs) -> tuple[str, ...]:
    return (globs,) if isinstance(globs, str) else tuple(globs)


def _names(model: nn.Module) -> dict[nn.Module, str]:
    return {module: name for name, module in model.named_modules()}


def _no_such_site(name: str, there: object) -> SiteError:
    names = ", ".join(map(repr, there)) or "none"  # type: ignore[call-overload]
    return SiteError(f"nothing passed at {name!r}", hint=f"sites here: {names}")
