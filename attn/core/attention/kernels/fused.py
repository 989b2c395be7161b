"""PyTorch's fused kernel (`scaled_dot_product_attention`): takes everything.

Shapes: *lead any dimensions, Lq queries, Lk keys, D head dimension.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from attn.core.attention.problem import Problem


def takes(problem: Problem) -> bool:
    """Always."""
    return True


def run(problem: Problem) -> Tensor:
    """One kernel call on four dimensions: other numbers of dimensions miss the fast kernel."""
    problem = problem.with_relative_as_bias()
    q, k, bias, mask, lead = problem.q, problem.k, problem.bias, problem.mask, problem.q.shape[:-2]
    causal = problem.causal and q.shape[-2] > 1  # a single query is the last and sees all keys
    # The kernel's own causal flag is faster than a mask, but it aligns the first query with the first key.
    lower_triangle = False
    if causal and bias is None and mask is None and q.shape[-2] == k.shape[-2]:
        lower_triangle = True  # by a branch, because a comparison of sizes that are traced is no bool
    if causal and not lower_triangle:
        mask = problem.with_causal_as_mask().mask
    if bias is not None:
        bias = bias.to(q.dtype)
        mask = bias if mask is None else bias.masked_fill(~mask, -torch.inf)
    by_token = _is_by_token(q)
    fold = _windows_as_examples if by_token else _four_dimensional
    out = F.scaled_dot_product_attention(
        fold(q, lead),
        fold(k, lead),
        fold(problem.v, lead),
        attn_mask=None if mask is None else fold(mask, lead),
        dropout_p=problem.dropout,
        is_causal=lower_triangle,
        scale=problem.scale,
    )
    if torch.compiler.is_exporting():
        # The kernel's output and its decomposition differ in strides; views traced on one fail on the other.
        out = out.clone(memory_format=torch.contiguous_format)
    if by_token:
        return out.reshape(lead[0], *lead[2:], *out.shape[1:]).movedim(-3, 1)
    return out if len(lead) == 2 else out.reshape(*lead, *out.shape[-2:])


def _is_by_token(q: Tensor) -> bool:
    """Whether q (B, H, *G, L, D) lies in memory as a layer wrote it, the heads of a token side by side."""
    return q.dim() > 4 and not torch.compiler.is_compiling() and q.stride(1) < q.stride(2)


def _windows_as_examples(x: Tensor, lead: torch.Size) -> Tensor:
    """(B, H, *G, L, D), or what broadcasts to it, as (B·G, H, L, D): of what lies by token no copy is made."""
    x = x[(None,) * (len(lead) + 2 - x.dim())]
    if any(size != 1 for size in (x.shape[0], *x.shape[2:-2])):
        x = x.expand(lead[0], -1, *lead[2:], -1, -1)
    return x.movedim(1, -3).flatten(0, -4)


def _four_dimensional(x: Tensor, lead: torch.Size) -> Tensor:
    """(*lead, L, D), or what broadcasts to it, as (B, X, L, D), X being the other dimensions."""
    if len(lead) < 2:
        return x.reshape(*x.shape[:-2], *(1,) * (4 - x.dim()), *x.shape[-2:])
    x = x[(None,) * (len(lead) + 2 - x.dim())]
    middle = x.shape[1:-2]
    if len(lead) > 2 and any(size != 1 for size in middle):
        x = x.expand(-1, *lead[1:], -1, -1)
    return x.flatten(1, -3)
