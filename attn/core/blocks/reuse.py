"""Decoding with a policy: a layer attends only to the tokens that an earlier one gave the most weight (HyLRA).

    states = reusing(blocks, states, policy, batch)

A layer that computes notes its k largest tokens in each step; those that reuse them gather their own keys and values of
these tokens. With no more than k tokens so far, all layers do what they do without a policy.

Shapes: B batch, heads, n tokens so far, k kept tokens, D = C / heads, M rows of a table.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attn.core.attention.kernels.one_query import row_weights
from attn.core.attention.relative import Relative
from attn.core.blocks.one_token import TokenStep
from attn.core.blocks.sequence import BlockState, SequenceBlock
from attn.core.decoding.cache import KVCache
from attn.core.decoding.policy import COMPUTE, Policy


class Noting(TokenStep):
    """A step over all tokens that notes those with the most weight, heads together; None while there are few."""

    def __init__(self, block: SequenceBlock, cache: KVCache, batch: int, keys: int) -> None:
        super().__init__(block, cache, batch)
        self.keys = keys
        self.places_bk: Int[Tensor, "B k"] | None = None

    def attend(self, q_bhd: Tensor, k_bhnd: Tensor, v_bhnd: Tensor) -> Tensor:
        """The query over all keys."""
        weights_xn = row_weights(q_bhd, k_bhnd, self._relative)
        self.places_bk = None
        if weights_xn.shape[1] > self.keys:
            share_bn = weights_xn.view(*q_bhd.shape[:2], -1).sum(1)
            self.places_bk = share_bn.topk(self.keys, sorted=False).indices
        return torch.bmm(weights_xn[:, None], v_bhnd.flatten(0, 1)).view(*q_bhd.shape[:2], -1)


class Reusing(TokenStep):
    """A step over the tokens that another layer noted in the same step."""

    def __init__(self, block: SequenceBlock, cache: KVCache, batch: int, source: Noting) -> None:
        super().__init__(block, cache, batch)
        self.source = source

    def attend(self, q_bhd: Tensor, k_bhnd: Tensor, v_bhnd: Tensor) -> Tensor:
        """The query over its own keys of the noted tokens."""
        if self.source.places_bk is None:
            return super().attend(q_bhd, k_bhnd, v_bhnd)
        return attend_places(q_bhd, k_bhnd, v_bhnd, self.source.places_bk, self._relative)


def attend_places(
    q_bhd: Float[Tensor, "B heads D"],
    k_bhnd: Float[Tensor, "B heads n D"],
    v_bhnd: Float[Tensor, "B heads n D"],
    places_bk: Int[Tensor, "B k"],
    relative: Relative | None = None,
) -> Float[Tensor, "B heads D"]:
    """One query, the last token's and scaled already, that sees some tokens."""
    index_bhkd = places_bk[:, None, :, None].expand(-1, q_bhd.shape[1], -1, q_bhd.shape[2])
    if len(places_bk) == 1:  # whole rows are copied faster than single numbers
        k_bhkd, v_bhkd = (x.index_select(2, places_bk[0]) for x in (k_bhnd, v_bhnd))
    else:
        k_bhkd, v_bhkd = (x.gather(2, index_bhkd) for x in (k_bhnd, v_bhnd))
    logits_bhk = (k_bhkd @ q_bhd[..., None])[..., 0]
    if relative is not None:
        rows = relative.table.shape[1]
        by_distance_bhm = torch.bmm(q_bhd.transpose(0, 1), relative.table.mT).transpose(0, 1)
        beyond = by_distance_bhm[..., :1] if relative.clip else torch.zeros_like(by_distance_bhm[..., :1])
        by_distance_bhm = torch.cat([beyond, by_distance_bhm], -1)
        row_bk = (rows - (k_bhnd.shape[2] - 1 - places_bk)).clamp(min=0)
        logits_bhk = logits_bhk + by_distance_bhm.gather(-1, row_bk[:, None].expand(logits_bhk.shape))
    return (logits_bhk.softmax(-1)[..., None, :] @ v_bhkd)[..., 0, :]


def reusable(block: SequenceBlock) -> bool:
    """Whether a policy can change this layer: it decodes in short steps over all tokens so far."""
    return block.cross is None and block.mixer.one_token is not None and not block.mixer.endless


def reusing(
    blocks: Sequence[SequenceBlock], states: Sequence[BlockState], policy: Policy, batch: int
) -> list[BlockState]:
    """The states of blocks before the first token, whose steps follow a policy.

    A layer whose step is not shortened (`shortens`) computes everything, as without a policy.
    """
    changed = list(states)
    noting: dict[int, Noting] = {}
    for layer, (block, state, source) in enumerate(zip(blocks, states, policy.layers, strict=True)):
        if state.token_step is None or not reusable(block):
            continue
        if source == COMPUTE and layer in policy.sources:
            noting[layer] = Noting(block, state.cache, batch, policy.keys)
            changed[layer] = replace(state, token_step=noting[layer])
        elif source in noting:
            changed[layer] = replace(state, token_step=Reusing(block, state.cache, batch, noting[source]))
    return changed
