"""AdamW as vision networks are trained: decay on weights of layers alone, a slower rate for pretrained layers."""

from collections.abc import Collection
from typing import Any

import torch
from torch import nn


def adamw(
    module: nn.Module, rate: float, weight_decay: float, slow: Collection[str] = (), share: float = 1.0
) -> torch.optim.AdamW:
    """AdamW over all parameters, without decay on biases, norms and tables (Loshchilov and Hutter 2019).

    The parameters of `module` named in `slow` learn at `share` times the rate.
    """
    layers = {id(m.weight) for m in module.modules() if isinstance(m, nn.Linear | nn.Conv2d)}
    groups: list[dict[str, Any]] = []
    for is_slow, factor in ((False, 1.0), (True, share)):
        own = [p for name, p in module.named_parameters() if (name in slow) == is_slow]
        if own:
            decayed, plain = [p for p in own if id(p) in layers], [p for p in own if id(p) not in layers]
            groups.append({"params": decayed, "lr": factor * rate})
            groups.append({"params": plain, "lr": factor * rate, "weight_decay": 0.0})
    return torch.optim.AdamW(groups, lr=rate, weight_decay=weight_decay)
