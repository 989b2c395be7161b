"""From a model's logits to calibrated probabilities, the same in prediction, measuring and export.

    exclusive classes   p = softmax(z / T + s)        s_k = log pi_k - log pi'_k
    labels of their own p = sigmoid(z / T + s)        s_k = logit pi_k - logit pi'_k

T is the temperature (Guo et al. 2017, arXiv:1706.04599, section 4.2). The shift s undoes balanced sampling: a model
that was shown class k with the frequency pi'_k answers as if that were its frequency, which is pi_k where the model is
used (Saerens et al. 2002, Neural Computation 14, equation 4: p(k | x) is in proportion to p'(k | x) pi_k / pi'_k).

Shapes: B batch, K classes.
"""

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

HALF = 0.5
"""Where a class without an operating point of its own is called."""
SENSITIVITY = 0.95
"""What operating points are chosen to reach, if nobody says otherwise."""
Shift = Annotated[float, Field(ge=-100, le=100)]
Rate = Annotated[float, Field(ge=0, le=1)]


class OperatingPoint(BaseModel):
    """A class is called from the probability `threshold` up; and what that gave on the rows it was chosen on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float = Field(ge=0, le=2)
    """Above 1, nothing is called."""
    sensitivity: Rate
    specificity: Rate
    target_sensitivity: Rate


class Calibration(BaseModel):
    """What prediction reads of the record's calibration.

    `shift` has one number per class, none for no shift; `operating_points` one entry per label that has such a point.
    """

    model_config = ConfigDict(frozen=True)

    temperature: float = Field(default=1.0, ge=1e-3, le=1e3)
    shift: tuple[Shift, ...] = ()
    operating_points: dict[str, OperatingPoint] = {}

    def probabilities(self, logits_bk: Float[Tensor, "B K"], *, exclusive: bool = True) -> Float[Tensor, "B K"]:
        """Calibrated probabilities (B, K) of logits, or of log-probabilities where classes are exclusive."""
        z_bk = logits_bk / self.temperature
        if self.shift:
            z_bk = z_bk + z_bk.new_tensor(self.shift)
        return z_bk.softmax(-1) if exclusive else torch.sigmoid(z_bk)
