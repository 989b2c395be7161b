"""Guidance by softened heads: what a model says is pushed away from what it says with some heads looking at themselves.

    A' = (1 - u) A + u I                    of the chosen heads: u, the softness, is 1 for PAG
    guided = (1 + w) said - w softened      logits or log-probabilities; w is the strength

"Where and How to Perturb" (Ahn et al. 2025, arXiv:2506.10978), equations 5 (guidance) and 7 (SoftPAG). The softened
pass has keys and values of its own: softened hidden states change those of deeper layers.

Shapes: B batch, H heads, G any dimensions of windows, Lq queries, Lk keys.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from attn.core.attention.watch import AttentionRecord
from attn.core.errors import UsageError

STRENGTH, SOFTNESS = 3.0, 0.5  # the paper's strength; of softness it says that less than 1 is best
MOST_STRENGTH = 100.0


@dataclass(frozen=True)
class Guidance:
    """Heads by the name of their site, the strength w, the softness u. Raises UsageError for values out of bounds."""

    heads: Mapping[str, tuple[int, ...]]
    strength: float = STRENGTH
    softness: float = SOFTNESS

    def __post_init__(self) -> None:
        if not (math.isfinite(self.strength) and 0 <= self.strength <= MOST_STRENGTH):
            raise UsageError(f"the strength of guidance is {self.strength:g}, not from 0 to {MOST_STRENGTH:g}")
        if not 0 <= self.softness <= 1:
            raise UsageError(f"the softness of guidance is {self.softness:g}, not from 0 to 1")

    @property
    def active(self) -> bool:
        """Whether it changes anything."""
        return self.strength > 0 and self.softness > 0 and any(self.heads.values())

    def softening(self) -> dict[str, Callable[[AttentionRecord], Tensor]]:
        """For `intervene(weights=)`: the softened weights of the chosen heads."""
        return {site: softened(heads, self.softness) for site, heads in self.heads.items() if heads}

    def guided(self, said: Tensor, softened: Tensor) -> Tensor:
        """Logits, or log-probabilities up to a constant, of the guided answer."""
        return (1 + self.strength) * said - self.strength * softened


def softened(heads: tuple[int, ...], softness: float) -> Callable[[AttentionRecord], Float[Tensor, "B H *G Lq Lk"]]:
    """Weights drawn towards the identity; a query that is none of its own keys keeps its weights."""

    def change(seen: AttentionRecord) -> Tensor:
        weights = seen.weights.clone()
        itself = (seen.is_itself & (seen.query_positions >= 0)[..., None]).to(weights)
        found = itself.sum(-1, keepdim=True)
        identity = (itself / found.clamp(min=1)).expand(weights.shape)[:, heads]
        own = weights[:, heads]
        there = (found > 0).expand(*weights.shape[:-1], 1)[:, heads]
        weights[:, heads] = torch.where(there, torch.lerp(own, identity, softness), own)
        return weights

    return change
