"""A single query: its weights are a row, which two matrix products make and use faster than the fused kernel.

Shapes: B batch, H heads, n keys, D head dimension, X = B·H.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from attn.core.attention.problem import Problem
from attn.core.attention.relative import Relative


def takes(problem: Problem) -> bool:
    """One query for each head that sees all keys, in a precision that needs no care."""
    q, k, v, relative = problem.q, problem.k, problem.v, problem.relative
    if torch.compiler.is_compiling() or problem.mask is not None or problem.dropout > 0:
        return False
    exact = q.dtype == k.dtype == v.dtype and q.dtype.itemsize >= 4
    return q.dim() == 4 and q.shape[2] == 1 and exact and (relative is None or relative.block is None)


def run(problem: Problem) -> Tensor:
    """(B, H, 1, Dv)."""
    q, k, bias = problem.q, problem.k, problem.bias
    bias_bhn = None if bias is None else bias.expand(*q.shape[:-1], k.shape[-2])[..., 0, :]
    return attend_row(q[:, :, 0] * problem.scale, k, problem.v, problem.relative, bias_bhn)[:, :, None]


def attend_row(
    q_bhd: Float[Tensor, "B H D"],
    k_bhnd: Float[Tensor, "B H n D"],
    v_bhnd: Float[Tensor, "B H n Dv"],
    relative: Relative | None = None,
    bias_bhn: Float[Tensor, "B H n"] | None = None,
) -> Float[Tensor, "B H Dv"]:
    """One query, scaled already, that sees all keys: a step of decoding."""
    weights_xn = row_weights(q_bhd, k_bhnd, relative, bias_bhn)
    return torch.bmm(weights_xn[:, None], v_bhnd.flatten(0, 1)).view(*q_bhd.shape[:2], -1)


def row_weights(
    q_bhd: Float[Tensor, "B H D"],
    k_bhnd: Float[Tensor, "B H n D"],
    relative: Relative | None = None,
    bias_bhn: Float[Tensor, "B H n"] | None = None,
) -> Float[Tensor, "X n"]:
    """The weights of such a query."""
    k_xnd = k_bhnd.flatten(0, 1)
    if relative is None:
        logits_xn = torch.bmm(k_xnd, q_bhd.reshape(len(k_xnd), 1, -1).mT)[..., 0]  # faster than q kᵀ
    else:
        logits_xn = relative.row(q_bhd, k_xnd)
    if bias_bhn is not None:
        logits_xn = logits_xn + bias_bhn.reshape(logits_xn.shape)
    return logits_xn.softmax(-1)
