"""One softmax attention, before anyone decides how to compute it.

    out = softmax((q kᵀ + S) · scale + bias, over the allowed keys) v

Shapes: *lead (usually B batch, H heads, *G windows), Lq queries, Lk keys, D head dimension.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from attn.core.attention.relative import Relative


class Problem(NamedTuple):
    """The arguments of `attend`, with the scale filled in. A tuple, because a decoding step makes one in each layer."""

    q: Tensor
    k: Tensor
    v: Tensor
    scale: float
    bias: Tensor | None = None
    relative: Relative | None = None
    mask: Tensor | None = None
    causal: bool = False
    dropout: float = 0.0

    @property
    def is_plain(self) -> bool:
        """Whether every query attends to every key, by products of q and k alone."""
        return self.bias is None and self.mask is None and self.relative is None and not self.causal

    def with_relative_as_bias(self) -> "Problem":
        """The same problem, its relative vectors multiplied out to a bias and their reach to a mask."""
        if self.relative is None:
            return self
        queries, keys = self.q.shape[-2], self.k.shape[-2]
        logits = self.relative.logits(self.q * self.scale, keys)
        reach = self.relative.mask(queries, keys, self.q.device)
        return self._replace(
            relative=None,
            bias=logits if self.bias is None else self.bias + logits,
            mask=_both(self.mask, reach),
        )

    def with_causal_as_mask(self) -> "Problem":
        """The same problem, without the causal flag. The last query is the last key."""
        if not self.causal:
            return self
        queries, keys = self.q.shape[-2], self.k.shape[-2]
        past = torch.ones(queries, keys, dtype=torch.bool, device=self.q.device).tril(keys - queries)
        return self._replace(causal=False, mask=_both(self.mask, past))


def _both(mask: Tensor | None, other: Tensor | None) -> Tensor | None:
    return other if mask is None else mask if other is None else mask & other
