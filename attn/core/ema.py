"""An exponential moving average of the weights, used for validation and kept as the result of a training.

    average <- d · average + (1 - d) · weights,    d = min(decay, (1 + t) / (10 + t)) after t steps

The warm-up of d keeps the random first weights out of the average of a short run (the `num_updates` rule of
TensorFlow's ExponentialMovingAverage). Buffers, such as batch norm's running statistics, are moving averages
already: the current ones are used.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor


class EMA(Callback):
    """Keeps the average, validates with it, and stores it in the checkpoint."""

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.average: dict[str, Tensor] = {}
        self._swapped = False

    @contextmanager
    def averaged(self, module: LightningModule) -> Iterator[None]:
        """Within this context `module` has the averaged weights."""
        self._swap(module)
        try:
            yield
        finally:
            self._swap(module)

    @torch.no_grad()
    def _swap(self, module: LightningModule) -> None:
        for name, weight in module.named_parameters():
            held = weight.detach().clone()
            weight.copy_(self.average[name])
            self.average[name].copy_(held)
        self._swapped = not self._swapped

    def start(self, module: LightningModule) -> None:
        """Begin at the first weights; in a resumed run, move the stored average to the module's device."""
        for name, weight in module.named_parameters():
            stored = self.average.get(name, weight.detach())
            self.average[name] = stored.to(weight.device, copy=True)

    @torch.no_grad()
    def update(self, module: LightningModule, steps: int) -> None:
        """Follow the weights, which have now made `steps` steps; nothing if that is no news."""
        if steps == self.steps:
            return  # gradients are still accumulating
        d = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, weight in module.named_parameters():
            self.average[name].lerp_(weight.detach(), 1 - d)
        self.steps = steps

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Have an average before the first step."""
        self.start(pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """One step of the average per step of the optimizer."""
        self.update(pl_module, trainer.global_step)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validate with the average."""
        self._swap(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Train on with the weights."""
        self._swap(pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """A stop in the middle of a validation must not leave the average in the module."""
        if self._swapped:
            self._swap(pl_module)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of this."""
        return {"steps": self.steps, "average": self.average}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.steps, self.average = state_dict["steps"], dict(state_dict["average"])
