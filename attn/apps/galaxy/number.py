"""A number that a model answers with instead of a class: a share of votes, a redshift, a size.

Shapes: N rows, B batch.
"""

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F

from attn.core.errors import InputError


class Number(BaseModel):
    """The column that is learned, and how the network's output becomes its number; stored in the model's record.

    A `share` is in 0..1 and the output its logit; another number is `mean` + `std` x output.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=4096)
    share: bool
    mean: float = Field(ge=-1e30, le=1e30)
    std: float = Field(gt=0, le=1e30)

    def value(self, output_b: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """The numbers of network outputs."""
        return output_b.sigmoid() if self.share else self.mean + self.std * output_b

    def loss(self, output_b: Float[Tensor, " B"], true_b: Float[Tensor, " B"]) -> Float[Tensor, ""]:
        """Of a share the cross-entropy of its votes, else the Huber loss of the standardised number."""
        if self.share:
            return F.binary_cross_entropy_with_logits(output_b, true_b)
        return F.huber_loss(output_b, (true_b - self.mean) / self.std)


def numbers_of(texts: Sequence[str], name: str) -> Float[np.ndarray, " N"]:
    """The cells of a column as finite numbers. InputError for the first that is none."""
    values_n = np.full(len(texts), np.nan)
    for row, text in enumerate(texts):
        with suppress(ValueError):
            values_n[row] = float(text)
        if not np.isfinite(values_n[row]):
            raise InputError(
                f"{text[:40]!r} in the column {name!r} is not a number",
                where=f"row {row + 1}",
                hint="fill or remove it, or learn it as a class with --label",
            )
    return values_n
