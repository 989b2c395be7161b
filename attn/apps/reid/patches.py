"""Patches of a picture as EfficientNet-Lite0 sees them, sharpened so that their mean is a generalised mean.

    y_n = W x_n³ / g²,   g³ = mean_n x_n³,   and so   mean_n y_n = W g

g is the generalised mean of order 3 (Radenovic et al. 2018, arXiv:1711.02512, equation 3): where a channel is strong
counts for more than where it is weak. Written as patches it stays a sum over places. The map of stride 16 has channels
of both signs, and is taken as it is.

Shapes: B batch, C width, S height and T width of the picture, P = S / stride and Q = T / stride.
"""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from attn.core.blocks.lite0 import WIDTHS, Lite0
from attn.core.blocks.vision import PatchEmbedding

EARLY = 5
"""Stages of the body that `early` has: those up to stride 16."""
STAGES = {16: EARLY, 32: len(WIDTHS)}
"""Stages of the body up to the map of a stride."""
CHANNELS = {stride: WIDTHS[stages - 1] for stride, stages in STAGES.items()}


class Lite0Patches(PatchEmbedding):
    """Pictures (B, 3, S, T), or what `early` made of them, to patches (B, C, P, Q)."""

    def __init__(self, width: int, stride: int = 32) -> None:
        super().__init__(CHANNELS[stride], width, 1, Lite0(STAGES[stride]))
        self.body: Lite0
        self.train()

    def train(self, mode: bool = True) -> "Lite0Patches":
        """The norms of the body keep what they have seen, and its first stages their weights."""
        super().train(mode)
        self.body.eval()
        for part in (self.body.stem, self.body.stages[:EARLY]):
            part.requires_grad_(False)
        return self

    def early(self, x_b3st: Float[Tensor, "B 3 S T"]) -> Float[Tensor, "B 112 S/16 T/16"]:
        """The map of the first stages."""
        x: Tensor = self.body.stages[:EARLY](F.relu6(self.body.stem(x_b3st)))
        return x

    def late(self, x_bchw: Float[Tensor, "B 112 S/16 T/16"]) -> Float[Tensor, "B C2 P Q"]:
        """The map of the other stages, sharpened; where there are none the map of `early`."""
        if len(self.body.stages) == EARLY:
            return x_bchw
        x = F.relu6(self.body.top(self.body.stages[EARLY:](x_bchw)))
        cube = x.float() ** 3
        sharp: Tensor = cube / (cube.mean((2, 3), keepdim=True) + 1e-6) ** (2 / 3)
        return sharp.to(x.dtype)

    def forward(self, x_bchw: Float[Tensor, "B channels H W"]) -> Float[Tensor, "B C P Q"]:
        """A map that `early` made has more channels than a picture."""
        out: Tensor = self.project(self.late(self.early(x_bchw) if x_bchw.shape[1] == 3 else x_bchw))
        return out
