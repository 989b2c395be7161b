"""Labelled galaxies for training: the split, the pixels in memory, the batches.

Shapes: B batch, W working side, K classes, A further targets.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from lightning import LightningDataModule
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from attn.apps.galaxy.preprocess import Preprocessing
from attn.core.errors import AttnError, TrainingError
from attn.core.models.used import array_hash
from attn.core.training.pixels import CachedPixels, Example
from attn.core.training.seeding import EpochSampler
from attn.data_adapters.images.labelled import LabelledImages

MARGIN = 1.375  # working side over model side: room to rotate and to zoom in without losing sharpness
SMALLEST_CLASS = 3
NAMED = 20  # images in a message
LOG = logging.getLogger("attn")


@dataclass(frozen=True)
class Split:
    """Row numbers: trained on, validated on for early stopping and calibration, held out for the final numbers."""

    train: list[int]
    validation: list[int]
    held_out: list[int]


def stratified_split(labels: list[str], held_out: float = 0.2, validation: float = 0.1) -> Split:
    """80/20 by class with scikit-learn's `train_test_split` and seed 0, then a tenth of the 80 for validation.

    The split is the same for every seed of the training, so that seeds can be compared. Every class is trained on; a
    rare one in a large set may be missing from the other parts. Raises TrainingError when there is one class only, or
    one of fewer than three images.
    """
    names, counts = np.unique(labels, return_counts=True)
    if len(names) < 2:
        raise TrainingError("all rows have one label, so there is nothing to learn")
    if counts.min() < SMALLEST_CLASS:
        raise TrainingError(
            f"the class {str(names[counts.argmin()])!r} has only {counts.min()} images",
            hint=f"every class needs at least {SMALLEST_CLASS}: one each to train, validate and test on",
        )
    rows, label_of = np.arange(len(labels)), np.asarray(labels)
    # A very small set still gives every class a place in each part.
    held_out = max(held_out, len(names) / len(rows))
    rest, test = train_test_split(rows, test_size=held_out, random_state=0, stratify=label_of)
    validation = max(validation, len(names) / len(rest))
    train, validate = train_test_split(rest, test_size=validation, random_state=0, stratify=label_of[rest])
    return Split(train.tolist(), validate.tolist(), test.tolist())


class PixelDataset(CachedPixels):
    """Rows of a labelled set at the working side: uint8 pixels (W, W, 3) and targets (K + A,), NaN where unknown."""

    def __init__(
        self, source: LabelledImages, rows: list[int], targets: Float[Tensor, "N T"], working: Preprocessing
    ) -> None:
        def read(row: int) -> tuple[Tensor, str]:
            cutout = source.read(row, working.stretch)
            return torch.from_numpy(working.pixels(cutout)), array_hash(cutout.pixels)

        super().__init__(read, rows, targets)
        self.source = source

    def unreadable(self) -> dict[int, str]:
        """The reason for each row whose image cannot be read. The others are in memory afterwards, if they fit."""
        reasons = {}
        for index, row in enumerate(self.rows):
            try:
                self[index]
            except AttnError as error:
                reasons[row] = str(error)
        return reasons


def check_readable(sets: Sequence[PixelDataset], *, skip: bool) -> list[str]:
    """Read every image of a training before its first step; the ids of those that cannot be read.

    With `skip` they are left out of the sets. A log message has the reason for each. Raises TrainingError when there
    are some and not `skip`, or when none is left.
    """
    ids = []
    for part in sets:
        reasons = part.unreadable()
        for reason in reasons.values():
            LOG.warning("cannot be read: %s", reason)
        ids += [part.source.ids[row] for row in reasons]
        part.rows = [row for row in part.rows if row not in reasons]
    named = ", ".join(ids[:NAMED]) + (", ..." if len(ids) > NAMED else "")
    if ids and not skip:
        raise TrainingError(
            f"{len(ids)} of the images cannot be read: {named}",
            hint="mend them or take them out of the set, or leave them out with --skip-unreadable",
        )
    if not all(part.rows for part in sets):
        raise TrainingError(f"no image is left to train on, or none to validate on; not to be read are {named}")
    return ids


class GalaxyData(LightningDataModule):
    """Training and validation batches; `train_set` may join several `PixelDataset`s. `skipped`: ids left out."""

    def __init__(
        self,
        train_set: Dataset[Example],
        validation_set: PixelDataset,
        batch_size: int,
        seed: int,
        skipped: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.skipped = list(skipped)
        self.train_set, self.validation_set = train_set, validation_set
        self.batch_size, self.seed = batch_size, seed

    def train_dataloader(self) -> DataLoader[Example]:
        """Shuffled by (seed, epoch); an incomplete last batch is left out, batch norm having no use for a small one."""
        count = len(self.train_set)  # type: ignore[arg-type]
        sampler = EpochSampler(count, seed=self.seed)
        return DataLoader(self.train_set, self.batch_size, sampler=sampler, drop_last=count >= self.batch_size)

    def val_dataloader(self) -> DataLoader[Example]:
        """In order."""
        return DataLoader(self.validation_set, self.batch_size)
