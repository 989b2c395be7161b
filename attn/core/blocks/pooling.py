"""Pooling of tokens to one vector by learned queries (Efficient Probing, Psomas et al. 2025, arXiv:2506.10178).

    A = softmax(U xᵀ · sqrt(1 / C)) over the tokens,    v = W_v x in Q slices,    y = [A_1 v_1; ...; A_Q v_Q]

Each of Q queries has weights of its own over the tokens and pools its own slice of the values. The keys are the tokens
themselves, and nothing comes after the slices, so that it takes C² / o + Q C parameters where attention with queries,
keys, values and an output takes 4 C². Queries of 0 give the mean of W_v x.

Shapes: B batch, N tokens, C channels, Q queries, C / o channels out, D = C / (o Q).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attn.core.attention.attend import merge_heads, mix, split_heads, weigh
from attn.core.attention.watch import Geometry
from attn.core.mixers.projections import require_heads

STD = 0.02  # of the queries at first


class EfficientProbing(nn.Module):
    """(B, N, C) to (B, C / reduction). Raises UsageError unless the channels divide by reduction and queries."""

    def __init__(self, channels: int, queries: int = 32, reduction: int = 1) -> None:
        super().__init__()
        require_heads(channels, reduction)
        require_heads(channels // reduction, queries)
        self.queries = nn.Parameter(torch.empty(queries, channels))
        self.value = nn.Linear(channels, channels // reduction, bias=False)
        nn.init.trunc_normal_(self.queries, std=STD)

    def forward(self, x_bnc: Float[Tensor, "B N C"]) -> Float[Tensor, "B E"]:
        """The pooled vector. In a record the queries are the heads, and each has one row of weights."""
        weights_b1qn = weigh(
            self.queries[None, None].to(x_bnc.dtype).expand(x_bnc.shape[0], -1, -1, -1), x_bnc[:, None]
        )
        v_bqnd = split_heads(self.value(x_bnc), len(self.queries))
        tokens_n = torch.arange(x_bnc.shape[1], device=x_bnc.device)
        geometry = Geometry(tokens_n.new_zeros(1), tokens_n)
        return merge_heads(mix(weights_b1qn.transpose(1, 2), v_bqnd, site=self, geometry=geometry))[:, 0]
