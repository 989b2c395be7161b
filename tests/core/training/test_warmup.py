"""The schedule by its formula, and what Lightning is given."""

import math

import pytest
import torch
from torch import nn

from attn.core.training.warmup import warm_cosine


@pytest.mark.parametrize(("steps", "warmup", "floor"), [(40, 0.1, 0.0), (40, 0.25, 0.1), (1, 0.05, 0.0), (2, 1.0, 0.5)])
def test_rates_by_the_formula(steps: int, warmup: float, floor: float) -> None:
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=2.0)
    given = warm_cosine(optimizer, steps, warmup, floor)
    assert given["optimizer"] is optimizer and given["lr_scheduler"]["interval"] == "step"
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        given["lr_scheduler"]["scheduler"].step()
    warm = max(1, round(warmup * steps))
    for step, rate in enumerate(rates):
        if step < warm:
            expected = (step + 1) / warm
        else:
            expected = floor + (1 - floor) * math.cos(math.pi / 2 * (step - warm) / (steps - warm)) ** 2
        assert rate == pytest.approx(2 * expected, abs=1e-12)
    assert max(rates) == 2.0
