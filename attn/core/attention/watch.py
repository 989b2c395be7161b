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
    heads     the output of each head of a site, (B, H, *G, Lq, Dv), before heads are merged and projected
    outputs   what any module returns: hidden states, MLPs, queries and keys, gates
    inputs    the first thing that any module is given; it is recorded, and changed as the output of the module before

Watchers live in a context variable: they nest, and one thread does not see another's. A graph that is being compiled or
exported is not watched. While a model is watched its blocks take no short cut (`is_watched`), and a decoding step shows
the same modules as a pass.

Shapes: B batch, H heads, G any dimensions of windows, Lq queries, Lk keys, N tokens, Dv width of a head.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from attn.core.errors import AttnError

WEIGHTS, HEADS, OUTPUTS, INPUTS = "weights", "heads", "outputs", "inputs"
NEAREST = 5  # sites that a message names
Change = Callable[[Any], Any]
Globs = str | tuple[str, ...]


class SiteError(AttnError, KeyError):
    """Nothing passed at the site; the message names sites where something did."""


class Geometry(NamedTuple):
    """Which token each query and each key is.

    Integer tensors that broadcast against (B, H, *G, Lq) and (B, H, *G, Lk); -1 marks padding.
    over: what is attended over; positions are the numbers of channels or regions where it is not tokens.
    """

    query_positions: Tensor
    key_positions: Tensor
    over: Literal["tokens", "channels", "regions"] = "tokens"


@dataclass(frozen=True, slots=True)
class AttentionRecord:
    """The weights of one site, after interventions and before dropout, and the token of each query and key.

    weights: (B, H, *G, Lq, Lk), float32 (float64 for float64 inputs), in the autograd graph if there is one.
    query_positions, key_positions, over: see `Geometry`.
    passes: how often the site was passed so far; this record is of the last pass.
    """

    weights: Float[Tensor, "... Lq Lk"]
    query_positions: Int[Tensor, "..."]
    key_positions: Int[Tensor, "..."]
    over: str = "tokens"
    passes: int = 1

    @property
    def is_itself(self) -> Tensor:
        """True where query and key are the same token; broadcastable to the weights."""
        return self.query_positions[..., :, None] == self.key_positions[..., None, :]

    @property
    def n_tokens(self) -> int:
        """The fewest tokens that all positions fit into."""
        return 1 + int(max(self.query_positions.max(), self.key_positions.max()))

    def dense(self, n_tokens: int) -> Float[Tensor, "B H N N"]:
        """The weights as one (B, H, N, N) matrix; what a query does not see is 0, and padding is left out.

        A token that is a query several times (in several clusters) gets the mean of its rows, so that a row sums to 1
        unless the mechanism gave weight to padding. Raises AttnError if a position is not below `n_tokens`.
        """
        if self.n_tokens > n_tokens:
            raise AttnError(f"the record has a token number {self.n_tokens - 1}, too large for {n_tokens} tokens")
        batch, heads, *grid, queries, _ = self.weights.shape
        # Padding goes to one row and one column more, which are cut off at the end.
        rows = self.query_positions.where(self.query_positions >= 0, n_tokens)
        columns = self.key_positions.where(self.key_positions >= 0, n_tokens)
        cells = rows[..., :, None] * (n_tokens + 1) + columns[..., None, :]
        flat = self.weights.new_zeros(batch, heads, (n_tokens + 1) ** 2)
        flat = flat.scatter_add(-1, _flat(cells, self.weights), self.weights.reshape(batch, heads, -1))
        often = self.weights.new_zeros(batch, heads, n_tokens + 1)
        slots = self.weights.new_ones(()).expand(batch, heads, *grid, queries)
        often = often.scatter_add(-1, _flat(rows, slots), slots.reshape(batch, heads, -1))
        square = flat.view(batch, heads, n_tokens + 1, n_tokens + 1) / often.clamp(min=1)[..., None]
        return square[..., :n_tokens, :n_tokens]

    def mean_over_heads(self) -> "AttentionRecord":
        """The same record with one head, the mean of all: what `keep` wants of a long sequence."""
        if self.query_positions.dim() >= self.weights.dim() - 1 and self.query_positions.shape[1] > 1:
            raise AttnError("each head has its own tokens: their weights have no mean")
        return replace(self, weights=self.weights.mean(1, keepdim=True))


def _flat(index: Tensor, like: Tensor) -> Tensor:
    """An index that broadcasts against `like` (B, H, ...), as (B, H, rest) without a copy for each example and head."""
    index = index[(None,) * (like.dim() - index.dim())]
    index = index.expand(*index.shape[:2], *like.shape[2:]).flatten(2)
    return index.expand(*like.shape[:2], -1)


class _Named(dict[str, Any]):
    def __missing__(self, name: str) -> Any:
        raise _no_such_site(name, self)


class Records(_Named):
    """What was seen, by name in order of the first pass: weights are the items, the other kinds attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.heads, self.outputs, self.inputs = _Named(), _Named(), _Named()


@dataclass(frozen=True, slots=True)
class _Watcher:
    """What to record of one model and what to change, by kind and glob."""

    names: Mapping[nn.Module, str]
    wanted: Mapping[str, Globs] = field(default_factory=dict)
    changes: Mapping[str, Mapping[str, Change]] = field(default_factory=dict)
    keep: Change = lambda seen: seen
    records: Records = field(default_factory=Records)
    passes: Counter[tuple[str, str]] = field(default_factory=Counter)

    def changed(self, kind: str, name: str, x: Any, shown: Change) -> Any:
        """`x` after all changes; a change is given what `shown` makes of it."""
        self.passes[kind, name] += 1
        for glob, change in self.changes.get(kind, {}).items():
            if fnmatchcase(name, glob):
                x = _same_shape(change(shown(x)), x, name)
        return x

    def note(self, kind: str, name: str, seen: Any) -> None:
        if _fits(name, self.wanted.get(kind, ())):
            into = self.records if kind == WEIGHTS else getattr(self.records, kind)
            into[name] = self.keep(seen)


_watchers: ContextVar[tuple[_Watcher, ...]] = ContextVar("attn_watchers", default=())


@contextmanager
def record(
    model: nn.Module,
    weights: Globs = "*",
    *,
    heads: Globs = (),
    outputs: Globs = (),
    inputs: Globs = (),
    keep: Change = lambda seen: seen,
) -> Iterator[Records]:
    """Record what passes the modules of `model` that the globs name, the last pass of each.

    keep: makes what is stored of an AttentionRecord or tensor, at once, so that a long sequence leaves no weight
    matrix behind (`lambda seen: seen.weights[..., -1, :].mean(1)`).
    """
    watcher = _Watcher(_names(model), {WEIGHTS: weights, HEADS: heads, OUTPUTS: outputs, INPUTS: inputs}, keep=keep)
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
        if not any(kind == passed and fnmatchcase(name, glob) for passed, name in watcher.passes):
            raise _no_such_site(glob, sorted(name for passed, name in watcher.passes if passed == kind))


def is_watched(module: nn.Module) -> bool:
    """Whether anyone watches the model that this module belongs to; then it may take no short cut."""
    return not torch.compiler.is_compiling() and any(module in watcher.names for watcher in _watchers.get())


def show(site: nn.Module, kind: str, x: Tensor, geometry: Geometry) -> Tensor:
    """Hand weights or heads of a site to all who watch; returns those to use."""
    if torch.compiler.is_compiling():
        return x
    here = [(watcher, watcher.names[site]) for watcher in _watchers.get() if site in watcher.names]
    for watcher, name in here:
        x = watcher.changed(kind, name, x, lambda x: AttentionRecord(x, *geometry) if kind == WEIGHTS else x)
    for watcher, name in here:
        passes = watcher.passes[kind, name]
        watcher.note(kind, name, AttentionRecord(x, *geometry, passes=passes) if kind == WEIGHTS else x)
    return x


@contextmanager
def _watching(watcher: _Watcher) -> Iterator[None]:
    """Weights and heads are shown by `mix`; the rest by hooks, which ignore the passes of other threads."""
    globs = (*_tuple(watcher.wanted.get(OUTPUTS, ())), *watcher.changes.get(OUTPUTS, {}))

    def watched(module: nn.Module) -> bool:
        # A copy of a watched model brings the hooks along, and nobody watches the copy.
        return watcher in _watchers.get() and module in watcher.names and not torch.compiler.is_compiling()

    def before(module: nn.Module, given: Any) -> None:
        if watched(module):
            watcher.note(INPUTS, watcher.names[module], given[0])

    def hook(module: nn.Module, _: Any, out: Any) -> Any:
        if watched(module):
            name = watcher.names[module]
            out = watcher.changed(OUTPUTS, name, out, lambda out: out)
            watcher.note(OUTPUTS, name, out)
        return out

    with ExitStack() as hooks:
        for module, name in watcher.names.items():
            if _fits(name, globs):
                hooks.callback(module.register_forward_hook(hook).remove)
            if _fits(name, watcher.wanted.get(INPUTS, ())):
                hooks.callback(module.register_forward_pre_hook(before).remove)
        token = _watchers.set((*_watchers.get(), watcher))
        try:
            yield
        finally:
            _watchers.reset(token)


def _same_shape(changed: Any, x: Any, name: str) -> Any:
    if isinstance(x, Tensor) and not isinstance(changed, Tensor):
        raise AttnError(f"an intervention returned {type(changed).__name__}, not a tensor", where=name)
    if isinstance(x, Tensor) and changed.shape != x.shape:
        raise AttnError(f"an intervention made {tuple(changed.shape)} of {tuple(x.shape)}", where=name)
    return changed.to(x.dtype) if isinstance(x, Tensor) else changed


def _fits(name: str, globs: Globs) -> bool:
    return any(fnmatchcase(name, glob) for glob in _tuple(globs))


def _tuple(globs: Globs) -> tuple[str, ...]:
    return (globs,) if isinstance(globs, str) else tuple(globs)


def _names(model: nn.Module) -> dict[nn.Module, str]:
    return {module: name for name, module in model.named_modules()}


def _no_such_site(name: str, there: Iterable[str]) -> SiteError:
    """The sites that are there, or of many those whose names are most like `name`."""
    names = [*there]
    if len(names) <= NEAREST:
        hint = f"sites here: {', '.join(map(repr, names)) or 'no site'}"
    else:
        nearest = get_close_matches(name, names, NEAREST, cutoff=0)
        hint = f"the nearest of {len(names)} sites: {', '.join(map(repr, nearest))}"
    return SiteError(f"nothing passed at {name!r}", hint=hint)
