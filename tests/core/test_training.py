"""Training: repeatable, resumable to the last digit, no pickle, quiet."""

import math
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import LightningDataModule, LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from attn.core.journal import Row
from attn.core.training import EpochSampler, FitConfig, fit

CONFIG = FitConfig(epochs=4, seed=3, patience=9, ema_decay=0.9)


class Points(LightningDataModule):
    """48 random points to train on, 16 to validate."""

    def __init__(self) -> None:
        super().__init__()
        x = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
        y = (x[:, 0] * x[:, 1] > 0).long()
        self.parts = TensorDataset(x[:48], y[:48]), TensorDataset(x[48:], y[48:])

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.parts[0], 8, sampler=EpochSampler(48, seed=7))

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.parts[1], 16)


class Net(LightningModule):
    """Dropout, batch norm, random augmentation, one schedule per step and one that waits for a plateau."""

    def __init__(self, rate: float = 0.02, die_at: tuple[int, int] | None = None, width: int = 16) -> None:
        super().__init__()
        torch.manual_seed(11)
        self.net = nn.Sequential(
            nn.Linear(6, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.3), nn.Linear(width, 2)
        )
        self.rate, self.die_at = rate, die_at

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        if self.die_at == (self.current_epoch, batch_idx):
            os.kill(os.getpid(), signal.SIGKILL)
        x, y = batch
        loss = nn.functional.cross_entropy(self.net(x + 0.1 * torch.randn_like(x)), y)
        self.log("train_loss", loss, on_epoch=True, on_step=False)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        x, y = batch
        logits = self.net(x)
        self.log("val_loss", nn.functional.cross_entropy(logits, y))
        self.log("val_accuracy", (logits.argmax(1) == y).float().mean())

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), self.rate)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.7, patience=0, threshold=0.5)
        return [optimizer], [
            {"scheduler": cosine, "interval": "step"},
            {"scheduler": plateau, "monitor": "val_loss"},
        ]


def without_time(history: list[Row]) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


def test_sigkill_mid_epoch_then_resume_ends_as_uninterrupted(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, __file__, str(tmp_path / "killed")], check=False)
    assert killed.returncode == -signal.SIGKILL
    resumed = fit(Net(), Points(), CONFIG, tmp_path / "killed", resume=True)
    whole = fit(Net(), Points(), CONFIG, tmp_path / "whole")
    assert without_time(resumed.history) == without_time(whole.history)


if __name__ == "__main__":
    fit(Net(die_at=(2, 3)), Points(), CONFIG, Path(sys.argv[1]))
