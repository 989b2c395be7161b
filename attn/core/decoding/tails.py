"""The newest inputs of causal convolutions, for decoding in constant memory.

    x_bcn = tails.before("wide", x_bcl, 18)      # the 18 inputs before these, zeros at first, and these

A causal convolution of k taps and a dilation looks back over (k - 1) · dilation inputs, all that a step needs.

Shapes: B batch, C channels, L new tokens, n tokens that come back.
"""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


class Tails:
    """The newest inputs by the name of what reads them; `length` counts the tokens so far, by the mixer."""

    endless = True

    def __init__(self) -> None:
        self.length = 0
        self._kept: dict[str, Tensor] = {}

    def before(self, name: str, x_bcl: Float[Tensor, "B C L"], inputs: int) -> Float[Tensor, "B C n"]:
        """The new inputs behind the `inputs` before them, n = inputs + L; they are kept for the next call."""
        kept = self._kept.get(name)
        x_bcn = F.pad(x_bcl, (inputs, 0))
        if kept is not None:
            x_bcn[..., :inputs] = kept
        self._kept[name] = x_bcn[..., x_bcn.shape[-1] - inputs :].clone()
        return x_bcn
