"""AutoInt from the parts of FuxiCTR's wheel, trained by the trainer of its base class.

The wheel has no AutoInt; its model zoo, which is not in the wheel, has one. This is that design, written anew: no
scaling, no norm, no wide part, a residual without weights where the widths agree, and a DNN of 64-64-64 beside the
attention. Its attention may have a width of its own: 64, as the paper's. Gradients are clipped at 10 and the rate falls
to a tenth whenever the validation AUC does not rise, as its trainer does by default. Genres are a sequence, their mean.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from ctr_data import FIELDS, GENRES, IDS, LABEL, PADDING, Dataset, Part, encode
from ctr_result import BATCH, EMBEDDING, EPOCHS, HEADS, LAYERS, LEARNING_RATE, PATIENCE, Clock, Result, result
from fuxictr.features import FeatureMap
from fuxictr.preprocess import FeatureProcessor
from fuxictr.pytorch.dataloaders import RankDataLoader
from fuxictr.pytorch.layers import FeatureEmbedding, MLP_Block, ScaledDotProductAttention
from fuxictr.pytorch.models import BaseModel
from fuxictr.pytorch.torch_utils import seed_everything
from torch import Tensor, nn

WIDTH, HIDDEN = 64, (64, 64, 64)


class Interacting(nn.Module):
    """One layer over the fields of a row: B x M x width before to B x M x `width`."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(before, width, bias=False) for _ in range(3))
        self.residual = nn.Identity() if before == width else nn.Linear(before, width, bias=False)
        self.attention = ScaledDotProductAttention()

    def forward(self, x_bmc: Tensor) -> Tensor:
        q, k, v = (
            layer(x_bmc).unflatten(-1, (HEADS, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        mixed_bhmd, _ = self.attention(q, k, v)
        return (mixed_bhmd.transpose(1, 2).flatten(-2) + self.residual(x_bmc)).relu()


class AutoInt(BaseModel):
    def __init__(self, features: FeatureMap, folder: Path, width: int, hidden: tuple[int, ...]) -> None:
        super().__init__(
            features,
            model_id="AutoInt",
            model_root=str(folder),
            early_stop_patience=PATIENCE,
            metrics=["AUC", "logloss"],
            verbose=0,
        )
        self.embedding_layer = FeatureEmbedding(features, EMBEDDING)
        widths = [EMBEDDING] + LAYERS * [width]
        self.interacting = nn.Sequential(*(Interacting(widths[i], width) for i in range(LAYERS)))
        self.out = nn.Linear(features.num_fields * width, 1)
        flat = features.num_fields * EMBEDDING
        self.dnn = MLP_Block(flat, hidden_units=list(hidden), output_dim=1) if hidden else None
        self.compile("adam", "binary_crossentropy", LEARNING_RATE)
        self.reset_parameters()
        Path(self.model_dir).mkdir(parents=True, exist_ok=True)
        self.clock: Clock | None = None
        self.epochs, self.converged = 0, False

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        x_bmc = self.embedding_layer(self.get_inputs(inputs))
        logit_b1 = self.out(self.interacting(x_bmc).flatten(1))
        if self.dnn is not None:
            logit_b1 = logit_b1 + self.dnn(x_bmc.flatten(1))
        return {"y_pred": self.output_activation(logit_b1)}

    def checkpoint_and_earlystop(self, logs: dict[str, float], min_delta: float = 1e-6) -> None:
        """After every epoch; the clock ends a training too, and the trainer loads the best weights in any case."""
        super().checkpoint_and_earlystop(logs, min_delta)
        self.epochs += 1
        self.converged = self._stop_training
        self._stop_training = self._stop_training or (self.clock is not None and self.clock.over)


def feature_map(sizes: Mapping[str, int], genres: int, folder: Path) -> FeatureMap:
    """What FeatureProcessor would find, for tables that have ids already."""
    features = FeatureMap("ml-1m", str(folder))
    features.labels = [LABEL]
    for field, size in sizes.items():
        features.features[field] = {"source": "", "type": "categorical", "padding_idx": PADDING, "vocab_size": size}
    features.features[GENRES] |= {
        "type": "sequence",
        "max_len": genres,
        "feature_encoder": "layers.MaskedAveragePooling()",
    }
    features.num_fields = features.get_num_fields()
    features.set_column_index()
    return features


def quality(data: Dataset, seed: int, minutes: float) -> Result:
    clock, encoded = Clock(minutes), encode(data)
    seed_everything(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        features = feature_map(encoded.sizes, encoded.train.ids[GENRES].shape[1], folder)
        paths = [
            save(part, folder / f"{stage}.npz") for stage, part in zip(("train", "valid", "test"), encoded, strict=True)
        ]
        train, valid, test = RankDataLoader(features, "both", *paths, batch_size=BATCH, data_format="npz")
        model = AutoInt(features, folder, WIDTH, HIDDEN)
        model.clock = clock
        model.fit(train, epochs=EPOCHS, validation_data=valid)
        probabilities = [model.predict(loader) for loader in (valid, test)]
    return result(
        "FuxiCTR AutoInt",
        data,
        seed,
        clock,
        probabilities,
        [encoded.valid, encoded.test],
        epochs=model.epochs,
        parameters=sum(p.numel() for p in model.parameters()),
        converged=model.converged,
    )


def save(part: Part, path: Path) -> str:
    np.savez(path, **part.ids, **{LABEL: part.liked})
    return str(path)


class Processor(FeatureProcessor):
    def read_data(self, data_path: str, **_: Any) -> pl.LazyFrame:
        """The original (2.3.10) passes scan_csv an argument that polars 2 has no more; this is the same call."""
        return pl.scan_csv(data_path, schema_overrides=self.dtype_dict)


class Session:
    """From the raw file to batches; then an epoch of training, and scores of all rows.

    Its examples run FeatureProcessor.transform inside Ray, which did not always start on a busy machine of two cores.
    This calls the same functions without it, and feeds their output to NpzDataLoader, the default of its loaders.
    """

    def __init__(self, path: Path) -> None:
        self.work = tempfile.TemporaryDirectory()
        folder = Path(self.work.name)
        columns: list[dict[str, Any]] = [
            {"name": field, "active": True, "dtype": "str", "type": "categorical"} for field in IDS + FIELDS
        ]
        columns[(IDS + FIELDS).index(GENRES)] |= {"type": "sequence", "splitter": "|"}
        processor = Processor(columns, {"name": LABEL, "dtype": "int"}, "ml-1m", str(folder))
        lazy = processor.preprocess(processor.read_data(str(path)))
        processor.fit(lazy)
        table = lazy.collect()
        np.savez(folder / "clicks.npz", **processor.transform({name: table[name].to_numpy() for name in table.columns}))
        self.features, self.rows = processor.feature_map, len(table)
        clicks = str(folder / "clicks.npz")
        self.train_loader = RankDataLoader(self.features, "train", train_data=clicks, batch_size=BATCH)[0]
        self.test_loader = RankDataLoader(self.features, "test", test_data=clicks, batch_size=BATCH)

    def first_batch(self) -> None:
        next(iter(self.train_loader))

    def model(self) -> None:
        self.net = AutoInt(self.features, Path(self.work.name), width=EMBEDDING, hidden=())

    def train(self) -> None:
        self.net._max_gradient_norm, self.net._eval_steps = 10.0, self.rows  # as fit() sets them; no evaluation
        self.net._total_steps = 0
        self.net._stop_training = False
        self.net.train_epoch(self.train_loader)

    def predict(self) -> int:
        return len(self.net.predict(self.test_loader))
