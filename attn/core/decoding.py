"""One token through a transformer block, in as few operations as it takes.

    step = TokenStep(block.norm1, block.mixer, block.norm2, block.mlp, cache, batch)
    y_b1c = step(x_b1c)

With a row or a few, what PyTorch does around a product (a module called, a view made) costs as much as the product.
Here the views are made once, and the weights are kept in the order in which a product with one row reads them fastest.
The mathematics is that of `SequenceBlock.step`, which tests hold it to.

Shapes: B batch, C channels, heads, D = C / heads, M rows of a relative table.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from attn.core.attend import attend_row
from attn.core.cache import Cache
from attn.core.mixers import Mixer


class TokenStep:
    """A pre-norm block around a mixer with `steps_by_row`, without gradients, dropout or cross attention.

    Weights are copied: what changes them later is not seen.
    """

    def __init__(
        self, norm1: nn.LayerNorm, mixer: Mixer, norm2: nn.LayerNorm, mlp: nn.Sequential, cache: Cache, batch: int
    ) -> None:
        assert mixer.steps_by_row
        heads = mixer.config.heads
        self._norm1, self._norm2 = _normalise(norm1), _normalise(norm2)
        self._qkv, self._out = _affine(mixer.get_submodule("qkv")), _affine(mixer.get_submodule("out"))
        self._up, self._down = _affine(mlp[0]), _affine(mlp[2])
        self._activate, self._cache = mlp[1], cache
        self._qkv_bc = norm1.weight.detach().new_empty(batch, 3 * mixer.config.channels)
        self._q_bhd, k_bhd, v_bhd = self._qkv_bc.view(batch, 3, heads, -1).unbind(1)
        self._k_bh1d, self._v_bh1d = k_bhd.unsqueeze(2), v_bhd.unsqueeze(2)
        self._scale = self._q_bhd.shape[-1] ** -0.5
        self._relative = mixer.row_relative
        if self._relative is not None:  # a product with one row reads a table distance by distance
            table_hmd = self._relative.table.detach()
            self._relative = self._relative._replace(table=table_hmd.mT.contiguous().mT)

    def __call__(self, x_b1c: Float[Tensor, "B 1 C"]) -> Float[Tensor, "B 1 C"]:
        """The next token. Raises AttnError when the cache is full."""
        x_bc = x_b1c[:, 0]
        self._qkv(self._norm1(x_bc), self._qkv_bc)
        k_bhnd, v_bhnd = self._cache.append(self._k_bh1d, self._v_bh1d)
        y_bhd = attend_row(self._q_bhd * self._scale, k_bhnd, v_bhnd, self._relative)
        x_bc = x_bc + self._out(y_bhd.view(x_bc.shape), None)
        x_bc = x_bc + self._down(self._activate(self._up(self._norm2(x_bc), None)), None)
        return x_bc[:, None]


def _normalise(norm: nn.LayerNorm) -> Callable[[Tensor], Tensor]:
    shape, weight, bias, eps = norm.normalized_shape, norm.weight.detach(), norm.bias.detach(), norm.eps
    return lambda x_bc: F.layer_norm(x_bc, shape, weight, bias, eps)


def _affine(linear: nn.Module) -> Callable[[Tensor, Tensor | None], Tensor]:
    """The layer as a function of its input and, if not None, of the memory for its output."""
    if isinstance(linear, nn.Linear):
        weight_io, bias_o = linear.weight.detach().t().contiguous(), linear.bias.detach()
        return lambda x_bi, out: torch.addmm(bias_o, x_bi, weight_io, out=out)
    return lambda x_bi, out: linear(x_bi) if out is None else out.copy_(linear(x_bi))
