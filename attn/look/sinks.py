"""Tokens into which attention drains, and what makes them (Secondary Attention Sinks, arXiv:2512.22213).

A token is a *primary* sink where a head of a layer gives it at least SCORE of all attention (Gu et al. 2024,
arXiv:2410.10781, section 3.2), and three times the even share. It lives from the layer where its norm, over the median
of all tokens, jumps most, to the layer where it drops most. Within that span a token is a *secondary* sink whose hidden
state is parallel to the primary's (|cos| > PARALLEL), and which gets three times the even share. Its level is the layer
of its birth with its lifetime. The paper's bounds of lifetimes, 4 and L - 15 layers of 48, are for deep networks; here
they are shares of the depth. One that lives as long as 0.7 of the depth is like a primary one.

Shapes: B examples, H heads, N tokens, L layers, C channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from attn.core.attention.watch import record
from attn.look.heads import received, squared
from attn.look.layout import Layout
from attn.look.probe import Batch, Probe
from attn.look.sites import Site

SCORE = 0.3  # of all attention
TIMES_EVEN = 3.0
PARALLEL = 0.9  # cosine of two hidden states
SHORTEST, LONGEST = 1 / 12, 0.7  # of the depth
FEWEST = 0.1  # of the queries, that must be able to see a secondary sink
MOST_EXAMPLES = 8


@dataclass(frozen=True, eq=False)
class Stack:
    """Layers one after another over the same tokens."""

    sites: tuple[Site, ...]
    layout: Layout

    @property
    def blocks(self) -> tuple[str, ...]:
        """The names of the blocks."""
        return tuple(site.block for site in self.sites)


@dataclass(frozen=True, eq=False)
class Sink:
    """A token of an example that is a sink: its kind, the layer of its birth, how many layers it lives, who made it.

    score: the largest share of attention that a head gives it. norm: over the median of all tokens, at its birth.
    by_mlp, by_attention: what either adds along the token's hidden state in the layer of its birth.
    """

    example: str
    token: int
    name: str
    kind: str
    layer: int
    lifetime: int
    score: float
    norm: float
    made_by: str
    by_mlp: float
    by_attention: float

    def row(self) -> dict[str, Any]:
        """As a row of the report."""
        level = f"layer {self.layer}, {self.lifetime} long"
        return {"input": self.example, "token": self.name, "kind": self.kind, "layer": self.layer,
                "lifetime": self.lifetime, "level": level, "score": self.score, "norm": self.norm,
                "made_by": self.made_by, "by_mlp": self.by_mlp, "by_attention": self.by_attention}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Seen:
    """What a pass showed of a stack: hidden states, the shares of attention of each token, and who wrote what.

    hidden, mlp, attention: after each block, (L, B, N, C). score: the largest of the heads, (L, B, N). even: what a
    token gets from even attention, (N).
    """

    hidden: Float[Tensor, "L B N C"]
    mlp: list[Tensor | None]
    attention: list[Tensor | None]
    score: Float[Tensor, "L B N"]
    early: Float[Tensor, "L B N"]


def stacks_of(batch: Batch, sites: Sequence[Site]) -> list[Stack]:
    """The stacks of a model: layers whose tokens are the same."""
    found: list[tuple[list[Site], Layout]] = []
    for site in sites:
        layout = batch.layout(site.name, site.tokens)
        if layout is None or site.over != "tokens":
            continue
        same = next((each for each in found if each[1] is layout), None)
        if same is None:
            found.append(([site], layout))
        else:
            same[0].append(site)
    return [Stack(tuple(of_layout), layout) for of_layout, layout in found]


def watch_stack(probe: Probe, batch: Batch, stack: Stack) -> Seen:
    """One pass in which a stack is watched."""
    names = stack.blocks
    wanted = (*names, *(f"{name}.mlp" for name in names), *(site.name for site in stack.sites))
    with record(probe.network, tuple(site.name for site in stack.sites), outputs=wanted) as seen:
        probe.answer(batch)
    n, examples = len(stack.layout.tokens), len(batch.ids)
    scores, early = [], []
    for site in stack.sites:
        square = squared(seen[site.name], batch, site.name)
        assert square is not None, "a stack has a layout"
        scores.append(received(square[0]).amax(1))
        early.append(received(square[0], FEWEST).amax(1))

    def written(name: str) -> Tensor | None:
        return as_tokens(seen.outputs[name], n, examples) if name in seen.outputs else None

    return Seen(
        torch.stack([as_tokens(seen.outputs[name], n, examples, channels_first=True) for name in names]),
        [written(f"{name}.mlp") for name in names],
        [written(site.name) for site in stack.sites],
        torch.stack(scores),
        torch.stack(early),
    )


def as_tokens(x: Tensor, n: int, examples: int, *, channels_first: bool = False) -> Float[Tensor, "B N C"]:
    """What a module returned, as tokens: a map of a block has its channels first, one of a layer in a block last."""
    if x.dim() == 4:
        x = x.flatten(2).transpose(1, 2) if channels_first else x.flatten(1, 2)
    return x[:examples, -n:].double()


def find_sinks(seen: Seen, stack: Stack, ids: Sequence[str]) -> list[Sink]:
    """The sinks of each example, the primary one first. An empty list is an answer."""
    depth, examples, n, _ = seen.hidden.shape
    norm_lbn = seen.hidden.norm(dim=-1)
    norm_lbn = norm_lbn / norm_lbn.median(-1, keepdim=True).values.clamp(min=1e-12)
    even = 1 / n
    found: list[Sink] = []

    def sink(kind: str, b: int, token: int, layer: int, lifetime: int, score: Tensor) -> Sink:
        along = seen.hidden[layer, b, token]
        along = along / along.norm().clamp(min=1e-12)
        mlp, attention = (
            0.0 if each[layer] is None else float(each[layer][b, token] @ along)  # type: ignore[index]
            for each in (seen.mlp, seen.attention)
        )
        by = f"{stack.blocks[layer]}.mlp" if mlp > attention else stack.sites[layer].name
        norm = float(norm_lbn[layer, b, token])
        name = stack.layout.tokens[token]
        return Sink(ids[b], token, name, kind, layer, lifetime, float(score), norm, by, mlp, attention)

    for b in range(min(examples, MOST_EXAMPLES)):
        best_n = seen.score[:, b].amax(0)
        first = int(best_n.argmax())
        if n < 2 or best_n[first] < max(SCORE, min(0.9, TIMES_EVEN * even)):
            continue
        born, end = span(norm_lbn[:, b, first])
        found.append(sink("primary", b, first, born, end - born, best_n[first]))
        cosine_ln = torch.nn.functional.cosine_similarity(
            seen.hidden[:, b], seen.hidden[:, b, first : first + 1], dim=-1
        ).abs()
        parallel_ln = cosine_ln > PARALLEL
        for token in range(n):
            birth, lifetime = longest_run(parallel_ln[born:end, token].tolist())
            if token == first or lifetime <= SHORTEST * depth:
                continue
            layer = born + birth
            score = seen.early[layer : layer + lifetime + 1, b, token].max()  # the next layer's attention reads it
            if score < TIMES_EVEN * even:
                continue
            kind = "like a primary" if lifetime >= LONGEST * depth else "secondary"
            found.append(sink(kind, b, token, layer, lifetime, score))
    return found


def span(norm_l: Float[Tensor, " L"]) -> tuple[int, int]:
    """Where a norm over the median jumps most, and after it the layer where it drops most, or the depth if never."""
    change_l = torch.diff(norm_l, prepend=norm_l.new_ones(1))
    born = int(change_l.argmax())
    after_l = change_l[born + 1 :]
    if len(after_l) and float(after_l.min()) < -0.5 * float(change_l[born]):
        return born, born + 1 + int(after_l.argmin())
    return born, len(norm_l)


def longest_run(flags: Sequence[bool]) -> tuple[int, int]:
    """Where the longest run of True begins, and its length."""
    best, start = (0, 0), 0
    for place, flag in enumerate([*flags, False]):
        if flag:
            continue
        if place - start > best[1]:
            best = (start, place - start)
        start = place + 1
    return best
