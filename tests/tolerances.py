"""How far a fast path may be from its oracle: one table, by the precision of the values compared.

Two values agree if |actual - expected| <= atol + rtol·|expected|. They are of order one in all oracle tests.
bfloat16 keeps 8 bits, so that one rounding is 2^-9 = 0.002 relative; a mixer makes some ten of them.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Tolerance(NamedTuple):
    rtol: float
    atol: float


TOLERANCES = {
    torch.float64: Tolerance(rtol=1e-9, atol=1e-10),
    torch.float32: Tolerance(rtol=1e-5, atol=1e-5),
    torch.bfloat16: Tolerance(rtol=2e-2, atol=2e-2),
}


def assert_close(actual: Tensor, expected: Tensor, dtype: torch.dtype | None = None) -> None:
    """Fail unless the tensors agree within the tolerance of `dtype`, by default that of `actual`."""
    rtol, atol = TOLERANCES[dtype or actual.dtype]
    torch.testing.assert_close(actual.to(expected.dtype), expected, rtol=rtol, atol=atol)
