"""Pictures of individuals for training: their pixels, or maps of the stages that do not learn, in memory; the batches.

Shapes: S height and T width of the working size, V views (a picture, and its mirror image), C channels of a map, P and
Q its sides.
"""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from attn.apps.reid.model import DCAL
from attn.apps.reid.preprocess import Preprocessing, to_unit
from attn.apps.reid.sampling import PairedSampler
from attn.apps.reid.split import Split
from attn.apps.reid.start import Maps
from attn.core.models.used import array_hash
from attn.core.training.pixels import CachedPixels, Example

MARGIN = 1.15  # working size over model size: room to zoom in without losing sharpness
Mirror = Literal["same", "another", "none"]


class Pictures(Protocol):
    """What training reads of a labelled set, by row number."""

    def read(self, i: int) -> np.ndarray:
        """Pixels (H, W, 3) uint8."""
        ...


class PictureDataset(CachedPixels):
    """Rows of a labelled set at a working size: uint8 pixels (3, S, T), and the number of the class.

    With `see` what it makes of the pixels takes their place.
    """

    def __init__(
        self,
        source: Pictures,
        rows: Sequence[int],
        targets: Tensor,
        size: tuple[int, int],
        see: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        working = Preprocessing(size=size)

        def read(row: int) -> tuple[Tensor, str]:
            picture = source.read(row)
            pixels = working.pixels(picture)
            return pixels if see is None else see(pixels), array_hash(picture)

        super().__init__(read, rows, targets)


def datasets(
    model: DCAL, source: Pictures, split: Split, targets: Tensor, mirror: Mirror | None
) -> tuple[PictureDataset, PictureDataset]:
    """Pictures to train on and to validate on; of a hybrid the maps of the stages that do not learn, in half precision.

    A map to train on is (V, C, P, Q), with that of the mirror image where there are any; to validate on (C, P, Q).
    """
    size = model.config.image_size
    if model.config.body == "patches":
        height, width = (round(MARGIN * side) for side in size)
        large = PictureDataset(source, split.train, targets, (height, width))
        return large, PictureDataset(source, split.validation, targets, size)

    def seen(x_v3st: Tensor) -> Tensor:
        return model.early(x_v3st.to(model.vit.positions.device)).half().cpu()

    def both(pixels: Tensor) -> Tensor:
        x_13st = to_unit(pixels[None])
        return seen(x_13st if mirror == "none" else torch.cat([x_13st, x_13st.flip(3)]))

    def one(pixels: Tensor) -> Tensor:
        return seen(to_unit(pixels[None]))[0]

    return (
        PictureDataset(source, split.train, targets, size, both),
        PictureDataset(source, split.validation, targets, size, one),
    )


def maps_of(train_set: CachedPixels, mirror: Mirror | None, classes: int) -> Maps:
    """All pictures of a training with their classes, and the mirror images that are others with theirs."""
    for maps_bvcpq, class_b in DataLoader(train_set, 32):
        yield maps_bvcpq[:, 0].float(), class_b
        if mirror == "another":
            yield maps_bvcpq[:, 1].float(), class_b + classes


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
