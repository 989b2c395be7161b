"""A training of seconds that has everything which a resumed run must repeat: `fit(Net(), Data(), CONFIG, folder)`.

As a script it trains in a process of its own: `small_run.py FOLDER` is killed in the third epoch, and
`small_run.py FOLDER 2` trains in two processes.
"""

import math
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule, LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from attn.core.training.config import FitConfig
from attn.core.training.fit import fit
from attn.core.training.journal import Row
from attn.core.training.seeding import EpochSampler

CONFIG = FitConfig(epochs=4, seed=3, patience=9, ema_decay=0.9)


class Points(Dataset[tuple[Tensor, Tensor]]):
    """Random points and their class; in training, noise is added where the data is read."""

    def __init__(self, size: int, *, noise: float) -> None:
        self.x = torch.randn(size, 6, generator=torch.Generator().manual_seed(size))
        self.y = (self.x[:, 0] * self.x[:, 1] > 0).long()
        self.noise = noise

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.x[index] + self.noise * torch.randn(6), self.y[index]


class Data(LightningDataModule):
    def __init__(self, workers: int = 0, seeded: bool = True) -> None:
        super().__init__()
        self.workers, self.seeded = workers, seeded

    def train_dataloader(self) -> DataLoader[Any]:
        sampler = EpochSampler(48, seed=7)
        seed_worker = sampler.seed_worker if self.seeded else None
        data = Points(48, noise=0.1)
        return DataLoader(data, 8, sampler=sampler, num_workers=self.workers, worker_init_fn=seed_worker)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(Points(16, noise=0.0), 16)


class Net(LightningModule):
    """Dropout, batch norm, random mixing of the batch, a schedule by step and one that sees a plateau."""

    def __init__(self, rate: float = 0.02, width: int = 16) -> None:
        super().__init__()
        torch.manual_seed(11)
        # A bias under batch norm has no gradient but rounding, which AdamW makes a step of: another number of threads
        # would then end elsewhere.
        self.net = nn.Sequential(
            nn.Linear(6, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.3), nn.Linear(width, 2)
        )
        self.rate = rate

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        other = torch.randperm(len(x))
        logits = self.net(0.8 * x + 0.2 * x[other])
        loss = 0.8 * nn.functional.cross_entropy(logits, y) + 0.2 * nn.functional.cross_entropy(logits, y[other])
        self.log("train_loss", loss, on_epoch=True, on_step=False)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        x, y = batch
        logits = self.net(x)
        self.log("val_loss", nn.functional.cross_entropy(logits, y), sync_dist=True)
        self.log("val_accuracy", (logits.argmax(1) == y).float().mean(), sync_dist=True)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), self.rate)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.7, patience=0, threshold=0.5)
        return [optimizer], [
            {"scheduler": cosine, "interval": "step"},
            {"scheduler": plateau, "monitor": "val_loss"},
        ]


class Stopped(Net):
    """Is stopped at (epoch, batch) in the way that `how` says."""

    def __init__(self, at: tuple[int, int], how: str) -> None:
        super().__init__()
        self.at, self.how = at, how

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        if self.at == (self.current_epoch, batch_idx):
            if self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.how == "interrupt":
                raise KeyboardInterrupt
            if self.how == "terminate" and self.trainer.is_global_zero:
                os.kill(os.getpid(), signal.SIGTERM)
            loss = loss * math.nan
        return loss


def without_time(history: list[Row]) -> list[Row]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


if __name__ == "__main__":
    if len(sys.argv) == 2:
        fit(Stopped((2, 3), "kill"), Data(), CONFIG, Path(sys.argv[1]))
    else:
        net = Stopped((1, 1), "terminate") if sys.argv[2] == "terminate" else Net()
        fit(net, Data(), replace(CONFIG, devices=2), Path(sys.argv[1]))
