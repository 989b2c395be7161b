"""AdamW that updates only those rows of a large table that a batch has read.

A gradient that is sparse (`nn.Embedding(sparse=True)`) updates its rows alone, moments and decay included; the rest of
the table stays as it is, so a step costs as much as its batch, not as the table. All other parameters are updated as by
AdamW (Loshchilov and Hutter 2019, algorithm 2).

Shapes: R rows of the table, r rows of the batch, E width.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class LazyAdamW(torch.optim.AdamW):
    """As `torch.optim.AdamW`; parameters with sparse gradients are updated row by row."""

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; the closure computes loss and gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        waiting: list[tuple[Tensor, Tensor]] = []
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and parameter.grad.is_sparse:
                    self._step_rows(parameter, parameter.grad.coalesce(), group)
                    waiting.append((parameter, parameter.grad))
                    parameter.grad = None
        super().step()
        for parameter, gradient in waiting:
            parameter.grad = gradient
        return loss

    @torch.no_grad()
    def _step_rows(self, table_re: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[table_re]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(table_re), torch.zeros_like(table_re)
        state["step"] += 1
        steps = float(state["step"])
        first, second = group["betas"]
        rows_r, g_re = gradient.indices()[0], gradient.values()
        m_re = state["exp_avg"][rows_r].lerp_(g_re, 1 - first)
        v_re = state["exp_avg_sq"][rows_r].mul_(second).addcmul_(g_re, g_re, value=1 - second)
        state["exp_avg"][rows_r], state["exp_avg_sq"][rows_r] = m_re, v_re
        root_re = v_re.div(1 - second**steps).sqrt_().add_(group["eps"])
        kept_re = table_re[rows_r] * (1 - group["lr"] * group["weight_decay"])
        table_re[rows_r] = kept_re.addcdiv_(m_re, root_re, value=-group["lr"] / (1 - first**steps))
