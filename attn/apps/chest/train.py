"""Train a MEDUSA on labelled radiographs: the recipe, the run, the model folder.

Shapes: B batch, N rows, W working side, S model side, K classes, F embedding width.
"""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float
from lightning import LightningModule
from torch import Tensor
from torch.nn import functional as F

from attn.apps.chest.augment import AugmentConfig, mix, photometric, random_view
from attn.apps.chest.calibrate import operating_points
from attn.apps.chest.data import MARGIN, ChestData, PixelDataset, sampling_weights
from attn.apps.chest.gate import GATE
from attn.apps.chest.gate_fit import WholePictures, fit_gate, read_others
from attn.apps.chest.losses import focal_cross_entropy, masked_binary
from attn.apps.chest.model import Medusa, MedusaConfig
from attn.apps.chest.preprocess import Preprocessing, resized, to_unit
from attn.apps.chest.probabilities import HALF, Calibration
from attn.apps.chest.split import Split, grouped_split, rarest_finding
from attn.apps.chest.start import BUNDLED_MODEL, SHARED, begin
from attn.core import starts
from attn.core.measures.calibration import fit_temperature
from attn.core.measures.classification import HEADLINES, classification_report
from attn.core.measures.one_against_rest import one_against_rest
from attn.core.models import folder as model_folder
from attn.core.models.folder import ModelRecord
from attn.core.models.record import licence_after
from attn.core.models.used import USES, start_unknown, used_by, uses_of
from attn.core.settings import stored
from attn.core.training.config import FitConfig
from attn.core.training.few import warn_of_few
from attn.core.training.fit import fit
from attn.core.training.pixels import Example
from attn.core.training.recipe import BatchRecipe
from attn.core.training.same_run import remember, starting
from attn.core.training.seeding import seed_generators
from attn.data_adapters.dicom.labelled import LabelledStudies

BATCH = 64
LIMITS = ["Research use, not a medical device."]


class Classifier(Protocol):
    """What the training step needs of a network: pixels (B, 1, S, S) in 0..1 to logits (B, K)."""

    def __call__(self, x_b1ss: Tensor) -> Tensor:
        """Logits (B, K)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Recipe(BatchRecipe):
    """How to train.

    `class_weight` is the power tau of the weight n^-tau of a class of n images in the loss; `focal` the focusing
    parameter gamma of the focal loss. `balance_classes` and `balance_sources` are the same power in how often an image
    is drawn. What weights and drawing do to the shares of exclusive classes is undone by the shift of the record's
    calibration.
    """

    warmup: float = 0.1
    batch_size: int = 32
    label_smoothing: float = 0.05
    class_weight: float = 0.0
    focal: float = 0.0
    balance_classes: float = 0.5
    balance_sources: float = 0.5
    augment: AugmentConfig = field(default_factory=AugmentConfig)


@dataclass(frozen=True)
class Balance:
    """What the recipe's balancing makes of a training set of N rows and K classes.

    `weights` (N,) say how often a row is drawn. The loss weighs a class by `weight` (K,). `shift` (K,) is added to
    logits to give the classes their own shares back: log of the share before over the share after. For findings that do
    not exclude each other it is the odds among the known targets instead, and an approximation: rows are drawn by their
    rarest finding, which moves the findings that come with it too.
    """

    weights: Float[Tensor, " N"]
    weight: Float[Tensor, " K"]
    shift: Float[Tensor, " K"]

    @classmethod
    def of(
        cls,
        targets_nk: Float[Tensor, "N K"],
        recipe: Recipe,
        classes: list[str],
        sources: list[str],
        *,
        exclusive: bool = True,
    ) -> "Balance":
        """The balance of training rows with these targets; `classes` and `sources` (N,) are what is balanced."""
        weights_n = sampling_weights((classes, recipe.balance_classes), (sources, recipe.balance_sources)).float()
        known_nk = targets_nk.nan_to_num()
        # A class without an image counts as one: its logarithm would be minus infinity.
        before_k = known_nk.sum(0).clamp(min=1) / len(known_nk)
        weight_k = before_k**-recipe.class_weight
        weight_k = weight_k / weight_k.mean()
        if not exclusive:
            absent_nk = 1 - targets_nk.nan_to_num(1)
            sums = [
                (w_n @ each_nk).clamp(min=1)
                for w_n in (torch.ones_like(weights_n), weights_n)
                for each_nk in (known_nk, absent_nk)
            ]
            there_k, absent_k, drawn_k, drawn_absent_k = sums
            return cls(weights_n, weight_k, (there_k / absent_k).log() - (drawn_k * weight_k / drawn_absent_k).log())
        drawn_k = (weights_n[:, None] * known_nk).sum(0).clamp(min=1) / len(known_nk)
        shift_k = before_k.log() - (drawn_k * weight_k).log()
        return cls(weights_n, weight_k, shift_k - shift_k.mean())


class ChestModule(LightningModule):
    """One optimisation step and its measurements. `started` names parameters of the model that learn more slowly."""

    weight: Tensor
    shift: Tensor

    def __init__(
        self,
        model: Classifier,
        side: int,
        recipe: Recipe,
        balance: Balance,
        *,
        exclusive: bool = True,
        started: list[str] | None = None,
    ) -> None:
        super().__init__()
        self.model, self.side, self.recipe, self.exclusive = model, side, recipe, exclusive
        self.started = {f"model.{name}" for name in started or ()}
        self.register_buffer("weight", balance.weight, persistent=False)
        self.register_buffer("shift", balance.shift, persistent=False)

    def training_step(self, batch: Example, _: int) -> Tensor:
        """The recipe's loss under augmentation, mixing and smoothing."""
        pixels_bww, target_bk = batch
        recipe = self.recipe
        x_b1ss = photometric(random_view(to_unit(pixels_bww), self.side, recipe.augment), recipe.augment)
        x_b1ss, target_bk = mix(x_b1ss, target_bk, recipe.augment)
        middle = 1 / target_bk.shape[1] if self.exclusive else 0.5
        target_bk = target_bk * (1 - recipe.label_smoothing) + recipe.label_smoothing * middle
        loss_of = focal_cross_entropy if self.exclusive else masked_binary
        loss = loss_of(self.model(x_b1ss).float(), target_bk, self.weight, recipe.focal)
        self.log("train_loss", loss, on_epoch=True, on_step=False, batch_size=len(target_bk))
        return loss

    def validation_step(self, batch: Example, _: int) -> None:
        """The plain loss of the whole picture, at the classes' own shares."""
        pixels_bww, target_bk = batch
        x_b1ss = resized(to_unit(pixels_bww), self.side)
        logits_bk = self.model(x_b1ss).float()
        if self.exclusive:
            loss = F.cross_entropy(logits_bk + self.shift, target_bk)
        else:
            loss = masked_binary(logits_bk + self.shift, target_bk)
        self.log("val_loss", loss, batch_size=len(target_bk), sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Those of the recipe."""
        return self.recipe.optimizer(self, self.started)


def train(
    source: LabelledStudies,
    out: Path,
    config: MedusaConfig,
    recipe: Recipe,
    fit_config: FitConfig,
    *,
    by: str | None = None,
    others: Path | None = None,
    start: str | Path | None = None,
    resume: bool = False,
) -> ModelRecord:
    """Train on 70 % of the patients of `source`, calibrate on 10 %, measure on 20 %, write the model to `out`.

    `by` is the column of `source` with the hospital, by which images are balanced and the gate is fitted. `others` is a
    folder of images that are no frontal chests, which teach the gate. `start` is a shared start, or a model whose
    weights to begin from. The record has hashes of the images of each part and no file name, which may name a patient.
    Raises TrainingError for a set that cannot be split, for a run that cannot start or continue, and
    for one that is resumed with other images or settings than those of its start.
    """
    with starting(out) as run:
        other_pictures = {} if others is None else read_others(others, Preprocessing(side=config.image_size))
        config = config.model_copy(update={"classes": len(source.classes), "exclusive": source.exclusive})
        targets_nk = torch.as_tensor(source.targets, dtype=torch.float32)
        strata = source.labels if source.exclusive else rarest_finding(targets_nk, source.classes)
        split = grouped_split(strata, source.groups)
        warn_of_few((there(source, rows) for rows in (split.train, split.validation)), "patients")
        sources = [str(cell) for cell in source.column(by)] if by else [""] * len(source)
        fingerprint = source.fingerprint()
        settings = {"architecture": config.model_dump(mode="json"), "recipe": asdict(recipe), "by": by}
        if start in SHARED:
            settings["start"] = start
        remember(run, {"data": fingerprint, **settings}, resume=resume)
        working = round(MARGIN * config.image_size)
        train_set, validation_set = (
            PixelDataset(source, rows, targets_nk, working) for rows in (split.train, split.validation)
        )
        hash_of: dict[int, str] = {}
        for dataset in (train_set, validation_set, PixelDataset(source, split.held_out, targets_nk, working)):
            # Reads every image: one that cannot be read ends the training before it begins.
            hash_of |= dict(zip(dataset.rows, dataset.hashes(), strict=True))
        balance = Balance.of(
            targets_nk[split.train],
            recipe,
            *([cells[row] for row in split.train] for cells in (strata, sources)),
            exclusive=source.exclusive,
        )
        data = ChestData(train_set, validation_set, recipe.batch_size, fit_config.seed, balance.weights)
        seed_generators(fit_config.seed)
        model = Medusa(config).to(memory_format=torch.channels_last)
        started = begin(model, start)
        module = ChestModule(model, config.image_size, recipe, balance, exclusive=config.exclusive, started=started)
        result = fit(module, data, fit_config, run, resume=resume)
    state = result.state_of("model")
    before = starts.model_record(start, "chest", BUNDLED_MODEL)
    record = ModelRecord(
        app="chest",
        name=out.resolve().name,
        architecture=config.model_dump(mode="json"),
        labels=source.classes,
        preprocessing=Preprocessing(side=config.image_size).model_dump(mode="json"),
        data=fingerprint
        | {"trained_on": len(split.train), "held_out": len(split.held_out)}
        | used_by(before, train=train_set.hashes(), validation=validation_set.hashes()),
        metrics={**result.facts(), "recipe": recipe.described()},
        limits=LIMITS,
        licence=licence_after(before),
        seed=fit_config.seed,
    )
    model.load_state_dict(state)
    uses, patients = uses_of(record, training=False), source.groups
    seen = {patients[row] for row, hash in hash_of.items() if hash in uses}
    unseen = [row for row in split.held_out if patients[row] not in seen]
    measure(model.eval(), record, source, replace(split, held_out=unseen), balance)
    if left_out := len(split.held_out) - len(unseen):
        record.metrics["measured_on"] += f"; left out: {left_out} of patients {USES['start']}"
    record.metrics["measured_on"] += start_unknown(record.data)
    gate = fit_gate(
        model,
        WholePictures(train_set, config.image_size),
        [sources[row] for row in split.train],
        other_pictures,
        seed=fit_config.seed,
    )
    return model_folder.save(out, state, record, {GATE: gate.save})


def measure(model: Medusa, record: ModelRecord, source: LabelledStudies, split: Split, balance: Balance) -> None:
    """Fit to the validation rows, and measure on the held-out rows, if any are left; both into the record.

    Classes that exclude each other get operating points. For findings these would decide which of them a row names, at
    a sensitivity that nobody asked for: `calibrate` chooses them.
    """
    exclusive, seen = model.config.exclusive, stored(Preprocessing, record.preprocessing, record.name)
    targets_nk = torch.as_tensor(source.targets, dtype=torch.float32)
    truth = targets_nk.argmax(1) if exclusive else targets_nk

    def logits(rows: list[int]) -> Tensor:
        """As in prediction: rounded to bytes, the same pictures have other probabilities, by up to a tenth."""
        batches = [rows[first : first + BATCH] for first in range(0, len(rows), BATCH)]
        stacks = (np.stack([seen.pixels(source.read(row)) for row in batch]) for batch in batches)
        with torch.inference_mode():
            return torch.cat([model(torch.from_numpy(stack_bss)[:, None]).float() for stack_bss in stacks])

    shift = tuple(round(value, 4) for value in balance.shift.tolist())
    validation_nk = logits(split.validation)
    temperature = fit_temperature(validation_nk, truth[split.validation], shift)
    calibration = Calibration(temperature=temperature, shift=shift)
    if exclusive:
        seen_nk = calibration.probabilities(validation_nk).numpy()
        points = operating_points(seen_nk, targets_nk[split.validation].numpy(), source.classes)
        calibration = calibration.model_copy(update={"operating_points": points})
    record.calibration = calibration.model_dump(mode="json") | {"fitted_on": len(split.validation)}
    record.metrics["measured_on"] = f"{len(split.held_out)} held-out rows of {len(source)}"
    if not split.held_out:
        return
    p_nk = calibration.probabilities(logits(split.held_out), exclusive=exclusive)
    if exclusive:
        report = classification_report(p_nk, truth[split.held_out], source.classes)
        record.metrics |= {key: report[key]["value"] for key in (*HEADLINES, "ece")}
    else:
        groups = [source.groups[row] for row in split.held_out]
        report = one_against_rest(
            p_nk.numpy(), targets_nk[split.held_out].numpy(), source.classes, groups,
            exclusive=False, thresholds=[HALF] * len(source.classes),
        )  # fmt: skip
        record.metrics |= {key: report[key]["value"] for key in ("auc", "ece", "brier")}
        record.metrics["findings"] = [
            {"label": each["label"], "known": each["n"], "there": each["positive"], "auc": each["auc"]}
            for each in report["per_class"]
        ]


def there(source: LabelledStudies, rows: list[int]) -> list[tuple[str, int]]:
    """The classes that the rows have, each with the group of the patient."""
    return [(source.classes[k], source.groups[rows[n]]) for n, k in np.argwhere(source.targets[rows] == 1).tolist()]
