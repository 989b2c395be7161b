"""Look inside attention, or step in, with no code in the models.

    with record(model) as seen:                      # seen["stages.3.blocks.0.mixer"] -> AttentionRecord
        model(x)
    with intervene(model, {"blocks.*.mixer": change}):   # change(weights) -> weights
        model(x)

A *site* is a module that passes itself to `attend(..., site=self)`; its name is its `named_modules()` name.
Watchers live in a context variable: they nest, and one thread does not see another's. A `torch.compile`d or
exported graph has no weight matrix to look at, so attention inside it is not watched.

Shapes: B batch, H heads, G any dimensions of windows, Lq queries, Lk keys, N tokens.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from attn.core.errors import AttnError

Change = Callable[[Tensor], Tensor]


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


class Records(dict[str, AttentionRecord]):
    """What was seen, by site name in order of the first pass; a missing name raises SiteError."""

    def __missing__(self, name: str) -> AttentionRecord:
        raise _no_such_site(name, self)


@dataclass(frozen=True, slots=True)
class _Watcher:
    """Sites of one model with the changes to make there, and where to put the records, if anywhere."""

    names: Mapping[nn.Module, str]
    changes: Mapping[str, Change] = field(default_factory=dict)
    records: Records | None = None
    passed: set[str] = field(default_factory=set)

    def changes_at(self, name: str) -> Iterator[Change]:
        return (change for pattern, change in self.changes.items() if fnmatchcase(name, pattern))


_watchers: ContextVar[tuple[_Watcher, ...]] = ContextVar("attn_watchers", default=())


@contextmanager
def record(model: nn.Module) -> Iterator[Records]:
    """Record the attention weights of every site in `model`, one AttentionRecord per site name.

    A site passed several times (shared modules, decoding) keeps its last pass; `passes` counts them.
    """
    records = Records()
    with _watching(_Watcher(_names(model), records=records)):
        yield records


@contextmanager
def intervene(model: nn.Module, changes: Mapping[str, Change]) -> Iterator[None]:
    """Replace attention weights: `changes` maps a site name or a glob to a function weights -> weights.

    The function gets weights (B, H, *G, Lq, Lk) in float32 and returns the same shape. Where several apply
    they run in order, the outer context first, and a `record` at any depth sees the weights used in the end.

    Raises SiteError at once if a name fits no module, and on leaving if no attention passed where it points:
    an intervention that does nothing is a mistake.
    """
    watcher = _Watcher(_names(model), changes=dict(changes))
    for pattern in changes:
        if not any(fnmatchcase(name, pattern) for name in watcher.names.values()):
            raise _no_such_site(pattern, watcher.names.values())
    with _watching(watcher):
        yield
    for pattern in changes:
        if not any(fnmatchcase(name, pattern) for name in watcher.passed):
            raise _no_such_site(pattern, sorted(watcher.passed))


def is_watched(site: nn.Module | None) -> bool:
    """Whether anyone watches this site now."""
    if site is None or torch.compiler.is_compiling():
        return False
    return any(site in watcher.names for watcher in _watchers.get())


def show(site: nn.Module, weights: Tensor, geometry: Geometry) -> Tensor:
    """Hand the weights of a watched site to all who watch; returns the weights to use."""
    here = [(watcher, watcher.names[site]) for watcher in _watchers.get() if site in watcher.names]
    for watcher, name in here:
        watcher.passed.add(name)
        for change in watcher.changes_at(name):
            changed = change(weights)
            if changed.shape != weights.shape:
                raise AttnError(
                    f"an intervention made {tuple(changed.shape)} of weights {tuple(weights.shape)}",
                    where=name,
                )
            weights = changed.to(weights.dtype)
    for watcher, name in here:
        if watcher.records is not None:
            before = watcher.records.get(name)
            passes = 1 if before is None else before.passes + 1
            watcher.records[name] = AttentionRecord(weights, *geometry, passes)
    return weights


@contextmanager
def _watching(watcher: _Watcher) -> Iterator[None]:
    token = _watchers.set((*_watchers.get(), watcher))
    try:
        yield
    finally:
        _watchers.reset(token)


def _names(model: nn.Module) -> dict[nn.Module, str]:
    return {module: name for name, module in model.named_modules()}


def _no_such_site(name: str, there: object) -> SiteError:
    names = ", ".join(map(repr, there)) or "none"  # type: ignore[call-overload]
    return SiteError(f"no attention at {name!r}", hint=f"sites here: {names}")
