"""What a training writes down after every epoch, and when it stops.

    out/checkpoints/last.safetensors   everything needed to resume (resume.py)
    out/checkpoints/best.safetensors   the weights of the best epoch; the averaged ones under EMA
    out/metrics.csv                    one row per epoch

The whole table is written from the history in the checkpoint, so a resumed run neither loses nor repeats a row.
"""

import csv
import math
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, Checkpoint
from torch import Tensor
from torch.optim import Optimizer

from attn.core.errors import TrainingError
from attn.core.files import replacing, sweep
from attn.core.training.config import FitConfig
from attn.core.training.ema import EMA
from attn.core.training.resume import write_tree
from attn.core.training.same_form import LARGEST

RISES = 3  # epochs in a row whose loss is far above the best
Row = dict[str, int | float]
"""One epoch: epoch (from 0), step, every logged value, seconds since the start."""


class Journal(Checkpoint):
    """Keeps the history and the best epoch, writes the checkpoints, stops early.

    It is a `Checkpoint` to Lightning, because checkpoint callbacks see an epoch last, when all of it has been logged.
    """

    def __init__(self, config: FitConfig, out: Path, ema: EMA | None) -> None:
        self.config = config
        self.last = out / "checkpoints" / "last.safetensors"
        self.best = out / "checkpoints" / "best.safetensors"
        self.table = out / "metrics.csv"
        self.ema = ema
        self.history: list[Row] = []
        self.best_epoch: int | None = None
        self.plateau_values: list[float | None] = []
        self.running = False  # whether the checkpoint, if there was one, has been read to the end, and serves
        self._stepped = False
        self._started = 0.0
        self._seconds_before = 0.0

    @property
    def best_value(self) -> float:
        """The monitored value of the best epoch."""
        return math.nan if self.best_epoch is None else float(self.history[self.best_epoch][self.config.monitor])

    @property
    def seconds(self) -> float:
        """Time spent training, over all resumed parts."""
        return float(self.history[-1]["seconds"]) if self.history else 0.0

    @property
    def finished(self) -> bool:
        """Whether the epochs, the patience or the time are used up."""
        epochs, config = len(self.history), self.config
        if epochs == 0:
            return False
        if epochs >= config.epochs:
            return True
        best = -1 if self.best_epoch is None else self.best_epoch
        if config.patience is not None and epochs - 1 - best >= config.patience:
            return True
        last = [row[config.monitor] for row in self.history[max(best + 1, epochs - RISES) :]]
        if config.rise is not None and len(last) == RISES and min(last) > (1 + config.rise) * self.best_value:
            return True
        last_epoch = self.seconds - (self.history[-2]["seconds"] if epochs > 1 else 0.0)
        return config.max_minutes is not None and self.seconds + last_epoch > 60 * config.max_minutes

    def tidy(self) -> None:
        """Remove what killed runs left half-written."""
        for folder in (self.table.parent, self.last.parent):
            sweep(folder)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the first state; in a resumed run, repeat what Lightning did after writing the checkpoint."""
        self._started, self._seconds_before = time.monotonic(), self.seconds
        if not self.history:
            trainer.save_checkpoint(self.last)
        elif (trainer.current_epoch, trainer.global_step) != (len(self.history), self.history[-1]["step"]):
            raise TrainingError("the epochs and steps of this checkpoint are not those of its history")
        for schedule, value in zip(trainer.lr_scheduler_configs, self.plateau_values, strict=False):
            if value is not None:
                pl_module.lr_scheduler_step(schedule.scheduler, value)
        self.running = True

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """The first step shows whether the optimizer can go on from its state."""
        self.running = self._stepped

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """It can. A budget of minutes that is used up ends the epoch, which is validated and kept."""
        self._stepped = self.running = True
        budget = self.config.max_minutes
        if budget and self._seconds_before + time.monotonic() - self._started > 60 * budget:
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the epoch down."""
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        for needed in ("train_loss", self.config.monitor):
            if needed not in metrics:
                logged = ", ".join(sorted(metrics)) or "nothing"
                raise TrainingError(f"no {needed} was logged in this epoch; logged: {logged}")
        value, best = metrics[self.config.monitor], self.best_value
        self.history.append(
            {
                "epoch": trainer.current_epoch,
                "step": trainer.global_step,
                **metrics,
                "seconds": self._seconds_before + time.monotonic() - self._started,
            }
        )
        better = value > best if self.config.mode == "max" else value < best
        if better or (self.best_epoch is None and math.isfinite(value)):
            self.best_epoch = trainer.current_epoch
            self._save_best(trainer, pl_module)
        # Lightning steps plateau schedules only after this hook, so the checkpoint has them one step behind.
        self.plateau_values = [
            metrics.get(schedule.monitor or "")
            if schedule.reduce_on_plateau and (trainer.current_epoch + 1) % schedule.frequency == 0
            else None
            for schedule in trainer.lr_scheduler_configs
        ]
        # After the best: a run that is killed between the two writes repeats this epoch and finds the same best.
        trainer.save_checkpoint(self.last)
        if trainer.is_global_zero:
            write_table(self.history, self.table)
        if trainer.strategy.reduce_boolean_decision(self.finished, all=False):
            trainer.should_stop = True

    def _save_best(self, trainer: Trainer, module: LightningModule) -> None:
        with self.ema.averaged(module) if self.ema else nullcontext():
            state = trainer.strategy.lightning_module_state_dict()
            if trainer.is_global_zero:
                write_tree(self.best, {"epoch": self.best_epoch, "state_dict": state})

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of this."""
        return {
            "config": asdict(self.config),
            "history": self.history,
            "best_epoch": self.best_epoch,
            "plateau_values": self.plateau_values,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a checkpoint. Raises TrainingError where it is not one of this class."""
        history, best = list(state_dict["history"]), state_dict["best_epoch"]
        numbers = all(
            isinstance(value, int | float) and not abs(value) > LARGEST
            for row in history
            for value in dict(row).values()
        )
        needed = {"epoch", "step", "seconds", "train_loss"}
        if not numbers or not all(needed <= row.keys() and row["seconds"] >= 0 for row in history):
            raise TrainingError("the history in this checkpoint is damaged", where=self.last)
        known = best is None or (type(best) is int and 0 <= best < len(history))
        if not known or (best is not None and self.config.monitor not in history[best]):
            raise TrainingError("the best epoch in this checkpoint is damaged", where=self.last)
        self.history, self.best_epoch = history, best
        self.plateau_values = list(state_dict["plateau_values"])


class StopAtNaN(Callback):
    """Raises TrainingError when a training loss is not finite.

    The first bad step is kept on the device and fetched every 16 steps, because fetching it waits for the device.
    """

    LOOK_EVERY = 16
    NEVER = 2**62

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Nothing bad in this epoch yet."""
        self._first_bad = torch.tensor(self.NEVER, device=pl_module.device)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the first bad step on the device, and fetch it every LOOK_EVERY steps."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, Tensor):
            step = torch.where(torch.isfinite(loss), self.NEVER, batch_idx)
            self._first_bad = torch.minimum(self._first_bad, step)
        if batch_idx % self.LOOK_EVERY == 0 or trainer.is_last_batch:
            first_bad = int(self._first_bad)
            if first_bad != self.NEVER:
                raise TrainingError(
                    f"the training loss is not finite at epoch {trainer.current_epoch}, step {first_bad}",
                    hint="try a lower learning rate, gradient clipping, or --precision 32-true; "
                    "look for infinite or missing values in the data",
                )


def write_table(history: list[Row], path: Path) -> None:
    """The history as CSV, atomically; a value that an epoch lacks is an empty cell."""
    columns = list(dict.fromkeys(name for row in history for name in row))
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(history)
