"""Train a DCAL on pictures of individuals, or on classes: the recipe, the run, the model folder.

Shapes: B images of a batch, M partners, N rows, S model height, T model width, F embedding width, K classes.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from jaxtyping import Float, Int
from lightning import LightningModule
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from attn.apps.reid.augment import AugmentConfig, photometric, random_part, random_view
from attn.apps.reid.data import Mirror, Pictures, ReIDData, datasets, maps_of
from attn.apps.reid.losses import UncertaintyWeights, batch_hard_triplet
from attn.apps.reid.model import DCAL, Branch
from attn.apps.reid.preprocess import Preprocessing, to_unit
from attn.apps.reid.sampling import PairedSampler
from attn.apps.reid.split import split_classes, split_individuals, told_apart
from attn.apps.reid.start import BUNDLED_MODEL, SHARED, begin, begin_at_features
from attn.apps.reid.variants import DCALConfig
from attn.core import starts
from attn.core.errors import UsageError
from attn.core.measures.retrieval import Rules, cosine_distances, evaluate_retrieval
from attn.core.models import folder as model_folder
from attn.core.models.folder import ModelRecord
from attn.core.models.record import licence_after
from attn.core.models.used import name_hash, texts, used_by
from attn.core.training.config import FitConfig
from attn.core.training.few import warn_of_few
from attn.core.training.fit import fit
from attn.core.training.pixels import CachedPixels, Example
from attn.core.training.recipe import BatchRecipe
from attn.core.training.same_run import remember, starting
from attn.core.training.seeding import seed_generators

State = dict[str, Tensor]


class Individuals(Pictures, Protocol):
    """What training needs of a labelled set: of each row the identity, "" where nobody knows, and what else is known.

    within: the value by which pictures are compared, such as the flank; splits: the split. None where nothing says so.
    """

    identities: list[str]
    within: list[str] | None
    splits: list[str] | None

    def fingerprint(self) -> dict[str, Any]:
        """What a model's record keeps of its data."""
        ...


@dataclass(frozen=True, kw_only=True)
class Recipe(BatchRecipe):
    """How to train.

    A batch has `batch_size` images: for re-identification `images` of each
    of its individuals. `partners` of the pair branch come from the whole set, one for every `share_partner` images, or
    from the batch itself, which costs no pass of their own. `margin` is the triplet loss's, None for a soft one.
    `mirror`: a mirror image is the same individual, or another one, or there is none; None is "none" where pictures
    are compared within a flank, else "same". Raises UsageError for a batch that cannot be divided so.
    """

    learning_rate: float = 1e-3
    warmup: float = 0.1
    images: int = 4
    label_smoothing: float = 0.1
    margin: float | None = 0.3
    partners: Literal["set", "batch"] = "set"
    share_partner: int = 4
    mirror: Mirror | None = None
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        for name in ("images", "share_partner"):
            if getattr(self, name) < 1 or self.batch_size % getattr(self, name):
                raise UsageError(
                    f"a batch of {self.batch_size} images is no multiple of {name} = {getattr(self, name)}"
                )


class ReIDModule(LightningModule):
    """One optimisation step and its measurements.

    `classes` is how many classes the data has: with mirror images as others the model has twice as many. `codes` are
    those of validation, row by row: what a picture shows, and the value that it is compared within. `started` names
    parameters of the model that learn more slowly.
    """

    def __init__(
        self,
        model: DCAL,
        recipe: Recipe,
        classes: int,
        codes: tuple[np.ndarray, np.ndarray] | None = None,
        started: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.model, self.recipe, self.classes, self.codes = model, recipe, classes, codes
        self.started = {f"model.{name}" for name in started}
        config = model.config
        self.balance = UncertaintyWeights(1 + (config.local is not None) + config.pairs)
        self.embeddings: list[Tensor] = []

    def training_step(self, batch: Example, _: int) -> Tensor:
        """The losses of all branches, weighed against each other."""
        pixels, class_b = batch
        recipe, count = self.recipe, self.recipe.batch_size
        mirrored_b, class_b = self._mirrored(class_b)
        x = self._views(pixels, mirrored_b)
        partners = None
        if self.model.config.pairs:
            partners = x[count:] if recipe.partners == "set" else others(count, x.device)
        found = self.model.branches(x[:count], partners)
        picture_b = torch.unique(pixels[:count].flatten(1), dim=0, return_inverse=True)[1]
        each = [self.loss_of(branch, class_b[:count], picture_b) for branch in found if branch is not None]
        loss: Tensor = self.balance(each)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=count, sync_dist=True)
        return loss

    def loss_of(
        self, branch: Branch, class_b: Int[Tensor, " B"], picture_b: Int[Tensor, " B"] | None = None
    ) -> Float[Tensor, ""]:
        """Cross-entropy with label smoothing; for re-identification and the triplet loss of the features.

        picture_b: see `batch_hard_triplet`.
        """
        loss = F.cross_entropy(branch.logits_bk.float(), class_b, label_smoothing=self.recipe.label_smoothing)
        if self.model.config.task == "identify":
            loss = loss + batch_hard_triplet(branch.features_bc, class_b, self.recipe.margin, picture_b)
        return loss

    def validation_step(self, batch: Example, _: int) -> None:
        """Embeddings for the measure of the epoch; for classes the loss of the added probabilities."""
        pixels, class_b = batch
        x = to_unit(pixels)
        if self.model.config.task == "identify":
            self.embeddings.append(self.model.embed(x).float())
        else:
            loss = F.nll_loss(self.model.probabilities(x).clamp(min=1e-12).log(), class_b)
            self.log("val_loss", loss, batch_size=len(class_b), sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        """Mean average precision among the individuals of validation, each picture a query among the others."""
        if self.model.config.task != "identify":
            return
        embedding_nf = torch.cat(self.embeddings)
        self.embeddings.clear()
        if self.trainer.world_size > 1:
            # Lightning gives each device every n-th row.
            embedding_nf = self.all_gather(embedding_nf).transpose(0, 1).flatten(0, 1)  # type: ignore[union-attr]
        assert self.codes is not None
        measured = retrieval(embedding_nf[: len(self.codes[0])], *self.codes)
        self.log("val_map", measured["mAP"], sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Those of the recipe."""
        return self.recipe.optimizer(self, self.started)

    def _views(self, pixels: Tensor, mirrored_b: Tensor) -> Tensor:
        """Pictures, or parts of maps, which come as the picture's and, where it is asked for, the mirror image's."""
        augment = self.recipe.augment
        if pixels.dtype == torch.uint8:
            return photometric(random_view(to_unit(pixels), self.model.config.image_size, mirrored_b, augment), augment)
        each = torch.arange(len(pixels), device=pixels.device)
        return random_part(pixels[each, mirrored_b.long()].float(), augment)

    def _mirrored(self, class_b: Tensor) -> tuple[Tensor, Tensor]:
        """Which images to mirror, and the classes then."""
        draw_b = torch.rand(len(class_b), device=class_b.device) < 0.5
        if self.recipe.mirror == "another":
            # All images of a class alike, so that there are as many of one class as before.
            mirrored_b = (torch.rand(self.classes, device=class_b.device) < 0.5)[class_b]
            return mirrored_b, class_b + self.classes * mirrored_b
        return (draw_b if self.recipe.mirror == "same" else torch.zeros_like(draw_b)), class_b


def others(count: int, device: torch.device) -> Int[Tensor, " B"]:
    """For each of `count` images another one, by a random cycle through all: each is a partner once."""
    order = torch.randperm(count, device=device)
    return torch.empty_like(order).scatter(0, order, order.roll(1))


def retrieval(embedding_nf: Float[Tensor, "N F"], code: np.ndarray, within: np.ndarray) -> dict[str, Any]:
    """The measures of each picture as a query among all others that share its value of `within`."""
    vectors, number = embedding_nf.cpu().numpy(), np.arange(len(embedding_nf))
    rules = Rules(within={"within": (within, within)}, copies={"itself": (number, number)})
    return evaluate_retrieval(cosine_distances(vectors, vectors), code, code, rules).summary()


def train(
    source: Individuals,
    out: Path,
    config: DCALConfig,
    recipe: Recipe,
    fit_config: FitConfig,
    *,
    start: str | Path | None = None,
    resume: bool = False,
) -> ModelRecord:
    """Train on the pictures of `source`, choose the best epoch on some held out, write the model to `out`.

    For re-identification whole individuals are held out, for classes pictures. Only the split "train" is used where
    there are splits. A class is an individual, or one flank of it where pictures are compared within the flank. The
    record has hashes of pictures and of names, and for re-identification no name. Raises TrainingError for a set that
    cannot be split, for a run that cannot start or continue, and for one that is resumed with other images or settings
    than those of its start; UsageError for mirror images that are other classes.
    """
    with starting(out) as run:
        identify = config.task == "identify"
        within = source.within if identify else None
        recipe = replace(recipe, mirror=recipe.mirror or ("none" if within else "same"))
        if recipe.mirror == "another" and not identify:
            raise UsageError("mirror images are of the same class, or there are none", hint="leave mirror out")
        if identify:
            split = split_individuals(source.identities, within, source.splits)
        else:
            split = split_classes(source.identities, source.splits)
            parts = (split.train, split.validation)
            warn_of_few(([(source.identities[row], row) for row in rows] for rows in parts), "pictures")
        named = told_apart(source.identities, within)
        classes = sorted({named[row] for row in split.train})
        sides = 2 if recipe.mirror == "another" else 1
        config = config.model_copy(update={"classes": sides * len(classes)})
        fingerprint = source.fingerprint()
        settings: dict[str, Any] = {"architecture": config.model_dump(mode="json"), "recipe": asdict(recipe)}
        if start in SHARED:
            settings["start"] = start
        remember(run, {"data": fingerprint, **settings}, resume=resume)

        number = {what: i for i, what in enumerate([*classes, *sorted({*named} - {*classes})])}
        targets = torch.tensor([number[what] for what in named])
        sampler = PairedSampler(
            targets[split.train].tolist(),
            recipe.batch_size,
            images=recipe.images if identify else None,
            partners=recipe.batch_size // recipe.share_partner if config.pairs and recipe.partners == "set" else 0,
            seed=fit_config.seed,
        )
        seed_generators(fit_config.seed)
        model = DCAL(config).to(memory_format=torch.channels_last)
        started = begin(model, start)
        train_set, validation_set = datasets(model, source, split, targets, recipe.mirror)
        if config.body in SHARED and (start is None or start in SHARED):
            begin_at_features(model, lambda: maps_of(train_set, recipe.mirror, len(classes)))
        begun = {name: value.clone() for name, value in model.state_dict().items()}
        codes = np.asarray(targets)[split.validation], _codes([named[row][1] for row in split.validation])
        module = ReIDModule(model, recipe, len(classes), codes, started)
        fit_config = replace(fit_config, monitor="val_map", mode="max") if identify else fit_config
        result = fit(module, ReIDData(train_set, validation_set, sampler), fit_config, run, resume=resume)

    state, share = result.state_of("model"), 1.0
    if started and identify:
        state, share = best_mixture(model, begun, state, validation_set, codes)
    before = starts.model_record(start, "reid", BUNDLED_MODEL)
    people = {part: name_hashes(source.identities, getattr(split, part)) for part in USES}
    if before is not None:
        people["start"] = [
            each for part in (*USES, "start") for each in texts(before.data.get("used_individuals"), part)
        ]
    record = ModelRecord(
        app="reid",
        verb="search" if identify else "predict",
        name=out.resolve().name,
        architecture=config.model_dump(mode="json"),
        labels=[] if identify else [name for name, _ in classes],
        preprocessing=Preprocessing(size=config.image_size).model_dump(mode="json"),
        data=fingerprint
        | {"trained_on": len(split.train), "validated_on": len(split.validation), "within": within is not None}
        | used_by(before, train=train_set.hashes(), validation=validation_set.hashes())
        | {"used_individuals": people},
        metrics={**result.facts(), "share": share, "recipe": recipe.described()},
        licence=licence_after(before),
        seed=fit_config.seed,
    )
    model.load_state_dict(state)
    measured = measure(model.eval(), validation_set, *codes)
    record.metrics |= measured | {"measured_on": f"{len(split.validation)} pictures that chose the best epoch"}
    return model_folder.save(out, state, record)


SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def best_mixture(
    model: DCAL, begun: State, trained: State, dataset: CachedPixels, codes: tuple[np.ndarray, np.ndarray]
) -> tuple[State, float]:
    """The weights between the start's and the trained ones that are best on validation, and the share of the latter.

    Wortsman et al. 2022, arXiv:2109.01903: what a start knows is easily lost in a training on few pictures.
    """
    best, found, at = -1.0, trained, 1.0
    for share in SHARES:
        state = {
            name: torch.lerp(begun[name].cpu(), value, share) if value.is_floating_point() else value
            for name, value in trained.items()
        }
        model.load_state_dict(state)
        value = measure(model.eval(), dataset, *codes)["mAP"]
        if value > best:
            best, found, at = value, state, share
    return found, at


USES = ("train", "validation")


def name_hashes(identities: Sequence[str], rows: Sequence[int]) -> list[str]:
    """For each name among the rows; see `name_hash`."""
    return sorted({name_hash(identities[row]) for row in rows})


def measure(model: DCAL, dataset: CachedPixels, code: np.ndarray, within: np.ndarray) -> dict[str, float]:
    """mAP and rank 1 of each picture among the others; for classes the accuracy."""
    loader = DataLoader(dataset, 64)
    device = next(model.parameters()).device
    with torch.inference_mode():
        if model.config.task == "classify":
            right = [model.probabilities(to_unit(pixels.to(device))).argmax(1).cpu() == true for pixels, true in loader]
            return {"accuracy": float(torch.cat(right).float().mean())}
        vectors = torch.cat([model.embed(to_unit(pixels.to(device))).float() for pixels, _ in loader])
    measured = retrieval(vectors, code, within)
    return {name: float(measured[name]) for name in ("mAP", "rank1")}


def _codes(values: Sequence[str]) -> np.ndarray:
    """Equal numbers for equal texts."""
    found: np.ndarray = np.unique(values, return_inverse=True)[1]
    return found
