"""One token through a transformer block, in as few operations as it takes.

    step = TokenStep(block.norm1, block.mixer, block.norm2, block.mlp, cache, batch)
    y_b1c = step(x_b1c)

With a token or a few, what PyTorch does around a product (a module called, a view made) costs as much as the product,
and the product costs what it takes to read the weights. Here views are made once, and a token is a column that the
weights, in parts, are multiplied with: PyTorch shares the parts between threads, and its kernel for a column reads
them faster than its kernel for a row. The mathematics is that of `SequenceBlock.step`, which tests hold it to.

Shapes: B batch, C channels, I channels in, O channels out, P parts, heads, D = C / heads.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from attn.core.attention.kernels.one_query import attend_row
from attn.core.decoding.cache import Cache
from attn.core.mixers import Mixer

PARTS = 4  # one would miss the faster kernel, and many would leave a thread too little to read


class TokenStep:
    """A pre-norm block around a mixer with `steps_by_row`, without gradients, dropout or cross attention."""

    def __init__(
        self, norm1: nn.LayerNorm, mixer: Mixer, norm2: nn.LayerNorm, mlp: nn.Sequential, cache: Cache, batch: int
    ) -> None:
        assert mixer.steps_by_row
        heads = mixer.config.heads
        self._norm1, self._norm2 = _normalise(norm1), _normalise(norm2)
        self._qkv, self._out = _affine(mixer.get_submodule("qkv")), _affine(mixer.get_submodule("out"))
        self._up, self._down = _affine(mlp[0]), _affine(mlp[2])
        self._activate, self._cache = mlp[1], cache
        weight = norm1.weight.detach()
        self._qkv_ob = weight.new_empty(3 * mixer.config.channels, batch)
        self._fresh_bhd, k_bhd, v_bhd = self._qkv_ob.view(3, heads, -1, batch).permute(0, 3, 1, 2)
        self._k_bh1d, self._v_bh1d = k_bhd.unsqueeze(2), v_bhd.unsqueeze(2)
        self._q_bhd = weight.new_empty(k_bhd.shape)
        self._scale, self._relative = k_bhd.shape[-1] ** -0.5, mixer.row_relative

    def __call__(self, x_b1c: Float[Tensor, "B 1 C"]) -> Float[Tensor, "B 1 C"]:
        """The next token. Raises AttnError when the cache is full."""
        x_bc = x_b1c[:, 0]
        self._qkv(self._norm1(x_bc), self._qkv_ob)
        k_bhnd, v_bhnd = self._cache.append(self._k_bh1d, self._v_bh1d)
        torch.mul(self._fresh_bhd, self._scale, out=self._q_bhd)
        y_bhd = attend_row(self._q_bhd, k_bhnd, v_bhnd, self._relative)
        x_bc = x_bc + self._out(y_bhd.view(x_bc.shape), None)
        x_bc = x_bc + self._down(self._activate(self._up(self._norm2(x_bc), None)), None)
        return x_bc[:, None]


def _normalise(norm: nn.LayerNorm) -> Callable[[Tensor], Tensor]:
    shape, weight, bias, eps = norm.normalized_shape, norm.weight.detach(), norm.bias.detach(), norm.eps
    return lambda x_bc: F.layer_norm(x_bc, shape, weight, bias, eps)


def _affine(linear: nn.Module) -> Callable[[Tensor, Tensor | None], Tensor]:
    """The layer as a function of its input (B, I) and, if not None, of the memory (O, B) for its output (B, O)."""
    if not isinstance(linear, nn.Linear):
        return lambda x_bi, out_ob: linear(x_bi) if out_ob is None else out_ob.copy_(linear(x_bi).t()).t()
    parts = math.gcd(linear.out_features, PARTS)
    weight_poi = linear.weight.detach().view(parts, -1, linear.in_features)
    bias_po1 = linear.bias.detach().view(parts, -1, 1)

    def multiply(x_bi: Tensor, out_ob: Tensor | None) -> Tensor:
        x_pib = x_bi.contiguous().t().expand(parts, -1, -1)  # several columns are read faster where they lie apart
        out_pob = None if out_ob is None else out_ob.view(parts, -1, len(x_bi))
        return torch.baddbmm(bias_po1, weight_poi, x_pib, out=out_pob).view(-1, len(x_bi)).t()

    return multiply
