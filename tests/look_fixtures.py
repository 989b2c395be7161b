"""Networks whose attention was planted: what a look must find in them is known."""

import torch
from torch import Tensor, nn

from attn.core.attention.attend import merge_heads, mix, split_heads
from attn.look.layout import Layout, on_grid
from attn.look.probe import Batch, Probe

SIDE = 4
N = SIDE * SIDE
WIDTH = 3  # of a head


def weights_of(kind: str, n: int = N, side: int = SIDE) -> Tensor:
    """The planted weights (N, N) of a head."""
    eye = torch.eye(n)
    line, column = torch.arange(n) // side, torch.arange(n) % side
    match kind:
        case "uniform":
            return torch.full((n, n), 1 / n)
        case "self":
            return eye
        case "offset":
            return eye.roll(1, 1)
        case "row":
            return (line[:, None] == line).float() / side
        case "column":
            return (column[:, None] == column).float() / (n // side)
        case "sink":
            return eye[:1].expand(n, n).clone()
        case "random":
            return (2 * torch.randn(n, n, generator=torch.Generator().manual_seed(3))).softmax(-1)
    raise ValueError(kind)


class Site(nn.Module):
    """Heads with the given weights (H, N, N), whose values are the tokens, cut into as many parts."""

    def __init__(self, weights_hnn: Tensor) -> None:
        super().__init__()
        self.register_buffer("weights", weights_hnn)

    def forward(self, x_bnc: Tensor) -> Tensor:
        v = split_heads(x_bnc, len(self.weights))
        return merge_heads(mix(self.weights.expand(len(x_bnc), -1, -1, -1), v, site=self))


class Block(nn.Module):
    """A residual block of one site."""

    def __init__(self, weights_hnn: Tensor) -> None:
        super().__init__()
        self.mixer = Site(weights_hnn)

    def forward(self, x_bnc: Tensor) -> Tensor:
        return x_bnc + self.mixer(x_bnc)


class Planted(nn.Module):
    """Blocks whose heads have the planted kinds of attention."""

    def __init__(self, *kinds: tuple[str, ...]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(torch.stack([weights_of(kind) for kind in heads])) for heads in kinds)

    def forward(self, x_bnc: Tensor) -> Tensor:
        for block in self.blocks:
            x_bnc = block(x_bnc)
        return x_bnc


def probe_of(network: nn.Module, log_p: object = None, layout: Layout | None = None) -> Probe:
    """A probe of a network of tokens, whose answer is which of two channels is larger in the first token."""

    def first(x_bnc: Tensor) -> Tensor:
        return network(x_bnc)[:, :1, :2].log_softmax(-1)

    return Probe("planted", "planted", network, lambda inputs: [], log_p or first, "a planted answer")  # type: ignore[arg-type]


def tokens(heads: int, examples: int = 4, layout: Layout | None = None) -> Batch:
    """Random tokens for heads of the usual width, on a grid."""
    x_bnc = torch.randn(examples, N, heads * WIDTH, generator=torch.Generator().manual_seed(0))
    return Batch(tuple(map(str, range(examples))), (x_bnc,), {"*": layout or on_grid(SIDE, SIDE)})
