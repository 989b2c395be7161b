"""Tokens into which attention drains, and what makes them (Secondary Attention Sinks, arXiv:2512.22213).

A token is a *primary* sink where a head of a layer gives it at least SCORE of all attention (Gu et al. 2024,
arXiv:2410.10781, section 3.2), and three times the even share. It is born where its norm, over the median of all
tokens, jumps most before that layer reads it, and lives until its norm drops most. Within that span a token is a
*secondary* sink whose hidden state is parallel to the primary's (|cos| > PARALLEL) while most tokens' are not, and
which gets three times the even share. Its level is the layer of its birth with its lifetime, the layers that read it.
The paper's bounds of lifetimes, 4 and L - 15 layers of 48, are for deep networks; here they are shares of the depth.
One that lives as long as 0.7 of the depth is like a primary one. Below SHALLOWEST layers there are no levels.

A *state* is what a layer reads: state 0 is what the first layer is given, state l what block l - 1 returns.

Shapes: B examples, H heads, N tokens, L layers, C channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from attn.core.attention.watch import record
from attn.look.heads import MOST_DENSE, received, squared
from attn.look.layout import Layout
from attn.look.probe import Batch, Probe
from attn.look.sites import Site

SCORE = 0.3  # of all attention
TIMES_EVEN = 3.0
PARALLEL = 0.9  # cosine of two hidden states
SHORTEST, LONGEST = 1 / 12, 0.7  # of the depth
SHALLOWEST = 3  # layers, in which lifetimes can differ
FEWEST = 0.1  # of the queries, that must be able to see a secondary sink
MOST_EXAMPLES = 8  # of a batch in which sinks are looked for


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
    """A token of an example that is a sink: its kind, the layer of its birth, how many layers read it, who made it.

    layer: the block that made it; -1 is what the first block is given.
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
        level = f"{'input' if self.layer < 0 else f'layer {self.layer}'}, {self.lifetime} long"
        return {"input": self.example, "token": self.name, "kind": self.kind, "layer": self.layer,
                "lifetime": self.lifetime, "level": level, "score": self.score, "norm": self.norm,
                "made_by": self.made_by, "by_mlp": self.by_mlp, "by_attention": self.by_attention}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Seen:
    """What a pass showed of a stack: states, who wrote what, and the share of attention of each token.

    states: (B, N, C) that each layer reads, and the last one; the first is None where it has other tokens. mlp,
    attention: what they wrote in each block. score: the largest share of all heads that a token gets in each layer;
    early: the same, also for tokens that few queries may see.
    """

    states: list[Tensor | None]
    mlp: list[Tensor | None]
    attention: list[Tensor | None]
    score: Float[Tensor, "L B N"]
    early: Float[Tensor, "L B N"]


def stacks_of(batch: Batch, sites: Sequence[Site]) -> list[Stack]:
    """The stacks of a model: layers whose tokens are the same."""
    found: list[tuple[list[Site], Layout]] = []
    for site in sites:
        layout = batch.layout(site.name, site.tokens)
        if layout is None or site.over != "tokens" or site.tokens > MOST_DENSE:
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
    with record(probe.network, tuple(s.name for s in stack.sites), outputs=wanted, inputs=names[:1]) as seen:
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

    first = as_tokens(seen.inputs[names[0]], n, examples, channels_first=True)
    after = [as_tokens(seen.outputs[name], n, examples, channels_first=True) for name in names]
    return Seen(
        [first, *after],
        [written(f"{name}.mlp") for name in names],
        [written(site.name) for site in stack.sites],
        torch.stack(scores),
        torch.stack(early),
    )


def as_tokens(x: Tensor, n: int, examples: int, *, channels_first: bool = False) -> Float[Tensor, "B N C"] | None:
    """What a module returned, as tokens: a map of a block has its channels first, one of a layer in a block last.

    None where there are fewer tokens, or a map of another size.
    """
    if x.dim() == 4:
        x = x.flatten(2).transpose(1, 2) if channels_first else x.flatten(1, 2)
        if x.shape[1] != n:
            return None
    return x[:examples, -n:].cpu().double() if x.shape[1] >= n else None


def find_sinks(seen: Seen, stack: Stack, ids: Sequence[str]) -> list[Sink]:
    """The sinks of each example, the primary one first. An empty list is an answer."""
    depth, examples, n = seen.score.shape
    even = 1 / n
    found: list[Sink] = []
    if n < 2:
        return found
    norm_sbn = torch.stack([_over_median(state, seen.score[0]) for state in seen.states])

    def sink(kind: str, b: int, token: int, state: int, lifetime: int, score: Tensor) -> Sink:
        layer, mlp, attention, by = state - 1, 0.0, 0.0, "the input"
        if layer >= 0:
            mlp, attention = (_along(each[layer], seen.states[state], b, token) for each in (seen.mlp, seen.attention))
            by = f"{stack.blocks[layer]}.mlp" if mlp > attention else stack.sites[layer].name
        norm, name = float(norm_sbn[state, b, token]), stack.layout.tokens[token]
        return Sink(ids[b], token, name, kind, layer, lifetime, float(score), norm, by, mlp, attention)

    for b in range(min(examples, MOST_EXAMPLES)):
        best_n = seen.score[:, b].amax(0)
        first = int(best_n.argmax())
        least = max(SCORE, min(0.9, TIMES_EVEN * even))
        if best_n[first] < least:
            continue
        reads = int((seen.score[:, b, first] >= least).nonzero()[0])  # the first layer in which it is a sink
        born, end = span(norm_sbn[:depth, b, first], reads)
        found.append(sink("primary", b, first, born, end - born, best_n[first]))
        if depth < SHALLOWEST:
            continue
        parallel_sn = torch.stack([_parallel(state, b, first, n) for state in seen.states[born:end]])
        for token in range(n):
            birth, lifetime = longest_run(parallel_sn[:, token].tolist())
            if token == first or lifetime <= SHORTEST * depth:
                continue
            state = born + birth
            score = seen.early[state : state + lifetime, b, token].max()
            if score >= TIMES_EVEN * even:
                kind = "like a primary" if lifetime >= LONGEST * depth else "secondary"
                found.append(sink(kind, b, token, state, lifetime, score))
    return found


def _over_median(state: Tensor | None, like: Tensor) -> Tensor:
    """Norms over the median of all tokens; 1 where there is no state."""
    if state is None:
        return torch.ones_like(like)
    norm_bn = state.norm(dim=-1)
    over_bn: Tensor = norm_bn / norm_bn.median(-1, keepdim=True).values.clamp(min=1e-12)
    return over_bn


def _along(wrote: Tensor | None, state: Tensor | None, b: int, token: int) -> float:
    """What was written to a token, along its state after that."""
    if wrote is None or state is None:
        return 0.0
    return float(wrote[b, token] @ F.normalize(state[b, token], dim=0))


def _parallel(state: Tensor | None, b: int, first: int, n: int) -> Tensor:
    """The tokens whose state is parallel to the primary's; none where most tokens are."""
    if state is None:
        return torch.zeros(n, dtype=torch.bool)
    parallel_n = F.cosine_similarity(state[b], state[b, first][None], dim=-1).abs().gt(PARALLEL)
    most = float(parallel_n.double().mean()) > 0.5
    return torch.zeros(n, dtype=torch.bool) if most else parallel_n.cpu()


def span(norm_s: Float[Tensor, " L"], reads: int) -> tuple[int, int]:
    """The state in which a token is born, the largest jump of its norm up to the layer that reads it as a sink first.

    And the state after it in which the norm drops most, by at least half of the jump, or the depth if in none.
    """
    change_s = torch.diff(norm_s, prepend=norm_s.new_ones(1))
    born = int(change_s[: reads + 1].argmax())
    after_s = change_s[reads + 1 :]
    if len(after_s) and float(after_s.min()) < -0.5 * float(change_s[born]) < 0:
        return born, reads + 1 + int(after_s.argmin())
    return born, len(norm_s)


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
