"""Labelled radiographs for training: the pixels in memory, how often each is drawn, the batches.

Shapes: N rows, W working side, K classes.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from attn.apps.chest.preprocess import Preprocessing, to_bytes
from attn.core.models.used import array_hash
from attn.core.training.pixels import CachedPixels, Example
from attn.core.training.seeding import EpochSampler
from attn.data_adapters.dicom.labelled import LabelledStudies
from attn.data_adapters.dicom.radiograph import Radiograph

MARGIN = 1.15  # working side over model side: room to zoom in without losing sharpness


class PixelDataset(CachedPixels):
    """Rows of a labelled set at the working side: uint8 pixels (W, W) and targets (K,), NaN where unknown."""

    def __init__(self, source: LabelledStudies, rows: Sequence[int], targets: Float[Tensor, "N K"], side: int) -> None:
        working = Preprocessing(side=side)

        def read(row: int) -> tuple[Tensor, str]:
            radiograph = source.read(row)
            return torch.from_numpy(to_bytes(working.pixels(radiograph))), image_hash(radiograph)

        super().__init__(read, rows, targets)


def image_hash(radiograph: Radiograph) -> str:
    """64 bits in hexadecimal that say which image it is, wherever its file lies and whatever it is called."""
    # In bytes: one picture in two lossless encodings has one hash.
    return array_hash(to_bytes(radiograph.pixels_hw))


def sampling_weights(*cells: tuple[Sequence[str | None], float]) -> Float[Tensor, " N"]:
    """How often each of N rows is drawn, with mean 1.

    `cells` are columns (N,), such as the class and the source, each with its tau: a row counts n^-tau, where n rows
    have its value. 0 leaves the values as frequent as they are, 1 makes them equally frequent.
    """
    weight_n = np.ones(len(cells[0][0]))
    for values, tau in cells:
        _, which_n, count = np.unique([str(value) for value in values], return_inverse=True, return_counts=True)
        weight_n *= count[which_n] ** -tau
    return torch.from_numpy(weight_n / weight_n.mean())


class ChestData(LightningDataModule):
    """Training and validation batches; training rows are drawn by `weights` (N,), or each once in an epoch."""

    def __init__(
        self,
        train_set: CachedPixels,
        validation_set: CachedPixels,
        batch_size: int,
        seed: int,
        weights: Float[Tensor, " N"] | None = None,
    ) -> None:
        super().__init__()
        self.train_set, self.validation_set, self.weights = train_set, validation_set, weights
        self.batch_size, self.seed = batch_size, seed

    def train_dataloader(self) -> DataLoader[Example]:
        """Drawn by (seed, epoch); an incomplete last batch is left out, batch norm having no use for a small one."""
        count = len(self.train_set)
        sampler = EpochSampler(count, seed=self.seed, weights=self.weights)
        return DataLoader(self.train_set, self.batch_size, sampler=sampler, drop_last=count >= self.batch_size)

    def val_dataloader(self) -> DataLoader[Example]:
        """In order."""
        return DataLoader(self.validation_set, 2 * self.batch_size)
