"""One token through a transformer block, in as few operations as it takes.

    step = TokenStep(block, cache, batch)
    y_b1c = step(x_b1c)

With a token or a few, what PyTorch does around a product (a module called, a view made) costs as much as the product,
and the product costs what it takes to read the weights. Here views are made once, and a token is a column that the
weights, in parts, are multiplied with: PyTorch shares the parts between threads, and its kernel for a column reads
them faster than its kernel for a row. The mathematics is that of `SequenceBlock.forward`, and tests compare the two.

Shapes: B batch, n tokens so far, C channels, I channels in, O channels out, P parts, heads, D = C / heads.
"""

import math
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.module import _has_any_global_hook

from attn.core.attention.kernels.one_query import attend_row
from attn.core.attention.watch import is_watched
from attn.core.decoding.cache import Cache
from attn.core.mixers import Mixer

PARTS = 4  # one would miss the faster kernel, and many would leave a thread too little to read


@runtime_checkable
class Block(Protocol):
    """What a block is made of: x + mixer(norm1(x)), then x + mlp(norm2(x))."""

    norm1: nn.LayerNorm
    mixer: Mixer
    norm2: nn.LayerNorm
    mlp: nn.Sequential


class TokenStep:
    """A pre-norm block around a mixer that declares `one_token`, without gradients, dropout or cross attention."""

    def __init__(self, block: Block, cache: Cache, batch: int) -> None:
        way = block.mixer.one_token
        assert way is not None
        self._mixer, self._cache = block.mixer, cache
        self._norm1, self._norm2 = _normalise(block.norm1), _normalise(block.norm2)
        self._qkv, self._out = _affine(way.qkv), _affine(way.out)
        self._up, self._down = _affine(block.mlp[0]), _affine(block.mlp[2])
        self._activate = block.mlp[1]
        weight = block.norm1.weight.detach()
        self._qkv_ob = weight.new_empty(3 * block.mixer.config.channels, batch)
        self._fresh_bhd, k_bhd, v_bhd = self._qkv_ob.view(3, way.heads, -1, batch).permute(0, 3, 1, 2)
        self._k_bh1d, self._v_bh1d = k_bhd.unsqueeze(2), v_bhd.unsqueeze(2)
        self._q_bhd = weight.new_empty(k_bhd.shape)
        self._scale, self._relative = k_bhd.shape[-1] ** -0.5, way.relative
        inside = (block.norm1, block.norm2, block.mixer, block.mlp)
        modules = [module for part in inside for module in part.modules()]
        self._hooks = [hooks for each in modules for hooks in (each._forward_hooks, each._forward_pre_hooks)]

    def takes(self, x_blc: Tensor) -> bool:
        """Whether a token is all there is to do: no gradient, no other precision, nobody who looks."""
        if x_blc.shape[1] != 1 or torch.is_grad_enabled() or torch.is_autocast_enabled(x_blc.device.type):
            return False
        hooked = any(self._hooks) or _has_any_global_hook()  # type: ignore[no-untyped-call]
        return not hooked and not is_watched(self._mixer)

    def __call__(self, x_b1c: Float[Tensor, "B 1 C"]) -> Float[Tensor, "B 1 C"]:
        """The next token. Raises AttnError when the cache is full."""
        x_bc = x_b1c[:, 0]
        self._qkv(self._norm1(x_bc), self._qkv_ob)
        past = self._cache.append(self._k_bh1d, self._v_bh1d)
        if self._relative is not None:
            past.neighbours()
        torch.mul(self._fresh_bhd, self._scale, out=self._q_bhd)
        y_bhd = self.attend(self._q_bhd, past.k_bhnd, past.v_bhnd)
        x_bc = x_bc + self._out(y_bhd.view(x_bc.shape), None)
        x_bc = x_bc + self._down(self._activate(self._up(self._norm2(x_bc), None)), None)
        return x_bc[:, None]

    def attend(
        self,
        q_bhd: Float[Tensor, "B heads D"],
        k_bhnd: Float[Tensor, "B heads n D"],
        v_bhnd: Float[Tensor, "B heads n D"],
    ) -> Float[Tensor, "B heads D"]:
        """The query, scaled already, over all keys."""
        return attend_row(q_bhd, k_bhnd, v_bhnd, self._relative)


def shortens(block: Block, dtype: torch.dtype) -> bool:
    """Whether `TokenStep` computes what the block does, its cache being of `dtype`.

    The one-token path adds up in the weights' own precision. Below float32, or with a cache of another type, that is
    too inexact.
    """
    mixer, weight = block.mixer, block.norm1.weight
    changed = "forward" in vars(mixer) or "project" in vars(mixer)  # replaced in this one object
    plain = all(type(norm) is nn.LayerNorm and norm.weight is not None for norm in (block.norm1, block.norm2))
    known = type(block.mlp) is nn.Sequential and len(block.mlp) == 3
    return (
        mixer.one_token is not None
        and not changed
        and plain
        and known
        and weight.dtype.itemsize >= 4
        and weight.dtype == dtype
    )


def _normalise(norm: nn.LayerNorm) -> Callable[[Tensor], Tensor]:
    shape, weight, eps = norm.normalized_shape, norm.weight.detach(), norm.eps
    bias = None if norm.bias is None else norm.bias.detach()
    return lambda x_bc: F.layer_norm(x_bc, shape, weight, bias, eps)


def _affine(linear: nn.Module) -> Callable[[Tensor, Tensor | None], Tensor]:
    """The layer as a function of its input (B, I) and, if not None, of the memory (O, B) for its output (B, O)."""
    if type(linear) is not nn.Linear:  # a subclass may do more
        return lambda x_bi, out_ob: linear(x_bi) if out_ob is None else out_ob.copy_(linear(x_bi).t()).t()
    parts = math.gcd(linear.out_features, PARTS)
    weight_poi = linear.weight.detach().view(parts, -1, linear.in_features)
    bias_po1 = None if linear.bias is None else linear.bias.detach().view(parts, -1, 1)

    def multiply(x_bi: Tensor, out_ob: Tensor | None) -> Tensor:
        x_pib = x_bi.contiguous().t().expand(parts, -1, -1)  # several columns are read faster where they lie apart
        out_pob = None if out_ob is None else out_ob.view(parts, -1, len(x_bi))
        if bias_po1 is None:
            y_pob = torch.bmm(weight_poi, x_pib, out=out_pob)
        else:
            y_pob = torch.baddbmm(bias_po1, weight_poi, x_pib, out=out_pob)
        return y_pob.view(-1, len(x_bi)).t()

    return multiply
