"""Attention among the few tokens of many examples, such as the fields of a click log, on one thread of a CPU.

    out = softmax(q kᵀ · scale) v

The fused kernel has its price for each example and head, and for eight tokens that price is most of a model's time.
Here the examples lie side by side in memory, so that each sum over tokens or channels is a handful of elementwise
operations on all examples at once: faster, forward and backward, as long as the sums are short. With more threads the
kernel shares its examples and heads out among them, and is the better way.

Shapes: B examples, H heads, L tokens (n as queries, m as keys), D head dimension; inside, the examples come last.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from attn.core.attention.problem import Problem

MOST_PRODUCTS, MOST_CHANNELS = 144, 16  # L · max(L, D), and D; with more, the work outweighs the kernel's price
FEWEST_EXAMPLES = 128
BLOCK_BYTES = 1 << 18  # of the largest tensor of a block: a few of them should stay in the processor's cache


def takes(problem: Problem) -> bool:
    """Whether these are few tokens of many examples on one thread of a CPU."""
    q, k, v = problem.q, problem.k, problem.v
    if torch.compiler.is_compiling() or not problem.is_plain or problem.dropout > 0:
        return False
    if not (q.dim() == 4 and q.shape == k.shape == v.shape and q.dtype == k.dtype == v.dtype):
        return False
    batch, _, length, dim = q.shape
    few = 0 < length * max(length, dim) <= MOST_PRODUCTS and dim <= MOST_CHANNELS
    alone = q.device.type == "cpu" and torch.get_num_threads() == 1
    return few and batch >= FEWEST_EXAMPLES and alone and q.dtype.itemsize >= 4


def run(problem: Problem) -> Tensor:
    """(B, H, L, D)."""
    out: Tensor = _AmongFew.apply(problem.q, problem.k, problem.v, problem.scale)
    return out


class _AmongFew(torch.autograd.Function):
    """Block by block of examples."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        out_blhd, kept = _by_token(q), []
        for block in _blocks(q):
            q_lhdb, k_lhdb, v_lhdb = (_examples_last(x[block]) for x in (q, k, v))
            if scale != 1:
                q_lhdb.mul_(scale)
            weights_nmhb = _sum_of_products(q_lhdb[:, None], k_lhdb[None], 3).softmax(1)
            _examples_first(out_blhd[block], _sum_of_products(weights_nmhb[:, :, :, None], v_lhdb[None], 1))
            kept += [q_lhdb, k_lhdb, v_lhdb, weights_nmhb]
        ctx.save_for_backward(*kept)
        ctx.scale = scale
        return out_blhd.transpose(1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        d_out, kept = gradients[0], iter(ctx.saved_tensors)
        d_q, d_k, d_v = (_by_token(d_out) for _ in range(3))
        for block in _blocks(d_out):
            q_lhdb, k_lhdb, v_lhdb, weights_nmhb = (next(kept) for _ in range(4))
            d_lhdb = _examples_last(d_out[block])
            _examples_first(d_v[block], _sum_of_products(weights_nmhb[:, :, :, None], d_lhdb[:, None], 0))
            d_nmhb = _sum_of_products(d_lhdb[:, None], v_lhdb[None], 3)
            d_nmhb = d_nmhb.sub_(_sum_of_products(d_nmhb, weights_nmhb, 1)[:, None]).mul_(weights_nmhb)
            d_nmhxb = d_nmhb[:, :, :, None]
            _examples_first(d_q[block], _sum_of_products(d_nmhxb, k_lhdb[None], 1))
            _examples_first(d_k[block], _sum_of_products(d_nmhxb, q_lhdb[:, None], 0))
        if ctx.scale != 1:
            d_q.mul_(ctx.scale)
        return d_q.transpose(1, 2), d_k.transpose(1, 2), d_v.transpose(1, 2), None


def _by_token(x_bhld: Tensor) -> Tensor:
    """Memory for (B, L, H, D), the order in which layers read and write."""
    batch, heads, length, dim = x_bhld.shape
    return x_bhld.new_empty(batch, length, heads, dim)


def _blocks(x_bhld: Tensor) -> Iterator[slice]:
    batch, heads, length, dim = x_bhld.shape
    size = max(1, BLOCK_BYTES // (heads * length * max(length, dim) * x_bhld.dtype.itemsize))
    return (slice(first, first + size) for first in range(0, batch, size))


def _examples_last(x_bhld: Tensor) -> Tensor:
    """A copy as (L, H, D, B); a matrix is transposed faster than more dimensions."""
    batch, heads, length, dim = x_bhld.shape
    return x_bhld.transpose(1, 2).reshape(batch, -1).t().contiguous().view(length, heads, dim, batch)


def _examples_first(out_blhd: Tensor, x_lhdb: Tensor) -> None:
    """The way back."""
    out_blhd.flatten(1).copy_(x_lhdb.flatten(0, 2).t())


def _sum_of_products(a: Tensor, b: Tensor, dim: int) -> Tensor:
    """The sum of a · b over one dimension; the others broadcast."""
    terms = zip(a.unbind(dim), b.unbind(dim), strict=True)
    first_a, first_b = next(terms)
    total = first_a * first_b
    for term_a, term_b in terms:
        total.addcmul_(term_a, term_b)
    return total
