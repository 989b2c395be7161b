"""The learning rate of a training: a linear warm-up, then half a cosine.

    factor(s) = (s + 1) / W                                                for s < W
    factor(s) = floor + (1 - floor) (1 + cos(π (s - W) / (S - W))) / 2     afterwards

W steps of warm-up, S steps in all (Loshchilov and Hutter 2017, arXiv:1608.03983, equation 5, without restarts).
"""

import math
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def warm_cosine(optimizer: Optimizer, steps: int | float, warmup: float, floor: float = 0.0) -> dict[str, Any]:
    """The optimizer with this schedule, as Lightning's `configure_optimizers` returns it.

    steps: of the whole training (`trainer.estimated_stepping_batches`); warmup: the share of them, at least one step;
    floor: the last factor.
    """
    steps = max(1, int(steps))
    warm = max(1, round(warmup * steps))

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))

    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}}
