"""Relative attention a block of queries at a time, so that no L x L tensor exists.

Neither S nor the weights of more than one block exist at any time, and most of the upper triangle is never computed.
The backward pass makes the weights anew. The skew is a view here: a matrix read with rows of one column less.

Shapes: B batch, H heads, Lq queries, Lk >= Lq keys (the last query is the last key), D head dimension, M rows of
the table; in a block: b queries, n keys, r columns by distance.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from attn.core.attention.problem import Problem

# A block's weights should stay in the processor's cache, and its matrix products be large enough.
QUERIES_AT_ONCE = 128


def takes(problem: Problem) -> bool:
    """Relative attention of several queries and nothing else."""
    alone = problem.bias is None and problem.mask is None and problem.dropout == 0
    several = problem.q.shape[-2] > 1
    return problem.relative is not None and alone and several and not torch.compiler.is_compiling()


def run(problem: Problem) -> Tensor:
    """The formula of `Relative`, block by block, in float32 or better whatever the inputs and autocast are."""
    relative = problem.relative
    assert relative is not None
    exact = torch.promote_types(problem.q.dtype, torch.float32)
    with torch.autocast(problem.q.device.type, enabled=False):
        q, k, v, table = (x.to(exact) for x in (problem.q * problem.scale, problem.k, problem.v, relative.table))
        # Rows before the first, so that each query of a block finds one for every key in reach of the block.
        beyond = table[:, :1] if relative.clip else torch.zeros_like(table[:, :1])
        table = torch.cat([beyond.expand(-1, QUERIES_AT_ONCE - 1, -1), table], 1)
        out: Tensor = _InBlocks.apply(q, k, v, table, relative.clip, relative.block)
    return out.to(problem.v.dtype)


class _InBlocks(torch.autograd.Function):
    """For queries that are scaled already, and a table that has rows before its first."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, table: Tensor, clip: bool, block: int | None) -> Tensor:
        out = _like_tokens(q, v.shape[-1])
        space = _Space(q, k)
        for example, queries, keys in _blocks(q, k, block):
            weights = _weights(q[example][:, queries], k[example][:, keys], table, clip, space)
            out[example][:, queries] = torch.bmm(weights, v[example][:, keys])
        ctx.save_for_backward(q, k, v, table)
        ctx.clip, ctx.block = clip, block
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, table = ctx.saved_tensors
        d_out = gradients[0]
        d_q, d_k, d_v = (_like_tokens(x, x.shape[-1]).zero_() for x in (q, k, v))
        d_table = torch.zeros_like(table)
        space = _Space(q, k)
        with torch.autocast(q.device.type, enabled=False):
            for example, queries, keys in _blocks(q, k, ctx.block):
                q_hbd, k_hnd = q[example][:, queries], k[example][:, keys]
                d_hbd = d_out[example][:, queries]
                weights = _weights(q_hbd, k_hnd, table, ctx.clip, space)
                d_v[example][:, keys] += torch.bmm(weights.mT, d_hbd)

                d_logits = space.matmul(2, d_hbd, v[example][:, keys].mT)
                torch.ops.aten._softmax_backward_data(d_logits, weights, -1, weights.dtype, grad_input=d_logits)
                d_k[example][:, keys] += torch.bmm(d_logits.mT, q_hbd)

                by_distance = _unskew(d_logits, table.shape[1], space)
                rows = by_distance.shape[-1]
                d_q[example][:, queries] = torch.bmm(d_logits, k_hnd).baddbmm_(by_distance, table[:, -rows:])
                d_table[:, -rows:] += torch.bmm(by_distance.mT, q_hbd)
                far = k_hnd.shape[1] - rows
                if ctx.clip and far:
                    beyond = d_logits[..., :far].sum(-1, keepdim=True)
                    d_q[example][:, queries] += beyond * table[:, :1]
                    d_table[:, :1] += torch.bmm(beyond.mT, q_hbd)
        return d_q, d_k, d_v, d_table, None, None


class _Space:
    """What every block needs, taken once: memory for its matrices, as new pages would cost, and its mask."""

    def __init__(self, q: Tensor, k: Tensor) -> None:
        queries = min(QUERIES_AT_ONCE, q.shape[2])
        self._flat = q.new_empty(3, q.shape[1] * queries * (k.shape[2] + 1))
        self.future = torch.ones(queries, queries, dtype=torch.bool, device=q.device).triu(1)

    def take(self, number: int, *shape: int) -> Tensor:
        return self._flat[number, : math.prod(shape)].view(shape)

    def matmul(self, number: int, a_hxy: Tensor, b_hyz: Tensor) -> Tensor:
        return torch.bmm(a_hxy, b_hyz, out=self.take(number, *a_hxy.shape[:2], b_hyz.shape[2]))


def _blocks(q: Tensor, k: Tensor, block: int | None) -> Iterator[tuple[int, slice, slice]]:
    """Example, queries, and the keys in their reach, as far as the last query's own."""
    before = k.shape[2] - q.shape[2]
    whole = k.shape[2] if block is None else block
    for example in range(q.shape[0]):
        for own in range(0, k.shape[2], whole):
            end = min(own + whole, k.shape[2])
            for start in range(max(own, before), end, QUERIES_AT_ONCE):
                stop = min(start + QUERIES_AT_ONCE, end)
                yield example, slice(start - before, stop - before), slice(max(own - whole, 0), stop)


def _weights(q_hbd: Tensor, k_hnd: Tensor, table_hmd: Tensor, clip: bool, space: _Space) -> Tensor:
    """(H, b, n), 0 for the future."""
    queries, keys = q_hbd.shape[1], k_hnd.shape[1]
    rows = min(keys, table_hmd.shape[1])
    by_distance = space.matmul(0, q_hbd, table_hmd[:, -rows:].mT)
    logits_hbn = space.matmul(1, q_hbd, k_hnd.mT)
    # The skew: one element less from row to row.
    logits_hbn[..., keys - rows :] += by_distance.as_strided(
        by_distance.shape, (queries * rows, rows - 1, 1), by_distance.storage_offset() + queries - 1
    )
    if clip:
        logits_hbn[..., : keys - rows] += torch.bmm(q_hbd, table_hmd[:, :1].mT)
    logits_hbn[..., keys - queries :].masked_fill_(space.future[:queries, :queries], -torch.inf)
    return torch.softmax(logits_hbn, -1, out=logits_hbn)


def _unskew(x_hbn: Tensor, rows: int, space: _Space) -> Tensor:
    """(H, b, n), 0 for the future, by distance: (H, b, r), the adjoint of what `_weights` does with the skew."""
    heads, queries, keys = x_hbn.shape
    rows = min(keys, rows)
    # With a column to spare, what is written over a row's end falls on the next one's empty start.
    by_distance = space.take(0, heads, queries, rows + 1)
    by_distance[:, 0, : queries - 1] = 0
    by_distance.as_strided(
        (heads, queries, rows), (queries * (rows + 1), rows, 1), by_distance.storage_offset() + queries - 1
    ).copy_(x_hbn[..., keys - rows :])
    return by_distance[..., :rows]


def _like_tokens(x_bhld: Tensor, width: int) -> Tensor:
    """An empty (B, H, L, width), in memory (B, L, H, width): merging the heads is a view."""
    batch, heads, length, _ = x_bhld.shape
    return x_bhld.new_empty(batch, length, heads, width).transpose(1, 2)
