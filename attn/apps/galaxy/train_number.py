"""Train an Astroformer that answers with a number: the column of a table instead of a class.

Shapes: B batch, W working side, S model side, N rows.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from lightning import LightningModule
from sklearn.model_selection import train_test_split
from torch import Tensor

from attn.apps.galaxy.anomaly_fit import save_with_anomaly
from attn.apps.galaxy.augment import coarsen, photometric, random_view
from attn.apps.galaxy.data import Split
from attn.apps.galaxy.evaluate_number import HEADLINES, evaluate_number_rows
from attn.apps.galaxy.model import Astroformer, AstroformerConfig
from attn.apps.galaxy.number import Number, numbers_of
from attn.apps.galaxy.predict import BUNDLED_MODEL, GalaxyPredictor
from attn.apps.galaxy.preprocess import Preprocessing, to_unit
from attn.apps.galaxy.start import SHARED, begin
from attn.apps.galaxy.train import Classifier, Recipe, prepare, resize
from attn.apps.galaxy.trained import trained_record
from attn.core import starts
from attn.core.errors import TrainingError
from attn.core.models.folder import ModelRecord
from attn.core.models.used import uses_of
from attn.core.training.config import FitConfig
from attn.core.training.fit import fit
from attn.core.training.pixels import Example
from attn.core.training.same_run import remember, starting
from attn.core.training.seeding import seed_generators
from attn.data_adapters.images.labelled import LabelledImages

FEWEST = 20  # rows that can be split
MOST_BINS = 10  # of the numbers, which every part of the split has alike


class NumberModule(LightningModule):
    """One optimisation step and its measurements; `model` as `GalaxyModule` has it, with one output.

    Images are not mixed: what half of one galaxy and half of another measure is not known.
    """

    def __init__(
        self, model: Classifier, preprocessing: Preprocessing, recipe: Recipe, number: Number, started: list[str]
    ) -> None:
        super().__init__()
        self.model, self.preprocessing, self.recipe, self.number = model, preprocessing, recipe, number
        self.started = {f"model.{name}" for name in started}

    def training_step(self, batch: Example, _: int) -> Tensor:
        """The loss of the number under augmentation."""
        pixels_bwwc, target_bt = batch
        augment = self.recipe.augment
        x_bcss = random_view(to_unit(pixels_bwwc), self.preprocessing.side, augment)
        x_bcss = photometric(coarsen(x_bcss, augment), augment)
        loss = self.number.loss(self._output(x_bcss), target_bt[:, 0])
        self.log("train_loss", loss, on_epoch=True, on_step=False, batch_size=len(target_bt))
        return loss

    def validation_step(self, batch: Example, _: int) -> None:
        """Loss and mean absolute error of the plain, centred image."""
        pixels_bwwc, target_bt = batch
        output_b = self._output(resize(to_unit(pixels_bwwc), self.preprocessing.side))
        error = (self.number.value(output_b) - target_bt[:, 0]).abs().mean()
        self.log("val_loss", self.number.loss(output_b, target_bt[:, 0]), batch_size=len(target_bt), sync_dist=True)
        self.log("val_mae", error, batch_size=len(target_bt), sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Those of the recipe."""
        return self.recipe.optimizer(self, self.started)

    def _output(self, x_bcss: Float[Tensor, "B C S S"]) -> Float[Tensor, " B"]:
        return self.model.classify(self.model.embed(self.preprocessing.normalise(x_bcss)))[:, 0].float()


def train_number(
    source: LabelledImages,
    name: str,
    out: Path,
    config: AstroformerConfig,
    recipe: Recipe,
    fit_config: FitConfig,
    *,
    start: str | Path | None = None,
    resume: bool = False,
    skip_unreadable: bool = False,
) -> ModelRecord:
    """Train on 80 % of `source`, whose labels are the cells of the column `name`; otherwise as `train.train`.

    Raises InputError for a cell that is no number, and TrainingError as `train` does.
    """
    with starting(out) as run:
        values_n = numbers_of(source.labels, name)
        split = number_split(values_n)
        number = number_in(values_n[split.train], name)
        config = config.model_copy(update={"classes": 1})
        fingerprint = described(source, name, values_n)
        settings = {"architecture": config.model_dump(mode="json"), "recipe": asdict(recipe), "target": name}
        if start in SHARED:
            settings["start"] = start
        remember(run, {"data": fingerprint, **settings}, resume=resume)
        data, preprocessing = prepare(
            source,
            split,
            config.image_size,
            recipe,
            fit_config.seed,
            targets=torch.from_numpy(values_n.astype(np.float32))[:, None],
            skip_unreadable=skip_unreadable,
        )
        seed_generators(fit_config.seed)
        model = Astroformer(config).to(memory_format=torch.channels_last)
        module = NumberModule(model, preprocessing, recipe, number, begin(model, start))
        result = fit(module, data, fit_config, run, resume=resume)
    state = result.state_of("model")
    record = trained_record(
        out,
        config,
        source,
        split,
        data,
        before=starts.model_record(start, "galaxy", BUNDLED_MODEL),
        fingerprint=fingerprint,
        labels=[],
        preprocessing=preprocessing.model_dump(mode="json"),
        calibration={"number": number.model_dump()},
        metrics={**result.facts(), "recipe": recipe.described()},
        seed=fit_config.seed,
    )
    model.load_state_dict(state)
    predictor = GalaxyPredictor(model, record)
    measure_number(predictor, source, split)
    return save_with_anomaly(out, state, predictor, source, split)


def number_in(values_n: Float[np.ndarray, " N"], name: str) -> Number:
    """The number that these training values describe. TrainingError when all are the same."""
    if np.ptp(values_n) == 0:
        raise TrainingError(f"all rows have one {name!r}, so there is nothing to learn")
    share = bool(values_n.min() >= 0 and values_n.max() <= 1)
    return Number(name=name, share=share, mean=float(values_n.mean()), std=float(values_n.std()))


def number_split(values_n: Float[np.ndarray, " N"]) -> Split:
    """80/20, then a tenth of the 80 for validation, every part with small and large numbers alike; seed 0.

    Raises TrainingError for fewer than FEWEST rows.
    """
    if len(values_n) < FEWEST:
        raise TrainingError(f"{len(values_n)} rows are too few to learn a number from", hint=f"give {FEWEST} or more")
    rank_n = np.argsort(np.argsort(values_n, kind="stable"), kind="stable")
    bins = min(MOST_BINS, len(values_n) // FEWEST)
    bin_n = rank_n * bins // len(values_n)
    rest, test = train_test_split(np.arange(len(values_n)), test_size=0.2, random_state=0, stratify=bin_n)
    validation = max(0.1, bins / len(rest))
    train, validate = train_test_split(rest, test_size=validation, random_state=0, stratify=bin_n[rest])
    return Split(train.tolist(), validate.tolist(), test.tolist())


def described(source: LabelledImages, name: str, values_n: Float[np.ndarray, " N"]) -> dict[str, Any]:
    """The fingerprint, with the range of the number in place of counts of classes."""
    fingerprint = {key: value for key, value in source.fingerprint().items() if key != "classes"}
    return fingerprint | {"target": name, "lowest": float(values_n.min()), "highest": float(values_n.max())}


def measure_number(predictor: GalaxyPredictor, source: LabelledImages, split: Split) -> None:
    """Measure on the held-out rows, into the predictor's record; rows that the start has seen are left out."""
    uses = uses_of(predictor.record, training=False)
    found = evaluate_number_rows(predictor, source, split.held_out, uses=uses)
    report = found.report() if found.rows else dict.fromkeys(HEADLINES)
    counted = f"{len(found.rows)} held-out rows of {len(source.labels)}"
    predictor.record.metrics |= {"measured_on": counted, **{key: _value(report[key]) for key in HEADLINES}}


def _value(estimate: Any) -> float | None:
    return None if estimate is None else estimate["value"]
