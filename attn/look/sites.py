"""The heads of a model: where they are, what they are called, and what changes them.

A head is called LAYER.HEAD, as in 2.1; layers are the sites that attend, in the order of a pass, both from 0.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from attn.core.attention.watch import AttentionRecord, record
from attn.core.errors import InputError, UsageError
from attn.core.mixers.base import Mixer
from attn.look.probe import Batch, Probe

MOST_BYTES = 2**30  # of the weights of all layers, which are held at one time
NAMED = 12  # heads that a message names


class Head(NamedTuple):
    """A head, by the number of its layer and its own."""

    layer: int
    head: int

    def __str__(self) -> str:
        return f"{self.layer}.{self.head}"


@dataclass(frozen=True)
class Site:
    """A layer that attends: the name of its module, its heads, over what it attends, how often in a pass.

    tokens: how many there are, or the largest number of a query or key.
    """

    name: str
    heads: int
    over: str = "tokens"
    passes: int = 1
    tokens: int = 0

    @property
    def block(self) -> str:
        """The name of the block that the site is part of."""
        return self.name.rpartition(".")[0]


def find_sites(probe: Probe, batch: Batch) -> list[Site]:
    """The layers of a model that attend with weights, in the order of a pass."""

    def shape(seen: AttentionRecord) -> tuple[int, str, int, int]:
        return seen.weights.shape[1], seen.over, seen.passes, seen.n_tokens

    with record(probe.network, "*", keep=shape) as seen:
        probe.answer(batch)
    return [Site(name, *found) for name, found in seen.items()]


def fitting(probe: Probe, batches: Iterable[Batch]) -> list[Batch]:
    """The same examples in batches of which the weights of all layers take at most MOST_BYTES.

    Raises InputError for an example whose weights alone take more.
    """
    found = []
    for batch in batches:
        one = batch.parts(1)[0]
        with record(probe.network, "*", keep=lambda seen: seen.weights.nbytes * seen.passes) as seen:
            probe.answer(one)
        each = max(1, sum(seen.values()))
        if each > MOST_BYTES:
            what = f"is too large to look into: the weights of its layers take {each / 2**30:.1f} GiB"
            raise InputError(what, where=one.ids[0], hint=f"give less than {MOST_BYTES / 2**30:g} GiB, a smaller input")
        found += batch.parts(MOST_BYTES // each)
    return found


def mixers_of(probe: Probe) -> list[str]:
    """The names of all mixers, with weights or without."""
    return [name for name, module in probe.network.named_modules() if isinstance(module, Mixer)]


def all_heads(sites: Iterable[Site]) -> list[Head]:
    """Every head."""
    return [Head(layer, head) for layer, site in enumerate(sites) for head in range(site.heads)]


def head_named(text: str, sites: list[Site]) -> Head:
    """The head called LAYER.HEAD, or SITE.HEAD with the name of a module. Raises UsageError where there is none."""
    layer, _, head = text.rpartition(".")
    names = {site.name: number for number, site in enumerate(sites)} | {str(n): n for n in range(len(sites))}
    if layer in names and head.isascii() and head.isdigit() and len(head) < 6:
        found = Head(names[layer], int(head))
        if found.head < sites[found.layer].heads:
            return found
    heads = all_heads(sites)
    there = f"{', '.join(map(str, heads[:NAMED]))}{f', ... {heads[-1]}' if len(heads) > NAMED else ''}"
    raise UsageError(f"this model has no head {text[:40]!r}", hint=f"its heads are {there}" if heads else "it has none")


def scaled(factors: Mapping[Head, float], sites: list[Site]) -> dict[str, Callable[[Tensor], Tensor]]:
    """For `intervene(heads=)`: the outputs of these heads times their factors. 0 leaves a head out."""

    def change(of_layer: dict[int, float]) -> Callable[[Tensor], Tensor]:
        def times(z: Tensor) -> Tensor:
            factor_h = torch.ones(z.shape[1], dtype=z.dtype, device=z.device)
            for head, factor in of_layer.items():
                factor_h[head] = factor
            return z * factor_h.view(-1, *[1] * (z.dim() - 2))

        return times

    by_layer: dict[int, dict[int, float]] = {}
    for head, factor in factors.items():
        by_layer.setdefault(head.layer, {})[head.head] = factor
    return {sites[layer].name: change(of_layer) for layer, of_layer in by_layer.items()}
