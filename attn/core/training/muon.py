"""Muon for the matrices of layers, AdamW for everything else, as one optimizer.

Muon (Jordan et al. 2024) makes each update of a matrix orthogonal, so that directions with small gradients are
learned as fast as others. It is not meant for embeddings, tables, biases and norms. Both optimizers are PyTorch's; the
scale of Muon's updates is matched to AdamW's (Liu et al. 2025, arXiv:2502.16982, section 2.2), so that both take one
learning rate.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class MuonAdamW(torch.optim.Optimizer):
    """Steps `matrices` (two dimensions each) by Muon with `weight_decay`, and `others` by AdamW without.

    The first of `param_groups` are the matrices. Raises ValueError for a tensor that is not a matrix.
    """

    def __init__(
        self,
        matrices: Iterable[Tensor],
        others: Iterable[Tensor],
        lr: float,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        self._muon = torch.optim.Muon(list(matrices), lr, weight_decay, adjust_lr_fn="match_rms_adamw")
        self._adamw = torch.optim.AdamW(list(others), lr, betas, weight_decay=0.0)
        super().__init__([*self._muon.param_groups, *self._adamw.param_groups], {})
        self._share()

    def _share(self) -> None:
        """Let both optimizers use the groups and the state of this one, which schedulers and checkpoints see."""
        self._muon.param_groups, self._adamw.param_groups = self.param_groups[:1], self.param_groups[1:]
        self._muon.state = self._adamw.state = self.state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a state."""
        super().load_state_dict(state_dict)
        self._share()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; the closure computes loss and gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._muon.step()  # type: ignore[no-untyped-call]  # PyTorch's has no types
        self._adamw.step()
        return loss
