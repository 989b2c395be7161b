"""This package in the CTR comparison: the same settings as the AutoInts of the peers, and AutoInt+.

AutoInt: the official preset. Deviations from its authors' settings, chosen on validation rows: averaged weights, decay
of the embedding table, dropout of embeddings; and in setting A, where no id says who and what, a wider DNN.
"""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ctr_data import LABEL, Dataset
from ctr_result import BATCH, EMBEDDING, EPOCHS, HEADS, LAYERS, PATIENCE, Clock, Result
from sklearn.metrics import log_loss, roc_auc_score

from attn.apps.ctr.data import Prepared, open_clicks, prepare
from attn.apps.ctr.model import AutoInt, configure, preset_named
from attn.apps.ctr.predict import CTRPredictor
from attn.apps.ctr.rows import ClickData, OrderedBatches, RowSet
from attn.apps.ctr.split import Split
from attn.apps.ctr.train import ClickModule, Recipe, train_prepared
from attn.core.models.folder import ModelRecord
from attn.core.training.config import FitConfig
from attn.core.training.malloc import keep_freed_memory

RUNS = Path("runs/ctr")
WIDTH = 32
AUTOINT: dict[str, Any] = preset_named("official") | {
    "embedding": EMBEDDING,
    "widths": (WIDTH,) * LAYERS,
    "heads": HEADS,
    "embedding_dropout": 0.1,
}
DNN = {"A": (512, 512), "B": (200, 200)}
RECIPE = Recipe(batch_size=BATCH)  # the package's own
EMA = 0.999


def autoint(data: Dataset, seed: int, minutes: float) -> Result:
    return quality("attn AutoInt", AUTOINT, data, seed, minutes)


def autoint_plus(data: Dataset, seed: int, minutes: float) -> Result:
    architecture = AUTOINT | {"dnn": DNN[data.setting], "dnn_dropout": 0.2}
    return quality("attn AutoInt+", architecture, data, seed, minutes)


def quality(name: str, architecture: dict[str, Any], data: Dataset, seed: int, minutes: float) -> Result:
    clock = Clock(minutes)
    out = RUNS / f"{name.replace(' ', '-')}-{data.setting}-{seed}"
    with tempfile.TemporaryDirectory() as folder, ready(data, Path(folder)) as rows:
        trained = train_to(out, rows, architecture, seed, minutes).metrics
        model = CTRPredictor.load(out).model
        (valid_auc, valid_logloss), (auc, logloss) = (scored(model, part) for part in (rows.validation, rows.test))
    return Result(
        peer=name,
        setting=data.setting,
        seed=seed,
        auc=auc,
        logloss=logloss,
        valid_auc=valid_auc,
        valid_logloss=valid_logloss,
        epochs=trained["epochs"],
        seconds=clock.seconds,
        cpu_seconds=clock.cpu_seconds,
        parameters=sum(p.numel() for p in model.parameters()),
        converged=trained["epochs"] - trained["best_epoch"] > PATIENCE,
        choice=f"width {architecture['widths'][0]}, {asdict(RECIPE)}, EMA {EMA}",
    )


@contextmanager
def ready(data: Dataset, folder: Path) -> Iterator[Prepared]:
    """The parts as files, read as any table is."""
    paths = {name: folder / f"{name}.parquet" for name in ("train", "valid", "test")}
    for name, path in paths.items():
        getattr(data, name).write_parquet(path)
    clicks = open_clicks(paths["train"], label=LABEL, validation=paths["valid"], test=paths["test"])
    with prepare(clicks, folder) as rows:
        yield rows


def train_to(out: Path, rows: Prepared, architecture: dict[str, Any], seed: int, minutes: float) -> ModelRecord:
    """Train in `out`; a run that was stopped continues."""
    fit_config = FitConfig(
        epochs=EPOCHS, seed=seed, monitor="val_auc", mode="max", patience=PATIENCE, ema_decay=EMA, max_minutes=minutes
    )
    resume = (out / "run" / "checkpoints" / "last.safetensors").exists()
    return train_prepared(rows, LABEL, out, RECIPE, fit_config, resume=resume, **architecture)


def scored(model: AutoInt, part: RowSet) -> tuple[float, float]:
    logits, labels = [], []
    with torch.inference_mode():
        for ids_bc, numbers_bm, labels_b in OrderedBatches(part, 8192):
            logits.append(model(ids_bc, numbers_bm).numpy().astype(np.float64))
            labels.append(labels_b.numpy())
    p_n, liked_n = 1 / (1 + np.exp(-np.concatenate(logits))), np.concatenate(labels)
    return float(roc_auc_score(liked_n, p_n)), float(log_loss(liked_n, p_n))


class Session:
    """What the speed benchmark asks for: made from the raw file, it holds our own batches of it."""

    def __init__(self, path: Path) -> None:
        keep_freed_memory()
        self.stack = ExitStack()
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        fields = folder / "fields.toml"
        fields.write_text('["genres as a whole"]\ncolumn = "genres"\nkind = "ignore"\n')  # the peers have eight fields
        clicks = open_clicks(path, label=LABEL, fields=fields, split=Split(shares=(1e-3, 0.0)))
        self.data = self.stack.enter_context(prepare(clicks, folder))
        self.rows = len(self.data.train.rows)
        self.batches = ClickData(self.data.train, self.data.validation, BATCH, 0).train_dataloader()

    def first_batch(self) -> None:
        next(iter(self.batches))

    def model(self) -> None:
        config = configure(
            self.data.codebook,
            **preset_named("paper"),
            embedding=EMBEDDING,
            widths=(EMBEDDING,) * LAYERS,
            heads=HEADS,
        )
        self.module = ClickModule(AutoInt(config), Recipe(batch_size=BATCH))
        self.module.log = lambda *_, **__: None  # type: ignore[method-assign]

    def train(self) -> None:
        optimizer = self.module.configure_optimizers()
        for number, batch in enumerate(self.batches):
            optimizer.zero_grad()
            self.module.training_step(batch, number).backward()
            optimizer.step()

    def predict(self) -> int:
        model = self.module.model.eval()
        count = 0
        with torch.inference_mode():
            for ids_bc, numbers_bm, _ in OrderedBatches(self.data.train, BATCH):
                count += len(model(ids_bc, numbers_bm).sigmoid())
        return count
