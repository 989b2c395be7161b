"""Relative positions as learned vectors (Music Transformer, Huang et al. 2018, arXiv:1809.04281).

    out = softmax((q kᵀ + S) · scale) v,    S[i, j] = q_i · E[M - 1 - (i - j)],    over j <= i

E is a table of one vector per head and distance; its last row is distance 0. The paper ("memory efficient
implementation of relative position-based attention") makes the products q Eᵀ and *skews* them, so that column
"distance" becomes column "key". `Relative.logits` is that; `kernels/skewed.py` never makes S as a whole.

Shapes: B batch, H heads, Lq queries, Lk >= Lq keys (the last query is the last key), D head dimension, M rows of
the table.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F


class Relative(NamedTuple):
    """What relative attention adds to causal attention.

    table: (H, M, D), row M - 1 - d for distance d; shorter sequences use the last rows.
    clip: beyond the table the first row is repeated (Shaw et al. 2018); else the term is 0 there.
    block: a query sees its own block of this many tokens and the one before; all the past if None.
    """

    table: Float[Tensor, "H M D"]
    clip: bool = False
    block: int | None = None

    def logits(self, q_bhld: Float[Tensor, "B H Lq D"], keys: int | torch.SymInt) -> Float[Tensor, "B H Lq Lk"]:
        """S for the last queries of `keys` tokens; above the diagonal it means nothing."""
        rows = self.table.shape[1]
        # In an exported file the number of keys may be free: nothing there may depend on which of the two is larger.
        exporting = torch.compiler.is_exporting()
        used = rows if exporting else min(keys, rows)
        # Unlike `@`, this does not copy the table for every example of the batch.
        products = torch.einsum("bhld,hmd->bhlm", q_bhld, self.table[:, rows - used :].to(q_bhld.dtype))
        if exporting or used < keys:
            beyond = products[..., :1] if self.clip else torch.zeros_like(products[..., :1])
            products = torch.cat([beyond.expand(*products.shape[:-1], keys), products], -1)[..., used:]
        return skew(products)

    def row(self, q_bhd: Float[Tensor, "B H D"], k_xnd: Float[Tensor, "X Lk D"]) -> Float[Tensor, "X Lk"]:
        """q kᵀ + S for one query, the last token's; X = B·H."""
        (batch, heads, _), keys = q_bhd.shape, k_xnd.shape[1]
        used = min(keys, self.table.shape[1])
        table_hmd = self.table[:, self.table.shape[1] - used :]
        q_xd1 = q_bhd.reshape(batch * heads, 1, -1).mT  # to PyTorch's kernels not the same as a reshape to (X, D, 1)
        if batch == 1 and used == keys:
            return torch.baddbmm(torch.bmm(table_hmd, q_xd1), k_xnd, q_xd1)[..., 0]
        by_distance_bhm = torch.bmm(q_bhd.transpose(0, 1), table_hmd.mT).transpose(0, 1)
        logits_xn = torch.bmm(k_xnd, q_xd1)[..., 0]
        logits_bhn = logits_xn.view(batch, heads, keys)
        logits_bhn[..., keys - used :].add_(by_distance_bhm)
        if self.clip and used < keys:
            logits_bhn[..., : keys - used].add_(by_distance_bhm[..., :1])
        return logits_xn

    def mask(self, queries: int, keys: int | torch.SymInt, device: torch.device) -> Bool[Tensor, "Lq Lk"] | None:
        """True where a query's blocks reach; None for everywhere."""
        if self.block is None:
            return None
        blocks = torch.arange(keys, device=device) // self.block
        return blocks >= blocks[keys - queries :, None] - 1


def skew(x: Float[Tensor, "*lead Lq Lk"]) -> Float[Tensor, "*lead Lq Lk"]:
    """Columns by distance, the last being 0, to columns by key: y[i, j] = x[i, Lk - 1 - d], d the distance.

    The paper's three steps: pad a column on the left, reshape, drop the first row. Above the diagonal y means
    nothing.
    """
    queries = x.shape[-2]
    if queries == 1:
        return x
    return F.pad(x, (1, 0)).flatten(-2)[..., queries:].reshape(x.shape)
