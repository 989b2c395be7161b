"""What the recipes of all trainings on images share: AdamW, its rate by the size of the batch, and the schedule."""

import math
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from lightning import LightningModule

from attn.core.training.adamw import adamw
from attn.core.training.warmup import warm_cosine


@dataclass(frozen=True, kw_only=True)
class BatchRecipe:
    """`learning_rate` is for a batch of 256 and scaled by sqrt(batch_size / 256), as AdamW wants it.

    `warmup` is the share of all steps; `pretrained` the share of the rate at which weights from a start learn.
    """

    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    warmup: float = 0.05
    batch_size: int = 64
    pretrained: float = 0.3

    @property
    def effective_learning_rate(self) -> float:
        """The peak rate at this batch size."""
        return self.learning_rate * math.sqrt(self.batch_size / 256)

    def described(self) -> dict[str, Any]:
        """All settings and the effective rate, as a model's record keeps them."""
        return asdict(self) | {"effective_learning_rate": self.effective_learning_rate}

    def optimizer(self, module: LightningModule, started: Collection[str] = ()) -> dict[str, Any]:
        """AdamW without decay on biases, norms and tables; linear warm-up, then cosine to zero.

        `started` are names of the parameters of `module` that come from a start.
        """
        optimizer = adamw(module, self.effective_learning_rate, self.weight_decay, started, self.pretrained)
        return warm_cosine(optimizer, module.trainer.estimated_stepping_batches, self.warmup)
