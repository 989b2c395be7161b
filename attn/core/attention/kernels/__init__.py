"""What computes attention. A kernel is a module with two functions:

    takes(problem) -> bool      whether it gives the right answer here, and is the fast way
    run(problem) -> Tensor      (*lead, Lq, Dv), equal to `attn.core.attention.reference.attention`

`attend` uses the first in KERNELS that takes the problem. All but the last leave graphs that are being traced
(`torch.compile`, `torch.export`) to PyTorch's own kernel.
"""

from typing import Protocol

from torch import Tensor

from attn.core.attention.kernels import few_tokens, fused, one_query, skewed
from attn.core.attention.problem import Problem


class Kernel(Protocol):
    """What a module of this package offers."""

    def takes(self, problem: Problem) -> bool:
        """Whether this is the way to solve the problem."""

    def run(self, problem: Problem) -> Tensor:
        """The output (*lead, Lq, Dv)."""


KERNELS: tuple[Kernel, ...] = (one_query, few_tokens, skewed, fused)
