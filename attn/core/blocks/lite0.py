"""EfficientNet-Lite0, the part that computes features: a stem, seven stages of inverted residuals, a 1x1 convolution.

Source: EfficientNet (Tan and Le 2019, arXiv:1905.11946, table 1) in the "lite" form that its authors published for
small devices: no squeeze-and-excitation, ReLU6 for swish. Inverted residuals: Sandler et al. 2018, section 3.3.
Published weights are in `attn.core.starts`. They were trained with TensorFlow's "same" padding, which is uneven where
a stride of 2 meets an even size.

Shapes: B batch, C channels, H height, W width.
"""

import math
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from attn.core.blocks.convolution import StochasticDepth, conv_then_norm

STEM = 32
# Of each stage: expansion of the hidden width, width, blocks, kernel side, stride of the first block.
STAGES = (
    (1, 16, 1, 3, 1),
    (6, 24, 2, 3, 2),
    (6, 40, 2, 5, 2),
    (6, 80, 3, 3, 2),
    (6, 112, 3, 5, 1),
    (6, 192, 4, 5, 2),
    (6, 320, 1, 3, 1),
)
TOP = 1280
WIDTHS = (*(stage[1] for stage in STAGES), TOP)
"""Channels after each stage; the 1x1 convolution at the end counts as the eighth."""
NORM_EPS = 1e-3  # the published weights' own


def stride_after(stages: int) -> int:
    """Pixels of the input to a pixel of the map after `stages` stages."""
    return 2 * math.prod(stage[4] for stage in STAGES[:stages])


class Lite0(nn.Module):
    """The stem and the first `stages` stages, 1 to 8: (B, 3, H, W) to (B, WIDTHS[stages - 1], H', W').

    H' is H / 2 after stage 1, H / 4, H / 8, H / 16 after 2 to 4, H / 16 after 5 and H / 32 from 6 on, rounded up.
    `drop_path` is the stochastic depth of the last block; it grows from 0 along the blocks.
    """

    def __init__(self, stages: int = len(WIDTHS), drop_path: float = 0.0) -> None:
        super().__init__()
        chosen = STAGES[:stages]
        drop_paths = iter(torch.linspace(0, drop_path, sum(stage[2] for stage in chosen), device="cpu").tolist())
        self.stem = ConvNorm(3, STEM, 3, stride=2)
        self.stages = nn.Sequential()
        for (expansion, width, blocks, kernel, stride), before in zip(chosen, (STEM, *WIDTHS), strict=False):
            widths = pairwise((before, *(width for _ in range(blocks))))
            self.stages.append(
                nn.Sequential(
                    *(
                        InvertedResidual(c_in, c_out, expansion, kernel, stride if index == 0 else 1, next(drop_paths))
                        for index, (c_in, c_out) in enumerate(widths)
                    )
                )
            )
        self.top = ConvNorm(STAGES[-1][1], TOP, 1) if stages > len(STAGES) else nn.Identity()

    def forward(self, x_bchw: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        """The map of the last stage asked for."""
        x_bchw = self.stages(F.relu6(self.stem(x_bchw)))
        if isinstance(self.top, ConvNorm):
            x_bchw = F.relu6(self.top(x_bchw))
        return x_bchw


class ConvNorm(nn.Module):
    """A convolution with "same" padding, then batch norm; sides are divided by the stride and rounded up."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        # At stride 1 "same" is even on both sides, which the convolution does itself.
        padding = kernel // 2 if stride == 1 else 0
        self.conv = nn.Conv2d(
            channels_in, channels_out, kernel, stride=stride, padding=padding, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(channels_out, eps=NORM_EPS)
        self.kernel, self.stride = kernel, stride

    def forward(self, x_bchw: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        """Normalised, not yet rectified."""
        if self.stride > 1:
            x_bchw = F.pad(x_bchw, (*self._missing(x_bchw.shape[3]), *self._missing(x_bchw.shape[2])))
        out: Tensor = self.norm(self.conv(x_bchw))
        return out

    def fold_batch_norm(self) -> None:
        """Move the batch norm's affine map into the convolution; exact in eval mode."""
        self.conv = conv_then_norm(self.conv, self.norm)
        self.norm = nn.Identity()  # type: ignore[assignment]

    def _missing(self, side: int) -> tuple[int, int]:
        """Pixels to add before and after, so that ceil(side / stride) come out; the odd one goes after."""
        total = max((-(-side // self.stride) - 1) * self.stride + self.kernel - side, 0)
        return total // 2, total - total // 2


class InvertedResidual(nn.Module):
    """1x1 expand, depthwise (here the stride), 1x1 project without activation; a residual where the shape stays.

    Without an `expansion`, as in the first block, the 1x1 expand is left out.
    """

    def __init__(
        self, channels_in: int, channels_out: int, expansion: int, kernel: int, stride: int, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        hidden = expansion * channels_in
        self.expand = ConvNorm(channels_in, hidden, 1) if expansion > 1 else None
        self.depthwise = ConvNorm(hidden, hidden, kernel, stride, groups=hidden)
        self.project = ConvNorm(hidden, channels_out, 1)
        self.residual = stride == 1 and channels_in == channels_out
        self.drop_path = StochasticDepth(drop_path)

    def forward(self, x_bchw: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        """(B, C, H, W) to (B, channels_out, ceil(H / stride), ceil(W / stride))."""
        y = x_bchw if self.expand is None else F.relu6(self.expand(x_bchw))
        y = self.project(F.relu6(self.depthwise(y)))
        out: Tensor = x_bchw + self.drop_path(y) if self.residual else y
        return out
