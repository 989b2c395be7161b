"""Train AutoInt on a table: the recipe, the run, the model folder.

Shapes: B rows, C columns of ids, M numbers.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.classification import BinaryAUROC

from attn.apps.ctr.calibration import calibration_that_helps
from attn.apps.ctr.data import Clicks, Prepared, prepare
from attn.apps.ctr.folder import save_model
from attn.apps.ctr.metrics import click_metrics
from attn.apps.ctr.model import CACHED, AutoInt, configure
from attn.apps.ctr.predict import CTRPredictor
from attn.apps.ctr.rows import Batch, ClickData, OrderedBatches, RowSet
from attn.apps.ctr.start import begin, days, keep_unmet, rows_seen
from attn.apps.ctr.used import shared_rows, written
from attn.core.models.folder import ModelRecord
from attn.core.models.record import licence_after
from attn.core.training.config import FitConfig
from attn.core.training.fit import fit
from attn.core.training.lazy_adam import LazyAdamW
from attn.core.training.same_run import remember, run_folder, starting
from attn.core.training.seeding import seed_generators

SMALLEST_BATCH, STEPS = 32, 100
PATIENCE, PATIENT_STEPS = 3, 2000  # patience in epochs, and in steps at least
RISE = 0.02  # from which on a log loss does not come back: the rows are learned by heart


@dataclass(frozen=True)
class Recipe:
    """How to train; the defaults are those of the model that ships.

    unknown: the share of known values that are read as unknown, which is how the unknown vectors learn. batch_size: at
    most. decay: of the weights of layers; table_decay: of the embedding table. sampled: the share of rows without a
    click that the table still has. The network learns the logits of all rows, and those of the sample are higher by
    -log(sampled) (He et al. 2014, section 6.3).
    """

    learning_rate: float = 2e-3
    batch_size: int = 1024
    unknown: float = 0.01
    decay: float = 0.0
    table_decay: float = 0.1
    sampled: float = 1.0


class ClickModule(LightningModule):
    """One optimisation step and its measurements: log loss, and in validation AUC."""

    unknown_c: Tensor
    single_c: Tensor

    def __init__(self, model: AutoInt, recipe: Recipe, say: Callable[[str], None] = lambda sentence: None) -> None:
        super().__init__()
        self.model, self.recipe, self.say = model, recipe, say
        self.rows, self.began = 0, 0.0  # of this epoch
        self.auc = BinaryAUROC()
        unknown, single = [], []
        for shape in model.config.fields:
            if shape.kind in ("category", "multi", "sequence"):
                unknown += [shape.first] * shape.width
                single += [shape.kind == "category"] * shape.width
        self.register_buffer("unknown_c", torch.tensor(unknown, dtype=torch.int32), persistent=False)
        self.register_buffer("single_c", torch.tensor(single, dtype=torch.bool), persistent=False)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Mean log loss; a few values are hidden."""
        ids_bc, numbers_bm, labels_b, *weights = batch
        if self.recipe.unknown:
            hidden_bc = (torch.rand(ids_bc.shape, device=ids_bc.device) < self.recipe.unknown) & self.single_c
            ids_bc = torch.where(hidden_bc, self.unknown_c, ids_bc)
        logits_b = self.model(ids_bc, numbers_bm) - math.log(self.recipe.sampled)
        loss = F.binary_cross_entropy_with_logits(logits_b, labels_b, weights[0] if weights else None)
        self.rows += len(labels_b)
        self.log("train_loss", loss, on_epoch=True, on_step=False, batch_size=len(labels_b))
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        """The same without hiding."""
        ids_bc, numbers_bm, labels_b, *weights = batch
        logits_b = self.model(ids_bc, numbers_bm)
        loss = F.binary_cross_entropy_with_logits(logits_b, labels_b, weights[0] if weights else None)
        self.auc.update(logits_b.sigmoid(), labels_b.int())
        self.log("val_loss", loss, batch_size=len(labels_b), sync_dist=True)
        self.log("val_auc", self.auc, batch_size=len(labels_b))

    def on_train_epoch_start(self) -> None:
        """Nothing learned in this epoch yet."""
        self.rows, self.began = 0, time.monotonic()

    def on_train_epoch_end(self) -> None:
        """Say how it goes, how fast, and how long it takes at most."""
        seconds = max(time.monotonic() - self.began, 1e-9)
        found, number = self.trainer.callback_metrics, self.current_epoch + 1
        left = seconds * ((self.trainer.max_epochs or number) - number) / 60
        what = (
            f"epoch {number}: log loss {float(found['val_loss']):.5f}, AUC {float(found['val_auc']):.4f} in validation"
        )
        if self.trainer.is_global_zero:
            self.say(f"{what}; {self.rows / seconds:,.0f} rows/s, at most {left:.1f} minutes left")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW, whose decay is for the table and for the weights of layers, each its own."""
        table = [self.model.embedding.table.weight]
        weights = [p for p in self.parameters() if p.dim() > 1 and p is not table[0]]
        others = [p for p in self.parameters() if p.dim() == 1]
        groups: list[dict[str, Any]] = [
            {"params": weights, "weight_decay": self.recipe.decay},
            {"params": table, "weight_decay": self.recipe.table_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        return LazyAdamW(groups, self.recipe.learning_rate)


def train(
    clicks: Clicks,
    out: Path,
    recipe: Recipe,
    fit_config: FitConfig,
    *,
    least: int | None = None,
    start: CTRPredictor | None = None,
    resume: bool = False,
    advance: Callable[[int], None] = lambda rows: None,
    say: Callable[[str], None] = lambda sentence: None,
    **architecture: Any,
) -> ModelRecord:
    """Train on the table's training rows, stop by its validation rows, measure on its test rows, write to `out`.

    `architecture` are settings of `AutoIntConfig`. `start` is a model on the CPU whose weights to begin from; `say`
    gets the sentence about what of it was carried over, and one about each epoch. Without a patience, three epochs
    without improvement end the training; on a small table, the epochs that make two thousand steps, or three epochs in
    a row whose log loss is two per cent above the best.

    Raises InputError for a table that cannot be read, TrainingError for a run that cannot start or continue, and for
    a run that is resumed with another table or other settings.
    """
    with (
        starting(out) as run,
        prepare(clicks, run, least=least, before=None if start is None else start.codebook, advance=advance) as data,
    ):
        return train_prepared(
            data, clicks.label, out, recipe, fit_config, start=start, resume=resume, say=say, **architecture
        )


def train_prepared(
    data: Prepared,
    label: str,
    out: Path,
    recipe: Recipe,
    fit_config: FitConfig,
    *,
    start: CTRPredictor | None = None,
    resume: bool = False,
    say: Callable[[str], None] = lambda sentence: None,
    curves: bool = True,
    **architecture: Any,
) -> ModelRecord:
    """The same on rows that are ready."""
    config = configure(data.codebook, **architecture)
    fingerprint = data.fingerprint | ({} if start is None else {"start": start.record.name})
    before = None if start is None else rows_seen(start, {label, *data.codebook.columns})
    settings = {"architecture": config.model_dump(mode="json"), "recipe": asdict(recipe), "data": fingerprint}
    run = run_folder(out)
    remember(run, settings, resume=resume)
    seed_generators(fit_config.seed)
    model = AutoInt(config)
    if start is not None:
        carried = begin(model, data.codebook, start)
        counts = ", ".join(f"{name} {rows:,} of {of:,}" for name, (rows, of) in carried.items())
        say(f"rows carried over from {start.record.name}: {counts}")
        begun_re = model.embedding.table.weight.detach().clone()
        fingerprint["days"] = days(start.record, fingerprint["source"])
    else:
        # Else the first epochs would bend all vectors to say how rare a click is.
        clicked = data.train.rows.positives
        nn.init.constant_(model.out.bias, math.log(recipe.sampled * clicked / (len(data.train.rows) - clicked)))
    module = ClickModule(model, recipe, say)
    # A small table makes small batches, so that an epoch has steps to learn in.
    batch = min(recipe.batch_size, max(SMALLEST_BATCH, len(data.train.rows) // STEPS))
    if fit_config.patience is None:
        fit_config = replace(
            fit_config, patience=max(PATIENCE, PATIENT_STEPS * batch // len(data.train.rows)), rise=RISE
        )
    loaders = ClickData(data.train, data.validation, batch, fit_config.seed)
    result = fit(module, loaders, fit_config, run, resume=resume, curves=curves)
    state = result.state_of("model")
    if start is not None:
        keep_unmet(state, begun_re, data.train.lookup)
    module.model.load_state_dict(state)
    which = "test" if len(data.test.rows) else "validation"
    measured = data.test if which == "test" else data.validation
    calibration = calibration_that_helps(
        *answers(module.model, data.validation), f"the {len(data.validation.rows)} validation rows"
    )
    slope, intercept = calibration.get("slope", 1.0), calibration.get("intercept", 0.0)
    logits_n, labels_n, weights_n = answers(module.model, measured)
    record = ModelRecord(
        app="ctr",
        name=out.resolve().name,
        architecture=config.model_dump(mode="json"),
        labels=[f"not {label}", label],
        preprocessing={"label": label, "columns": list(data.columns), **data.codebook.described()},
        data=fingerprint
        | {"used": {"sample": written(data.used)} | ({} if before is None else {"start": written(before)})},
        metrics={
            **result.facts(),
            "recipe": asdict(recipe),
            "measured_on": f"{len(measured.rows)} {which} rows"
            + ("" if before is None or which != "test" else shared_rows(data.tested, {"start": before})),
            **click_metrics(slope * logits_n + intercept, labels_n, weights_n),
        },
        calibration=calibration,
        licence=licence_after(None if start is None else start.record),
        seed=fit_config.seed,
    )
    return save_model(out, state, record, data.codebook)


def answers(model: AutoInt, rows: RowSet) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Logits, labels and, if there are any, weights (N,) of a part of the data."""
    model.eval()
    device = model.out.weight.device
    logits, labels, weights = [torch.zeros(0)], [torch.zeros(0)], []
    with torch.inference_mode():
        for ids_bc, numbers_bm, labels_b, *weight in OrderedBatches(rows, CACHED):
            logits.append(model(ids_bc.to(device), numbers_bm.to(device)).cpu())
            labels.append(labels_b)
            weights += weight
    return torch.cat(logits).numpy(), torch.cat(labels).numpy(), torch.cat(weights).numpy() if weights else None
