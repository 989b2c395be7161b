"""DeepCTR-Torch's AutoInt, trained by its own fit().

Its own defaults: a linear part and a 256-128 DNN beside the attention, width of the attention = width of the embedding,
no scaling, an L2 of 1e-5 on the embeddings against the loss summed over a batch. Genres are a VarLenSparseFeat, their
mean. It passes all ids through float32, which holds those of these tables exactly (they stay below 2^24).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ctr_data import FIELDS, GENRES, IDS, LABEL, PADDING, Dataset, encode
from ctr_result import BATCH, EMBEDDING, EPOCHS, HEADS, LAYERS, PATIENCE, Clock, Result, result
from deepctr_torch.callbacks import EarlyStopping
from deepctr_torch.inputs import SparseFeat, VarLenSparseFeat
from deepctr_torch.models import AutoInt
from sklearn.preprocessing import LabelEncoder


class Stopping(EarlyStopping):
    """Stops by the clock too, and restores the best weights then; its parent restores them only when patience ends."""

    def __init__(self, clock: Clock) -> None:
        super().__init__("val_auc", patience=PATIENCE, mode="max", restore_best_weights=True)
        self.clock, self.epochs = clock, 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.model.train()  # validating leaves it in eval mode

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.epochs += 1
        super().on_epoch_end(epoch, logs)
        if self.clock.over and not self.model.stop_training:
            self.model.stop_training = True
            self.model.load_state_dict(self.best_weights)


def build(sizes: Mapping[str, int], genres: int, seed: int, **options: Any) -> AutoInt:
    single = [SparseFeat(field, size, EMBEDDING) for field, size in sizes.items() if field != GENRES]
    columns = [*single, VarLenSparseFeat(SparseFeat(GENRES, sizes[GENRES], EMBEDDING), maxlen=genres, combiner="mean")]
    model = AutoInt(columns, columns, att_layer_num=LAYERS, att_head_num=HEADS, seed=seed, **options)
    model.compile("adam", "binary_crossentropy", metrics=["auc"])  # its Adam has the rate 1e-3
    return model


def quality(data: Dataset, seed: int, minutes: float) -> Result:
    clock, encoded = Clock(minutes), encode(data)
    model = build(encoded.sizes, encoded.train.ids[GENRES].shape[1], seed)
    stopping = Stopping(clock)
    model.fit(
        encoded.train.ids,
        encoded.train.liked,
        batch_size=BATCH,
        epochs=EPOCHS,
        verbose=0,
        validation_data=(encoded.valid.ids, encoded.valid.liked),
        callbacks=[stopping],
    )
    return result(
        "DeepCTR-Torch AutoInt",
        data,
        seed,
        clock,
        [model.predict(part.ids, BATCH) for part in (encoded.valid, encoded.test)],
        [encoded.valid, encoded.test],
        epochs=stopping.epochs,
        parameters=sum(p.numel() for p in model.parameters()),
        converged=stopping.stopped_epoch > 0,
    )


class Seen(Exception):  # noqa: N818
    """The first batch has arrived."""


class Session:
    """From the raw file to batches, as its examples do; then an epoch of training, and scores of all rows."""

    def __init__(self, path: Path) -> None:
        table = pd.read_csv(path, dtype={"zip": str})
        single = [field for field in IDS + FIELDS if field != GENRES]
        for field in single:
            table[field] = LabelEncoder().fit_transform(table[field])
        ids: dict[str, int] = {}
        lists = [[ids.setdefault(genre, len(ids) + 1) for genre in row.split("|")] for row in table[GENRES].to_numpy()]
        padded_nl = np.full((len(lists), max(map(len, lists))), PADDING, np.int32)
        for row_l, known in zip(padded_nl, lists, strict=True):  # as the pad_sequences of Keras that its example uses
            row_l[: len(known)] = known
        self.x = {field: table[field].to_numpy() for field in single} | {GENRES: padded_nl}
        self.y = table[LABEL].to_numpy()
        self.sizes = {field: int(values.max()) + 1 for field, values in self.x.items()}
        self.rows = len(self.y)

    def first_batch(self) -> None:
        """fit() makes its batches itself, so that the model has to say when one arrives."""

        def seen(*_: Any) -> None:
            raise Seen

        self.model()
        self.net.register_forward_pre_hook(seen)
        try:
            self.train()
        except Seen:
            return
        raise AssertionError("no batch arrived")

    def model(self) -> None:
        self.net = build(self.sizes, self.x[GENRES].shape[1], seed=0, dnn_hidden_units=())

    def train(self) -> None:
        self.net.fit(self.x, self.y, batch_size=BATCH, epochs=1, verbose=0)

    def predict(self) -> int:
        return len(self.net.predict(self.x, BATCH))
