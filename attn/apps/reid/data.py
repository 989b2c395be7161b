"""Pictures of individuals for training: the pixels in memory, and the batches.

Shapes: S height and T width of the working size.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from attn.apps.reid.preprocess import Preprocessing
from attn.apps.reid.sampling import PairedSampler
from attn.core.models.used import array_hash
from attn.core.training.pixels import CachedPixels, Example


class Pictures(Protocol):
    """What training reads of a labelled set, by row number."""

    def read(self, i: int) -> np.ndarray:
        """Pixels (H, W, 3) uint8."""
        ...


class PictureDataset(CachedPixels):
    """Rows of a labelled set at a working size: uint8 pixels (3, S, T), and the number of the class."""

    def __init__(self, source: Pictures, rows: Sequence[int], targets: Tensor, size: tuple[int, int]) -> None:
        working = Preprocessing(size=size)

        def read(row: int) -> tuple[Tensor, str]:
            picture = source.read(row)
            return working.pixels(picture), array_hash(picture)

        super().__init__(read, rows, targets)


class ReIDData(LightningDataModule):
    """Training and validation batches. `sampler` says what a batch is made of; it goes by places in `train_set`."""

    def __init__(self, train_set: CachedPixels, validation_set: CachedPixels, sampler: PairedSampler) -> None:
        super().__init__()
        self.train_set, self.validation_set, self.sampler = train_set, validation_set, sampler

    def train_dataloader(self) -> DataLoader[Example]:
        """Batches of images with their partners behind them, by (seed, epoch)."""
        return DataLoader(self.train_set, self.sampler.batch + self.sampler.partners, sampler=self.sampler)

    def val_dataloader(self) -> DataLoader[Example]:
        """In order."""
        return DataLoader(self.validation_set, 2 * self.sampler.batch)
