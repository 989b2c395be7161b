"""Train an Astroformer on labelled galaxies: the recipe, the run, the model folder.

Shapes: B batch, W working side, S model side, K classes.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from jaxtyping import Float
from lightning import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import ConcatDataset, Dataset
from torchmetrics.classification import MulticlassAccuracy

from attn.apps.galaxy.anomaly_fit import save_with_anomaly
from attn.apps.galaxy.augment import AugmentConfig, coarsen, mix, photometric, random_view, redisplay
from attn.apps.galaxy.data import MARGIN, GalaxyData, PixelDataset, Split, check_readable, stratified_split
from attn.apps.galaxy.evaluate import HEADLINES, evaluate_rows
from attn.apps.galaxy.model import Astroformer, AstroformerConfig
from attn.apps.galaxy.predict import BUNDLED_MODEL, GalaxyPredictor
from attn.apps.galaxy.preprocess import Preprocessing, to_unit
from attn.apps.galaxy.start import SHARED, begin
from attn.apps.galaxy.targets import class_targets, further_targets
from attn.apps.galaxy.trained import trained_record
from attn.core import starts
from attn.core.measures.calibration import fit_temperature
from attn.core.models.folder import ModelRecord
from attn.core.models.used import in_words, start_unknown, uses_of
from attn.core.training.config import FitConfig
from attn.core.training.few import warn_of_few
from attn.core.training.fit import fit
from attn.core.training.pixels import Example
from attn.core.training.recipe import BatchRecipe
from attn.core.training.same_run import remember, starting
from attn.core.training.seeding import seed_generators
from attn.data_adapters.images.labelled import LabelledImages


class Classifier(Protocol):
    """What the training step needs of a network."""

    def embed(self, x_bchw: Tensor) -> Tensor:
        """Normalised images (B, 3, S, S) to features (B, F)."""
        ...

    def classify(self, features_bf: Tensor) -> Tensor:
        """Features (B, F) to logits (B, K)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Recipe(BatchRecipe):
    """How to train. The paper's command, with what the paper leaves out: rotations, CutMix, class balance.

    `balance` is the share tau of the log prior that is added to the logits in training only (Menon et al. 2021,
    equation 10): 0 leaves the classes as frequent as they are, 1 treats them as equally frequent. `further` weighs the
    mean loss of further targets.
    """

    label_smoothing: float = 0.1
    balance: float = 0.4
    further: float = 4.0
    augment: AugmentConfig = field(default_factory=AugmentConfig)


class GalaxyModule(LightningModule):
    """One optimisation step and its measurements.

    `model` has `embed`, normalised images (B, 3, S, S) to features (B, F), and `classify`, those to logits (B, K).
    `further` targets are read off the features by a linear layer that stays behind after training. `started` names the
    model's parameters that come from a shared start and learn more slowly.
    """

    log_prior: Tensor

    def __init__(
        self,
        model: Classifier,
        preprocessing: Preprocessing,
        recipe: Recipe,
        class_share: Float[Tensor, " K"],
        features: int,
        further: int = 0,
        started: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.model, self.preprocessing, self.recipe = model, preprocessing, recipe
        self.started = {f"model.{name}" for name in started}
        self.further = nn.Linear(features, further) if further else nn.Identity()  # torch warns of empty layers
        self.register_buffer("log_prior", class_share.log(), persistent=False)
        self.accuracy = MulticlassAccuracy(len(class_share), average="macro")

    def training_step(self, batch: Example, _: int) -> Tensor:
        """Cross-entropy under augmentation, mixing, smoothing and the logit adjustment, and the further targets."""
        pixels_bwwc, target_bt = batch
        recipe, classes = self.recipe, len(self.log_prior)
        x_bcss = random_view(to_unit(pixels_bwwc), self.preprocessing.side, recipe.augment)
        x_bcss = redisplay(coarsen(x_bcss, recipe.augment), recipe.augment)
        x_bcss, target_bt = mix(photometric(x_bcss, recipe.augment), target_bt, recipe.augment)
        features_bf = self.model.embed(self.preprocessing.normalise(x_bcss))
        target_bk = target_bt[:, :classes] * (1 - recipe.label_smoothing) + recipe.label_smoothing / classes
        logits_bk = self.model.classify(features_bf).float()
        loss = F.cross_entropy(logits_bk + recipe.balance * self.log_prior, target_bk)
        further_ba = target_bt[:, classes:]
        known_ba = ~further_ba.isnan()
        if known_ba.any():
            each_ba = F.binary_cross_entropy_with_logits(
                self.further(features_bf).float(), further_ba.nan_to_num(), reduction="none"
            )
            loss = loss + recipe.further * (each_ba * known_ba).sum() / known_ba.sum()
        self.log("train_loss", loss, on_epoch=True, on_step=False, batch_size=len(target_bt))
        return loss

    def validation_step(self, batch: Example, _: int) -> None:
        """Loss and balanced accuracy of the plain, centred image."""
        pixels_bwwc, target_bt = batch
        target_b = target_bt[:, : len(self.log_prior)].argmax(1)
        x_bcss = resize(to_unit(pixels_bwwc), self.preprocessing.side)
        logits_bk = self.model.classify(self.model.embed(self.preprocessing.normalise(x_bcss))).float()
        loss = F.cross_entropy(logits_bk + self.recipe.balance * self.log_prior, target_b)
        self.accuracy(logits_bk, target_b)
        self.log("val_loss", loss, batch_size=len(target_b), sync_dist=True)
        self.log("val_balanced_accuracy", self.accuracy, on_epoch=True, batch_size=len(target_b))

    def configure_optimizers(self) -> Any:
        """Those of the recipe."""
        return self.recipe.optimizer(self, self.started)


def train(
    source: LabelledImages,
    out: Path,
    config: AstroformerConfig,
    recipe: Recipe,
    fit_config: FitConfig,
    *,
    also: Sequence[str] = (),
    extra: LabelledImages | None = None,
    start: str | Path | None = None,
    resume: bool = False,
    skip_unreadable: bool = False,
) -> ModelRecord:
    """Train on 80 % of `source`, calibrate on a tenth of that, measure on the other 20 %, write the model to `out`.

    `also` are columns of `source` learned beside the class; `extra` are labelled images that are only trained on, and
    whose labels may leave a choice (`a|b`). Every image is read before the first step; one that cannot be read ends
    the training, or is left out with `skip_unreadable`, and the record's `data` then names it. `start` is a shared
    start, or a model whose weights to begin from, its classifier included if the numbers of classes agree. Raises
    TrainingError for a set that cannot be split, for a run that cannot start or continue, and for a run that is
    resumed with other images, columns or settings than those of its start.
    """
    with starting(out) as run:
        split = stratified_split(source.labels)
        warn_of_few(([(source.labels[i], i) for i in rows] for rows in (split.train, split.validation)), "images")
        config = config.model_copy(update={"classes": len(source.classes)})
        fingerprint = source.fingerprint()
        extra_fingerprint = {} if extra is None else extra.fingerprint()
        settings = {"architecture": config.model_dump(mode="json"), "recipe": asdict(recipe), "also": list(also)}
        if start in SHARED:
            settings["start"] = start
        remember(run, {"data": fingerprint, "extra": extra_fingerprint, **settings}, resume=resume)
        data, preprocessing = prepare(
            source,
            split,
            config.image_size,
            recipe,
            fit_config.seed,
            also=also,
            extra=extra,
            skip_unreadable=skip_unreadable,
        )
        seed_generators(fit_config.seed)
        model = Astroformer(config).to(memory_format=torch.channels_last)
        started = begin(model, start)
        module = make_module(model, config.head, data, preprocessing, recipe, len(source.classes), started)
        result = fit(module, data, fit_config, run, resume=resume)
    state = result.state_of("model")
    record = trained_record(
        out,
        config,
        source,
        split,
        data,
        before=starts.model_record(start, "galaxy", BUNDLED_MODEL),
        fingerprint=fingerprint | ({} if extra is None else {"extra": extra_fingerprint}),
        labels=source.classes,
        preprocessing=preprocessing.model_dump(mode="json"),
        metrics={**result.facts(), "recipe": recipe.described()},
        seed=fit_config.seed,
    )
    model.load_state_dict(state)
    predictor = GalaxyPredictor(model, record)
    measure(predictor, source, split)
    return save_with_anomaly(out, state, predictor, source, split, extra)


def prepare(
    source: LabelledImages,
    split: Split,
    side: int,
    recipe: Recipe,
    seed: int,
    *,
    also: Sequence[str] = (),
    extra: LabelledImages | None = None,
    targets: Tensor | None = None,
    skip_unreadable: bool = False,
) -> tuple[GalaxyData, Preprocessing]:
    """The batches of a training, and the preprocessing: mean and deviation of 500 to 1000 training images.

    `targets` (N, T) are learned instead of the classes and the columns `also`.
    Raises TrainingError for images that cannot be read, unless `skip_unreadable`.
    """
    working = Preprocessing(side=round(MARGIN * side), mean=(0, 0, 0), std=(1, 1, 1))
    if targets is None:
        further = further_targets({name: source.column(name) for name in also}, len(source.labels))
        targets = torch.cat([class_targets(source.labels, source.classes), further], dim=1)
    train_set = PixelDataset(source, split.train, targets, working)
    validation_set = PixelDataset(source, split.validation, targets, working)
    sets = [train_set, validation_set, PixelDataset(source, split.held_out, targets, working)]
    if extra is not None:
        extra_targets = torch.full((len(extra.labels), targets.shape[1]), torch.nan)
        extra_targets[:, : len(source.classes)] = class_targets(extra.labels, source.classes)
        sets.append(PixelDataset(extra, list(range(len(extra.labels))), extra_targets, working))
    skipped = check_readable(sets, skip=skip_unreadable)
    sample = range(0, len(train_set), max(1, len(train_set) // 500))
    x_bcww = to_unit(torch.stack([train_set[index][0] for index in sample]))
    mean, std = x_bcww.mean((0, 2, 3)), x_bcww.std((0, 2, 3)).clamp(min=0.01)
    preprocessing = Preprocessing(
        side=side, mean=_rounded(mean), std=_rounded(std), stretch=working.stretch, upright=True
    )
    trained: Dataset[Example] = train_set if extra is None else ConcatDataset([train_set, sets[-1]])
    return GalaxyData(trained, validation_set, recipe.batch_size, seed, skipped), preprocessing


def make_module(
    model: Classifier,
    features: int,
    data: GalaxyData,
    preprocessing: Preprocessing,
    recipe: Recipe,
    classes: int,
    started: Sequence[str] = (),
) -> GalaxyModule:
    """The training module of `model`, its class shares and further targets taken from `data`."""
    validation = data.validation_set
    # A class that names no row (Galaxy10 always has its ten) counts as one: its log share would be minus infinity.
    share_k = validation.targets[:, :classes].mean(0).clamp(min=1 / len(validation.targets))
    further = validation.targets.shape[1] - classes
    return GalaxyModule(model, preprocessing, recipe, share_k, features, further, started)


def measure(predictor: GalaxyPredictor, source: LabelledImages, split: Split) -> None:
    """Fit the temperature on the validation rows and measure on the held-out rows, into the predictor's record.

    Held-out rows that the model has seen from which the training began are left out.
    """
    validation = evaluate_rows(predictor, source, split.validation)
    predictor.temperature = fit_temperature(validation.log_probabilities, validation.targets)
    predictor.record.calibration = {"temperature": predictor.temperature, "fitted_on": len(validation.targets)}
    record = predictor.record
    held_out = evaluate_rows(predictor, source, split.held_out, uses=uses_of(record, training=False))
    counted = f"{len(held_out.targets)} held-out rows of {len(source.labels)}"
    counted += f"; left out: {in_words(held_out.used.values())}" if held_out.used else start_unknown(record.data)
    headlines = held_out.headlines() if held_out.rows else dict.fromkeys(HEADLINES)
    record.metrics |= {"measured_on": counted, **headlines}


def resize(x_bcww: Float[Tensor, "B C W W"], side: int) -> Float[Tensor, "B C S S"]:
    """Antialiased bilinear resize to (side, side)."""
    return F.interpolate(x_bcww, size=(side, side), mode="bilinear", antialias=True, align_corners=False)


def _rounded(values: Tensor) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)
