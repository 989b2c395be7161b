"""HyLRA: layers that attend only to the tokens on which an earlier layer has settled (arXiv:2602.00777).

    S_l          the k tokens to which layer l gives the most weight, its heads together
    M[l, i]      |S_l ∩ S_i| / k, the overlap of two layers, a mean over queries
    a policy     each layer computes all weights (-1) or reuses the tokens of the last layer before it that does

All keys and values are kept: a policy saves time, and no memory. `plan` has the fewest layers that compute, and of
those policies the one with the largest sum of overlaps.

Shapes: L layers, B batch, H heads, Lq queries, n keys, k kept keys.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from attn.core.attention.watch import AttentionRecord

COMPUTE = -1


class Policy(BaseModel):
    """What each layer does, and with how many tokens; the numbers that it was made from beside it.

    layers: COMPUTE, or the number of the layer whose tokens are reused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    made_by: Literal["made by attn"] = "made by attn"
    app: str = Field(max_length=100)
    model: str = Field(max_length=4096)
    fingerprint: str = Field(max_length=100)
    keys: int = Field(ge=1, le=2**20)
    layers: tuple[int, ...] = Field(min_length=1, max_length=256)
    tokens: int = Field(default=0, ge=0)
    least_overlap: float = Field(default=0.0, ge=0, le=1)
    sensitivity: tuple[float | None, ...] = ()
    overlap: tuple[tuple[float | None, ...], ...] = ()

    @model_validator(mode="after")
    def _sources_compute(self) -> "Policy":
        for layer, source in enumerate(self.layers):
            if source != COMPUTE and not (0 <= source < layer and self.layers[source] == COMPUTE):
                raise ValueError(f"layer {layer} reuses layer {source}, which is none before it that computes")
        return self

    @property
    def sources(self) -> set[int]:
        """The layers whose tokens are reused."""
        return {source for source in self.layers if source != COMPUTE}


def plan(overlap_ll: Float[np.ndarray, "L L"], least: float, computing: Collection[int] = ()) -> list[int]:
    """The policy of layers whose overlaps M[l, i] with earlier layers i are known.

    A layer reuses the last one that computes where their overlap is at least `least`; those in `computing` compute, and
    the first one does. Dynamic programming over the layers that compute, from the last to the first.
    """
    layers = len(overlap_ll)
    best: list[tuple[int, float, int]] = [(0, 0.0, 0)] * (layers + 1)  # computing layers, minus the sum, the next one
    for source in reversed(range(layers)):
        options, total = [], 0.0
        for end in range(source + 1, layers + 1):
            count, rest, _ = best[end]
            options.append((1 + count, rest - total, end))
            if end == layers or end in computing or not overlap_ll[end, source] >= least:
                break
            total += float(overlap_ll[end, source])
        best[source] = min(options)
    policy, source = [], 0
    while source < layers:
        end = best[source][2]
        policy += [COMPUTE, *[source] * (end - source - 1)]
        source = end
    return policy


def largest(weights: Float[Tensor, "B H Lq n"], keys: int) -> Bool[Tensor, "B Lq n"]:
    """Of each query, the tokens with the most weight, heads together."""
    share_bqn = weights.sum(1)
    kept_bqk = share_bqn.topk(min(keys, share_bqn.shape[-1]), -1).indices
    return torch.zeros_like(share_bqn, dtype=torch.bool).scatter_(-1, kept_bqk, True)


def among(weights: Float[Tensor, "B H Lq n"], kept_bqn: Bool[Tensor, "B Lq n"]) -> Float[Tensor, "B H Lq n"]:
    """The weights of attention to the kept tokens alone."""
    weights = weights * kept_bqn[:, None]
    return weights / weights.sum(-1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)


def restricting(sites: Sequence[str], policy: Policy) -> Mapping[str, Callable[[AttentionRecord], Tensor]]:
    """For `intervene(weights=)`: a policy in a pass over several queries, to measure what it costs."""
    noted: dict[int, Tensor] = {}

    def computes(layer: int) -> Callable[[AttentionRecord], Tensor]:
        def change(seen: AttentionRecord) -> Tensor:
            noted[layer] = largest(seen.weights, policy.keys)
            return seen.weights

        return change

    def reuses(source: int) -> Callable[[AttentionRecord], Tensor]:
        return lambda seen: among(seen.weights, noted[source])

    changes: dict[str, Callable[[AttentionRecord], Tensor]] = {}
    for layer, source in enumerate(policy.layers):
        if source != COMPUTE:
            changes[sites[layer]] = reuses(source)
        elif layer in policy.sources:
            changes[sites[layer]] = computes(layer)
    return changes
