"""Linear layers with weights in eight bits: a quarter of the memory, and of what a product with a few rows reads.

    y[o] = scale[o] · (q[o] · x) + b[o],    q[o] = round(W[o] / scale[o]) in -127..127,    scale[o] = max |W[o]| / 127

One scale for each row of the weights (Dettmers et al. 2022, arXiv:2208.07339, section 2.1, absmax over a row). On a
CPU the input is rounded to bfloat16, which PyTorch's kernel takes; on other devices the weights are multiplied out.

Shapes: I channels in, O channels out.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

LARGEST = 127
AT_ONCE = 32  # channels that the CPU's kernel reads together; it would read beyond the end of a row with fewer


class Int8Linear(nn.Module):
    """A linear layer, rounded; for inference only. Its values are buffers."""

    weight_oi: Tensor
    scale_o: Tensor
    bias_o: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight_oi = F.pad(linear.weight.detach(), (0, -linear.in_features % AT_ONCE))
        # The kernel takes scales in bfloat16. The weights are divided by the rounded scale, so it adds no error.
        scale_o = (weight_oi.abs().amax(1) / LARGEST).clamp(min=torch.finfo(torch.float32).tiny).bfloat16()
        rounded_oi = (weight_oi / scale_o[:, None]).round().clamp(-LARGEST, LARGEST)
        self.register_buffer("weight_oi", rounded_oi.to(torch.int8))
        self.register_buffer("scale_o", scale_o)
        self.register_buffer("bias_o", None if linear.bias is None else linear.bias.detach().clone())

    def forward(self, x: Float[Tensor, "*lead I"]) -> Float[Tensor, "*lead O"]:
        """As the layer, to about 1 % of its largest output."""
        x = F.pad(x, (0, self.weight_oi.shape[1] - x.shape[-1]))
        if x.device.type != "cpu":
            return F.linear(x, self.weight_oi.to(x.dtype) * self.scale_o[:, None].to(x.dtype), self.bias_o)
        rows = x.reshape(-1, x.shape[-1]).bfloat16()
        y = torch.ops.aten._weight_int8pack_mm(rows, self.weight_oi, self.scale_o)
        y = y.to(x.dtype) if self.bias_o is None else torch.add(self.bias_o, y)
        return y.view(*x.shape[:-1], -1)


def to_int8(model: nn.Module) -> None:
    """Replace every `nn.Linear` below `model` by an `Int8Linear`; the memory of its weights is freed."""
    for name, child in model.named_children():
        if isinstance(child, nn.Linear):
            setattr(model, name, Int8Linear(child))
        else:
            to_int8(child)
