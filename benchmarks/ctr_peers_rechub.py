"""torch-rechub's AutoInt, trained by its CTRTrainer and fed by its DataGenerator.

Its own defaults: a linear layer over the embeddings beside the attention, no DNN, width of the attention = width of the
embedding, Adam with weight decay 1e-5. Genres are a SequenceFeature, pooled to their mean.
Its trainer restores the best weights only where its stopper ends the training, so there is no last epoch here; the
stopper also looks at the clock.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from ctr_data import FIELDS, GENRES, IDS, LABEL, PADDING, Dataset, Part, encode
from ctr_result import (
    BATCH,
    EMBEDDING,
    EPOCHS,
    HEADS,
    LAYERS,
    LEARNING_RATE,
    PATIENCE,
    Clock,
    Result,
    result,
)
from sklearn.preprocessing import LabelEncoder
from torch_rechub.basic.callback import EarlyStopper
from torch_rechub.basic.features import SequenceFeature, SparseFeature
from torch_rechub.models.ranking import AutoInt
from torch_rechub.trainers import CTRTrainer
from torch_rechub.utils.data import DataGenerator, df_to_dict, pad_sequences


class Stopper(EarlyStopper):
    def __init__(self, clock: Clock) -> None:
        super().__init__(patience=PATIENCE)
        self.clock, self.epochs, self.converged = clock, 0, False

    def stop_training(self, val_auc: float, weights: Mapping[str, torch.Tensor]) -> bool:
        self.epochs += 1
        self.converged = super().stop_training(val_auc, weights)
        return self.converged or self.clock.over


def build(sizes: Mapping[str, int]) -> AutoInt:
    features = [
        SequenceFeature(field, size, embed_dim=EMBEDDING, pooling="mean", padding_idx=PADDING)
        if field == GENRES
        else SparseFeature(field, size, embed_dim=EMBEDDING)
        for field, size in sizes.items()
    ]
    return AutoInt(features, dense_features=[], num_layers=LAYERS, num_heads=HEADS)


def make_trainer(model: AutoInt, epochs: int, folder: str) -> CTRTrainer:
    optimizer = {"lr": LEARNING_RATE, "weight_decay": 1e-5}
    return CTRTrainer(model, optimizer_params=optimizer, n_epoch=epochs, model_path=folder)


def quality(data: Dataset, seed: int, minutes: float) -> Result:
    clock, encoded = Clock(minutes), encode(data)
    torch.manual_seed(seed)

    def numbers(part: Part) -> tuple[dict[str, Any], Any]:
        return part.ids, part.liked

    (x_valid, y_valid), (x_test, y_test) = numbers(encoded.valid), numbers(encoded.test)
    generator = DataGenerator(*numbers(encoded.train))
    train, valid, test = generator.generate_dataloader(x_valid, y_valid, x_test, y_test, batch_size=BATCH)
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(build(encoded.sizes), EPOCHS, folder)
        trainer.early_stopper = stopper = Stopper(clock)
        trainer.fit(train, valid)
    return result(
        "torch-rechub AutoInt",
        data,
        seed,
        clock,
        [np.array(trainer.predict(trainer.model, loader)) for loader in (valid, test)],
        [encoded.valid, encoded.test],
        epochs=stopper.epochs,
        parameters=sum(p.numel() for p in trainer.model.parameters()),
        converged=stopper.converged,
    )


class Session:
    """From the raw file to batches, as its examples do; then an epoch of training, and scores of all rows."""

    def __init__(self, path: Path) -> None:
        table = pd.read_csv(path, dtype={"zip": str})
        single = [field for field in IDS + FIELDS if field != GENRES]
        for field in single:
            table[field] = LabelEncoder().fit_transform(table[field])
        lists = table.pop(GENRES).str.split("|")
        ids = {genre: i for i, genre in enumerate(sorted({genre for row in lists for genre in row}), PADDING + 1)}
        y = table.pop(LABEL).to_numpy()
        x = df_to_dict(table)
        x[GENRES] = pad_sequences([[ids[genre] for genre in row] for row in lists], padding="post", value=PADDING)
        self.sizes = {field: int(x[field].max()) + 1 for field in (*single, GENRES)}
        self.rows = len(y)
        # A part of no rows for validation; the test part, all rows in order, is what is scored.
        empty = {field: values[:0] for field, values in x.items()}
        self.train_loader, _, self.test_loader = DataGenerator(x, y).generate_dataloader(
            empty, y[:0], x, y, batch_size=BATCH
        )

    def first_batch(self) -> None:
        next(iter(self.train_loader))

    def model(self) -> None:
        self.trainer = make_trainer(build(self.sizes), epochs=1, folder="")

    def train(self) -> None:
        self.trainer.train_one_epoch(self.train_loader)

    def predict(self) -> int:
        return len(self.trainer.predict(self.trainer.model, self.test_loader))
