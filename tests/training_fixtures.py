"""A training of a second, and its checkpoint taken apart and put together again."""

import json
import zlib
from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule, LightningModule
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from attn.core.training.config import FitConfig
from attn.core.training.fit import EpochSampler, fit
from attn.core.training.resume import CHECKSUM, HEADER


class Net(LightningModule):
    """The least that has an average, a schedule by step and one by epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(3, 2)

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        loss = self.net(batch[0]).square().mean()
        self.log("train_loss", loss, on_epoch=True, on_step=False)
        return loss

    def validation_step(self, batch: list[Tensor], _: int) -> None:
        self.log("val_loss", self.net(batch[0]).square().mean())

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), 0.01)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
        return [optimizer], [{"scheduler": cosine, "interval": "step"}, {"scheduler": plateau, "monitor": "val_loss"}]


class Data(LightningDataModule):
    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(torch.ones(8, 3)), 4, sampler=EpochSampler(8, seed=0))

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(torch.ones(2, 3)), 2)


def run(out: Path, epochs: int, *, resume: bool = False) -> None:
    """A training of the little net."""
    fit(Net(), Data(), FitConfig(epochs=epochs, ema_decay=0.9), out, resume=resume)


def write(path: Path, tensors: dict[str, Tensor], tree: Any) -> None:
    """A checkpoint of this tree, with checksums that are right."""
    text = json.dumps(tree)
    save_file(tensors, path, metadata={HEADER: text, CHECKSUM: str(zlib.crc32(text.encode()))})


def read(path: Path) -> tuple[dict[str, Tensor], Any]:
    """The tensors of a checkpoint, and its tree as it is written."""
    with safe_open(path, framework="pt") as file:
        return load_file(path), json.loads(file.metadata()[HEADER])
