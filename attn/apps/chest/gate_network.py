"""The classifier of the gate: a small network that tells a frontal chest from a turned one, a hand, a page of text.

    l = net(x), f = net(x mirrored)                                                      logits of the kinds
    other_k  = mean over l and f of  l_k - log(exp l_frontal + exp l_mirrored)           for each further kind k
    mirrored = ((l_mirrored - l_frontal) - (f_mirrored - f_frontal)) / 2

A picture and its mirror image are both of a further kind, or one of them is a frontal chest: both have the same
`other`, and opposite `mirrored`. So which side the heart is on is a comparison of one image with itself, and the
offset that the images of a new hospital bring falls out of it.

It sees pixels, not the features of the model: those were trained to tell diseases, to which the side does not matter.

Shapes: B batch, S model side, C channels, H height, W width, K kinds.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from attn.core.blocks.convolution import conv_then_norm

SIDE = 64
KINDS = ("frontal", "mirrored", "turned", "inverted", "part", "lateral", "other")
"""What it tells apart; a part is too little of a chest to see it."""
WIDTH = 16
HIDDEN = 64


class GateNetwork(nn.Module):
    """Pixels (B, 1, S, S) in 0..1 to logits of the kinds (B, K), with 170,000 weights."""

    def __init__(self) -> None:
        super().__init__()
        c = WIDTH
        self.body = nn.Sequential(
            Convolution(1, c, 2),
            Convolution(c, 2 * c, 2),
            Convolution(2 * c, 2 * c, 1),
            Convolution(2 * c, 4 * c, 2),
            Convolution(4 * c, 4 * c, 1),
            Convolution(4 * c, 4 * c, 2),
        )
        # Where things are tells a turned chest: the last map is flattened, not pooled.
        cells = (SIDE // 16) ** 2
        self.head = nn.Sequential(
            nn.Flatten(), nn.Dropout(0.2), nn.Linear(4 * c * cells, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, len(KINDS))
        )

    def forward(self, x_b1ss: Float[Tensor, "B 1 S S"]) -> Float[Tensor, "B K"]:
        """Logits (B, K)."""
        x = F.adaptive_avg_pool2d(x_b1ss.float(), SIDE)
        centred = x - x.mean((2, 3), keepdim=True)
        deviation = centred.square().mean((2, 3), keepdim=True).sqrt()
        logits_bk: Tensor = self.head(self.body(centred / (deviation + 0.01)))
        return logits_bk

    def evidence(self, x_b1ss: Float[Tensor, "B 1 S S"]) -> Float[Tensor, "B K-1"]:
        """Log odds (B, K - 1) of the kinds after the first against a frontal chest: `mirrored`, then `other`."""
        l_bk, f_bk = self(x_b1ss), self(x_b1ss.flip(3))
        mirrored_b = ((l_bk[:, 1] - l_bk[:, 0]) - (f_bk[:, 1] - f_bk[:, 0])) / 2
        other_bk = sum(y_bk[:, 2:] - y_bk[:, :2].logsumexp(1, keepdim=True) for y_bk in (l_bk, f_bk)) / 2
        return torch.cat([mirrored_b[:, None], other_bk], dim=1)


class Convolution(nn.Module):
    """3x3 convolution, batch norm, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels_out)

    def forward(self, x_bchw: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        """Sides are divided by the stride and rounded up."""
        return F.relu(self.norm(self.conv(x_bchw)))

    def fold_batch_norm(self) -> None:
        """Move the batch norm's affine map into the convolution; exact in eval mode."""
        self.conv = conv_then_norm(self.conv, self.norm)
        self.norm = nn.Identity()  # type: ignore[assignment]
