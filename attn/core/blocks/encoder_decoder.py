"""An encoder-decoder with self-attention in its bottleneck: the U-Net's shape (Ronneberger et al. 2015, figure 1).

The encoder halves the side and widens the channels, a mixer lets all places of the smallest map see one another, and
the decoder returns to the side of the first scale, each time beside the encoder's map of that size.

Shapes: B batch, C channels, H height, W width.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from attn.core import mixers
from attn.core.blocks.convolution import ConvStem, MBConv, TransformerBlock2d

HEAD_WIDTH = 32


class EncoderDecoder(nn.Module):
    """(B, bands, H, W) to (B, widths[0], ceil(H / 2), ceil(W / 2)).

    `widths` are the channels at each scale, which lie at strides 2, 4, 8 and so on. `depth` transformer blocks with
    `mixer` (as `attn.core.mixers.choice` reads it) are the bottleneck; `side` is the usual side of the input.
    Raises UsageError for a mixer that does not exist or fit.
    """

    def __init__(self, bands: int, widths: Sequence[int], depth: int, mixer: str, side: int) -> None:
        super().__init__()
        self.stem = ConvStem(bands, widths[0])
        self.down = nn.ModuleList(MBConv(w, deeper, 2) for w, deeper in pairwise(widths))
        for _ in widths:
            side = -(-side // 2)
        last = widths[-1]
        self.bottleneck = nn.Sequential(
            *(
                TransformerBlock2d(
                    last,
                    last,
                    mixers.create(
                        choice,
                        dims=2,
                        causal=False,
                        channels=last,
                        heads=max(1, last // HEAD_WIDTH),
                        size=(side, side),
                    ),
                )
                for choice in mixers.per_layer(mixer, depth)
            )
        )
        self.up = nn.ModuleList(MBConv(w + deeper, w) for w, deeper in reversed([*pairwise(widths)]))

    def forward(self, x_bchw: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        """The decoder's last map."""
        x_bchw = self.stem(x_bchw)
        skips = []
        for down in self.down:
            skips.append(x_bchw)
            x_bchw = down(x_bchw)
        x_bchw = self.bottleneck(x_bchw)
        for up, skip_bchw in zip(self.up, reversed(skips), strict=True):
            larger_bchw = F.interpolate(x_bchw, size=skip_bchw.shape[2:], mode="bilinear", align_corners=False)
            x_bchw = up(torch.cat([skip_bchw, larger_bchw], dim=1))
        return x_bchw
