"""The one door to softmax attention.

    out = softmax(q kᵀ · scale + bias, over the allowed keys) v

Source: Vaswani et al. 2017, equation 1, with a bias. Unwatched it is the fused kernel and no weight matrix
exists; a single query, whose weights are a row, is done by two matrix products, which is faster. Watched
(`attn.core.watch`) the weights are computed explicitly in float32, shown, and what comes back is used. All agree
to 1e-5 in float32.

Shapes: B batch, H heads, G any window dimensions, Lq queries, Lk keys, D head dimension, C = H·D channels.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from attn.core.few_tokens import attend_few, has_few_tokens
from attn.core.relative import Relative, relative_attention
from attn.core.watch import Geometry, is_watched, show


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
    whole = is_watched(site) or torch.compiler.is_compiling()
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    reaches_all = mask is None and (relative is None or relative.block is None)
    if not whole and reaches_all and dropout == 0 and _is_row(q, k, v):
        bias_bhn = None if bias is None else bias.expand(*q.shape[:-1], k.shape[-2])[..., 0, :]
        return attend_row(q[:, :, 0] * scale, k, v, relative, bias_bhn)[:, :, None]
    free = bias is None and mask is None and relative is None and not causal
    if not whole and free and dropout == 0 and has_few_tokens(q, k, v):
        return attend_few(q, k, v, scale)
    if relative is not None:
        whole = whole or q.shape[-2] == 1
        if not whole and bias is None and mask is None and dropout == 0:
            return relative_attention(q, k, v, relative, scale)
        logits = relative.logits(q, k.shape[-2]) * scale
        bias = logits if bias is None else bias + logits
        reach = relative.mask(q.shape[-2], k.shape[-2], q.device)
        mask = reach if mask is None or reach is None else mask & reach
    if is_watched(site):
        assert site is not None
        if causal:
            mask = _with_causal(q, k, mask)
        return _explicit(q, k, v, bias, mask, scale, dropout, site, geometry or _counting(q, k, causal))
    causal = causal and q.shape[-2] > 1  # a single query is the last and sees all keys
    # The kernel's own causal flag is faster than a mask, but it aligns the first query with the first key.
    lower_triangle = causal and bias is None and mask is None and q.shape[-2] == k.shape[-2]
    if causal and not lower_triangle:
        mask = _with_causal(q, k, mask)
    return _fused(q, k, v, bias, mask, lower_triangle, scale, dropout)


def attend_row(
    q_bhd: Float[Tensor, "B H D"],
    k_bhnd: Float[Tensor, "B H n D"],
    v_bhnd: Float[Tensor, "B H n Dv"],
    relative: Relative | None = None,
    bias_bhn: Float[Tensor, "B H n"] | None = None,
) -> Float[Tensor, "B H Dv"]:
    """One query, scaled already, that sees all keys: a step of decoding."""
    k_xnd, v_xnd = k_bhnd.flatten(0, 1), v_bhnd.flatten(0, 1)
    if relative is None:
        logits_xn = torch.bmm(k_xnd, q_bhd.reshape(len(k_xnd), 1, -1).mT)[..., 0]  # faster than q kᵀ
    else:
        logits_xn = relative.row(q_bhd, k_xnd)
    if bias_bhn is not None:
        logits_xn = logits_xn + bias_bhn.reshape(logits_xn.shape)
    return torch.bmm(logits_xn.softmax(-1)[:, None], v_xnd).view(*q_bhd.shape[:2], -1)


def split_heads(x: Float[Tensor, "B *grid C"], heads: int) -> Float[Tensor, "B H *grid D"]:
    """Channels to heads: head h takes channels h·D to (h+1)·D - 1."""
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads).movedim(-2, 1)


def merge_heads(x: Float[Tensor, "B H *grid D"]) -> Float[Tensor, "B *grid C"]:
    """The inverse of `split_heads`."""
    return x.movedim(1, -2).flatten(-2)


def _is_row(q: Tensor, k: Tensor, v: Tensor) -> bool:
    """Whether there is one query for each head, in a precision that needs no care."""
    return q.dim() == 4 and q.shape[2] == 1 and q.dtype == k.dtype == v.dtype and q.dtype.itemsize >= 4


def _fused(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    lower_triangle: bool,
    scale: float | None,
    dropout: float,
) -> Tensor:
    """One kernel call on (B, X, L, D): other numbers of dimensions miss the fast kernel."""
    lead = q.shape[:-2]
    if bias is not None:
        bias = bias.to(q.dtype)
        mask = bias if mask is None else bias.masked_fill(~mask, -torch.inf)
    out = F.scaled_dot_product_attention(
        _four_dimensional(q, lead),
        _four_dimensional(k, lead),
        _four_dimensional(v, lead),
        attn_mask=None if mask is None else _four_dimensional(mask, lead),
        dropout_p=dropout,
        is_causal=lower_triangle,
        scale=scale,
    )
    if torch.compiler.is_exporting():
        # The kernel's output and its decomposition differ in strides; views traced on one fail on the other.
        out = out.clone(memory_format=torch.contiguous_format)
    return out if len(lead) == 2 else out.reshape(*lead, *out.shape[-2:])


def _four_dimensional(x: Tensor, lead: torch.Size) -> Tensor:
    """(*lead, L, D), or what broadcasts to it, as (B, X, L, D), X being the other dimensions."""
    if len(lead) < 2:
        return x.reshape(*x.shape[:-2], *(1,) * (4 - x.dim()), *x.shape[-2:])
    x = x[(None,) * (len(lead) + 2 - x.dim())]
    middle = x.shape[1:-2]
    if len(lead) > 2 and any(size != 1 for size in middle):
        x = x.expand(-1, *lead[1:], -1, -1)
    return x.flatten(1, -3)


def _explicit(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    scale: float | None,
    dropout: float,
    site: nn.Module,
    geometry: Geometry,
) -> Tensor:
    """The same with a weight matrix, in float32 or better whatever the inputs and autocast are."""
    with torch.autocast(q.device.type, enabled=False):
        exact = torch.promote_types(q.dtype, torch.float32)
        scale = q.shape[-1] ** -0.5 if scale is None else scale
        logits = (q.to(exact) * scale) @ k.to(exact).transpose(-1, -2)
        if bias is not None:
            logits = logits + bias.to(exact)
        if mask is not None:
            # A finite floor, not -inf: a row without keys would be nan, also in the backward pass.
            logits = logits.masked_fill(~mask, torch.finfo(exact).min)
        weights = logits.softmax(-1)
        if mask is not None:
            weights = weights.masked_fill(~mask, 0.0)
        weights = show(site, weights, geometry)
        weights = F.dropout(weights, dropout)
        return (weights @ v.to(exact)).to(v.dtype)


def _with_causal(q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
    lq, lk = q.shape[-2], k.shape[-2]
    past = torch.ones(lq, lk, dtype=torch.bool, device=q.device).tril(lk - lq)
    return past if mask is None else mask & past


def _counting(q: Tensor, k: Tensor, causal: bool) -> Geometry:
    lq, lk = q.shape[-2], k.shape[-2]
    first = lk - lq if causal else 0
    return Geometry(torch.arange(first, first + lq, device=q.device), torch.arange(lk, device=q.device))
