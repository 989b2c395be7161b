"""Attention rollout: how much of each input token reaches one token of the last layer (Abnar and Zuidema 2020).

    S̄_i = 0.5 S_i + 0.5 E                       S_i the mean of the heads' weights, E the residual path
    Ŝ   = S̄_n S̄_(n-1) ... S̄_1                   arXiv:2005.00928, section 3; rows sum to 1

One row of Ŝ, or a mixture of rows, is made by products of a vector with a matrix, from the last layer down: O(n N²) and
not O(n N³), and one layer's weights in memory at a time.

Shapes: B batch, H heads, N tokens.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor


def rollout_row(
    last_first: Iterable[Float[Tensor, "B H N N"]], mixture_n: Float[Tensor, " N"] | None = None
) -> Float[Tensor, "B N"]:
    """The first row of Ŝ, or the mixture of its rows with the weights `mixture_n`.

    `last_first` are the weights of the layers, the last layer first, made as they are taken.
    """
    row_bn: Tensor | None = None
    for weights_bhnn in last_first:
        if row_bn is None:
            row_bn = torch.zeros_like(weights_bhnn[:, 0, 0])
            if mixture_n is None:
                row_bn[:, 0] = 1.0
            else:
                row_bn = row_bn + mixture_n
        passed_bhn = torch.einsum("bn,bhnm->bhm", row_bn, weights_bhnn)
        row_bn = 0.5 * passed_bhn.mean(1) + 0.5 * row_bn
        del weights_bhnn  # before the next layer's are made
    if row_bn is None:
        raise ValueError("a rollout needs a layer")
    return row_bn
