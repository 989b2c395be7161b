"""The one door to softmax attention.

    attend(q, k, v, ...)       out = softmax((q kᵀ + S) · scale + bias, over the allowed keys) v
    weigh(q, k, ...)           the weights alone, for a model that needs them in its own `forward`
    mix(weights, v, ...)       weights times values, whatever the weights were made of

Source: Vaswani et al. 2017, equation 1, with a bias and relative vectors. When nobody watches, the first kernel that
takes the problem solves it, and no weight matrix exists. When somebody watches (`watch.py`), `weigh` makes the weights
in float32 and `mix` shows and applies them. Both ways agree to 1e-5 in float32.

A mechanism that makes its weights in another way (a mixture, kernels predicted by a layer) calls `mix` itself, and a
model that reads its own weights calls `weigh` and `mix`: these are the same in eager mode and in an exported graph.

Shapes: B batch, H heads, G any window dimensions, Lq queries, Lk keys, D head dimension, C = H·D channels.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from attn.core.attention.kernels import KERNELS
from attn.core.attention.problem import Problem
from attn.core.attention.relative import Relative
from attn.core.attention.watch import Geometry, is_watched, show


def attend(
    q: Float[Tensor, "*lead Lq D"],
    k: Float[Tensor, "*lead Lk D"],
    v: Float[Tensor, "*lead Lk Dv"],
    *,
    bias: Float[Tensor, "..."] | None = None,
    relative: Relative | None = None,
    mask: Bool[Tensor, "..."] | None = None,
    causal: bool = False,
    scale: float | None = None,
    dropout: float = 0.0,
    site: nn.Module | None = None,
    geometry: Geometry | None = None,
) -> Float[Tensor, "*lead Lq Dv"]:
    """Softmax attention; `lead` is (B, H, *G) for anything that wants to be recorded.

    bias: finite, broadcastable to (*lead, Lq, Lk), added to the scaled logits.
    relative: learned vectors for distances, whose products with q are added to q kᵀ; causal only.
    mask: broadcastable to the same; True = may attend. A query that may attend to nothing gets 0.
    causal: the last query is the last key, so that a single query with cached keys sees them all.
    scale: factor on q kᵀ; D^(-1/2) if None.
    dropout: the probability to apply now; the caller passes 0.0 in evaluation.
    site: the module whose name this attention has in `record` and `intervene`.
    geometry: the token of each query and key, for windowed mechanisms; else both count from 0, or
        with `causal` the last query is the last key.
    """
    assert causal or relative is None, "relative attention looks back"
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    problem = Problem(q, k, v, scale, bias, relative, mask, causal, dropout)
    if site is not None and is_watched(site):
        return mix(_weights(problem), v, site=site, geometry=geometry or _counting(problem), dropout=dropout)
    return next(kernel for kernel in KERNELS if kernel.takes(problem)).run(problem)


def weigh(
    q: Float[Tensor, "*lead Lq D"],
    k: Float[Tensor, "*lead Lk D"],
    *,
    bias: Float[Tensor, "..."] | None = None,
    relative: Relative | None = None,
    mask: Bool[Tensor, "..."] | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> Float[Tensor, "*lead Lq Lk"]:
    """The weights that `attend` would use, in float32 or better whatever the inputs and autocast are."""
    assert causal or relative is None, "relative attention looks back"
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    return _weights(Problem(q, k, k, scale, bias, relative, mask, causal))  # weights need no values


def mix(
    weights: Float[Tensor, "*lead Lq Lk"],
    v: Float[Tensor, "*lead Lk Dv"],
    *,
    site: nn.Module,
    geometry: Geometry | None = None,
    dropout: float = 0.0,
) -> Float[Tensor, "*lead Lq Dv"]:
    """Weights times values, in the type of `v`; whoever watches `site` sees the weights first and then the product.

    geometry: the token of each query and key; both count from 0 if None.
    """
    if geometry is None:
        queries, keys = (torch.arange(n, device=v.device) for n in weights.shape[-2:])
        geometry = Geometry(queries, keys)
    with torch.autocast(v.device.type, enabled=False):
        weights = show(site, "weights", weights, geometry)
        kept = F.dropout(weights, dropout) if dropout > 0 else weights
        out = (kept @ v.to(weights.dtype)).to(v.dtype)
        return show(site, "heads", out, geometry)


def split_heads(x: Float[Tensor, "B *grid C"], heads: int) -> Float[Tensor, "B H *grid D"]:
    """Channels to heads: head h takes channels h·D to (h+1)·D - 1."""
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads).movedim(-2, 1)


def merge_heads(x: Float[Tensor, "B H *grid D"]) -> Float[Tensor, "B *grid C"]:
    """The inverse of `split_heads`."""
    return x.movedim(1, -2).flatten(-2)


def _weights(problem: Problem) -> Float[Tensor, "*lead Lq Lk"]:
    """Every large tensor is dropped or changed in place as soon as autograd allows: a long sequence has no room."""
    problem = problem.with_relative_as_bias().with_causal_as_mask()
    with torch.autocast(problem.q.device.type, enabled=False):
        exact = torch.promote_types(problem.q.dtype, torch.float32)
        x = (problem.q.to(exact) * problem.scale) @ problem.k.to(exact).transpose(-1, -2)
        if problem.bias is not None:
            x += problem.bias.to(exact)
        if problem.mask is None:
            return x.softmax(-1)
        # A finite floor, not -inf: a row without keys would be nan, also in the backward pass.
        x = x.masked_fill_(~problem.mask, torch.finfo(exact).min).softmax(-1)
        return x.masked_fill(~problem.mask.any(-1, keepdim=True), 0.0)


def _counting(problem: Problem) -> Geometry:
    queries, keys, device = problem.q.shape[-2], problem.k.shape[-2], problem.q.device
    first = keys - queries if problem.causal else 0
    return Geometry(torch.arange(first, first + queries, device=device), torch.arange(keys, device=device))
