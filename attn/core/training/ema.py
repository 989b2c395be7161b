"""An exponential moving average of the weights, used for validation and kept as the result of a training.

    average <- d · average + (1 - d) · weights,    d = min(decay, (1 + t) / (10 + t)) after t steps

The warm-up of d keeps the random first weights out of the average of a short run (the `num_updates` rule of
TensorFlow's ExponentialMovingAverage). Buffers, such as batch norm's running statistics, are moving averages
already: the current ones are used.

A large table is averaged row by row. The weights w of a row that no step has changed since step s are constant, so its
average at step t is w + (d_s+1 · ... · d_t) (average_s - w), which is computed when the row is needed next. A step then
costs as much as the rows of its batch, and the average is the same. A table is recognised by its sparse gradient.

Shapes: R rows of a table, r rows of a batch.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from attn.core.training.same_form import require_form


class EMA(Callback):
    """Keeps the average, validates with it, and stores it in the checkpoint."""

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.average: dict[str, Tensor] = {}
        self._swapped = False
        self._log = 0.0  # of the product of all d so far
        # For each table: the value of `_log` when each row's average was last updated, (R,).
        self._followed: dict[str, Tensor] = {}

    @contextmanager
    def averaged(self, module: LightningModule) -> Iterator[None]:
        """Within this context `module` has the averaged weights."""
        self._swap(module)
        try:
            yield
        finally:
            self._swap(module)

    def _swap(self, module: LightningModule) -> None:
        for name, weight in module.named_parameters():
            if name in self._followed:
                self._follow(name, weight)
            weight.data, self.average[name] = self.average[name], weight.data
        self._swapped = not self._swapped

    @torch.no_grad()
    def _follow(self, name: str, weight: Tensor, rows_r: Tensor | slice = slice(None)) -> None:
        """Bring rows of a table's average up to date."""
        followed_r = self._followed[name]
        kept_r1 = (self._log - followed_r[rows_r]).exp().to(weight.dtype)[:, None]
        self.average[name][rows_r] = torch.lerp(weight[rows_r], self.average[name][rows_r], kept_r1)
        followed_r[rows_r] = self._log

    def before_step(self, module: LightningModule) -> None:
        """Bring those rows of tables up to date that the optimizer is about to change."""
        for name, weight in module.named_parameters():
            if weight.grad is not None and weight.grad.is_sparse:
                if name not in self._followed:
                    self._followed[name] = weight.new_full((len(weight),), self._log, dtype=torch.float64)
                weight.grad = weight.grad.coalesce()  # each row once; the optimizer then finds it coalesced
                self._follow(name, weight, weight.grad.indices()[0])

    def start(self, module: LightningModule) -> None:
        """Begin at the first weights; in a resumed run, move the stored average to the module's device.

        Raises TrainingError for a stored average of other weights.
        """
        weights = {name: weight.detach() for name, weight in module.named_parameters()}
        if self.average:
            require_form({"steps": self.steps, "average": self.average}, {"steps": 0, "average": weights}, "EMA")
        for name, weight in weights.items():
            stored = self.average.get(name, weight)
            self.average[name] = stored.to(weight.device, copy=True)
        self._followed = {}

    @torch.no_grad()
    def update(self, module: LightningModule, steps: int) -> None:
        """Update the average after `steps` steps in all; do nothing if there was no step since the last call."""
        if steps == self.steps:
            return  # gradients are still accumulating
        d = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, weight in module.named_parameters():
            if name not in self._followed:
                self.average[name].lerp_(weight.detach(), 1 - d)
        self._log += math.log(d)
        self.steps = steps

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Have an average before the first step."""
        self.start(pl_module)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Bring the rows that this step changes up to date."""
        self.before_step(pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """One step of the average per step of the optimizer."""
        self.update(pl_module, trainer.global_step)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validate with the average."""
        self._swap(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Continue training with the weights."""
        self._swap(pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """A stop in the middle of a validation must not leave the average in the module."""
        if self._swapped:
            self._swap(pl_module)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps. It is written after a validation, when all rows are up to date."""
        return {"steps": self.steps, "average": self.average}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.steps, self.average = state_dict["steps"], dict(state_dict["average"])
