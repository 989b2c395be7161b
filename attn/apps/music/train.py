"""Train a Music Transformer on pieces: the recipe, the run, the model folder.

Shapes: B batch, L tokens of a crop.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningModule
from torch import Tensor, nn

from attn.apps.music.corpus import CropData, Crops, Piece
from attn.apps.music.likelihood import melody_of, rates, surprise, token_nll
from attn.apps.music.model import PAD, MusicConfig, MusicTransformer, configure
from attn.apps.music.predict import load_model
from attn.apps.music.sources import Collection
from attn.apps.music.styles import AnyStyle
from attn.core.errors import ModelError
from attn.core.models import folder as model_folder
from attn.core.models.folder import ModelRecord
from attn.core.models.record import LICENCE
from attn.core.training.config import FitConfig
from attn.core.training.fit import fit
from attn.core.training.muon import MuonAdamW
from attn.core.training.same_run import remember, starting
from attn.core.training.seeding import seed_generators
from attn.core.training.warmup import warm_cosine

MEASURED_TOKENS = 200_000  # measured after a training, in a minute or two on a processor


@dataclass(frozen=True)
class Recipe:
    """How to train; the bundled models were trained with the defaults, except where docs/music.md says otherwise.

    learning_rate: the peak, which is reached after the share `warmup` of all steps; a cosine then falls to a tenth.
    crop: tokens of a training example. batch_size: crops in a step. semitones: a crop is transposed by up to this many
    semitones, up or down. clip: the largest norm of the gradient.
    """

    learning_rate: float = 3e-3
    weight_decay: float = 0.1
    warmup: float = 0.05
    batch_size: int = 4
    crop: int = 512
    semitones: int = 3
    clip: float = 1.0


class MusicModule(LightningModule):
    """One optimisation step and its losses. Padding adds nothing to a loss."""

    def __init__(self, model: MusicTransformer, crops: Crops, recipe: Recipe) -> None:
        super().__init__()
        self.model, self.crops, self.recipe = model, crops, recipe
        self.voices = crops.style.voices

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        """The loss of fresh crops: the mean of -log p over their tokens."""
        loss = self._loss(self.crops.cut(batch[0]))
        self.log("train_loss", loss, on_epoch=True, on_step=False, batch_size=len(batch[0]))
        return loss

    def validation_step(self, batch: list[Tensor], _: int) -> None:
        """Log the loss of the validation crops, which keep their own key and tempo."""
        count = int((batch[0][:, 1:] != PAD).sum())
        self.log("val_loss", self._loss(batch[0]), batch_size=count, sync_dist=True)

    def _loss(self, ids_bl: Tensor) -> Tensor:
        source_bs, targets_bl = None, ids_bl[:, 1:]
        if self.model.config.source_vocabulary is not None:
            source_bs = melody_of(ids_bl, self.voices)
            added = torch.arange(targets_bl.shape[1], device=ids_bl.device) % self.voices != 0
            targets_bl = targets_bl.where(added, PAD)  # the model is given the melody
        nll_bl = token_nll(self.model(ids_bl[:, :-1], source_bs), targets_bl)
        return nll_bl.sum() / (targets_bl != PAD).sum()

    def configure_optimizers(self) -> Any:
        """Muon with weight decay for the weights of layers; AdamW without decay for all other parameters."""
        matrices = [layer.weight for layer in self.modules() if isinstance(layer, nn.Linear)]
        others = [p for p in self.parameters() if not any(p is weight for weight in matrices)]
        recipe = self.recipe
        optimizer = MuonAdamW(matrices, others, recipe.learning_rate, recipe.weight_decay, betas=(0.9, 0.98))
        return warm_cosine(optimizer, self.trainer.estimated_stepping_batches, recipe.warmup, floor=0.1)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip the gradient to the recipe's norm."""
        self.clip_gradients(optimizer, self.recipe.clip, "norm")


def train(
    collection: Collection,
    out: Path,
    style: AnyStyle,
    config: MusicConfig,
    recipe: Recipe,
    fit_config: FitConfig,
    *,
    start: dict[str, Tensor] | None = None,
    licence: str = LICENCE,
    resume: bool = False,
) -> ModelRecord:
    """Train on the collection's train part and write the model to the folder `out`; its record.

    The validation part chooses the best weights and stops the training early; the test part is measured at the end.
    start: weights to begin from; licence: theirs, which the new model inherits. Raises TrainingError for a run that
    cannot start or be resumed, also because its pieces or settings have changed.
    """
    settings = {
        "architecture": config.model_dump(mode="json"),
        "style": style.model_dump(mode="json"),
        "recipe": asdict(recipe),
        "data": collection.fingerprint,
    }
    with starting(out) as run:
        remember(run, settings, resume=resume)
        seed_generators(fit_config.seed)
        model = MusicTransformer(config)
        if start is not None:
            model.load_state_dict(start)
        crops = Crops(collection.train, style, recipe.crop, recipe.semitones)
        data = CropData(collection.train, collection.validation, style, recipe.crop, recipe.batch_size, fit_config.seed)
        result = fit(MusicModule(model, crops, recipe), data, fit_config, run, resume=resume)
    state = result.state_of("model")
    model.load_state_dict(state)
    record = ModelRecord(
        app="music",
        verb="generate" if config.source_vocabulary is None else "accompany",
        name=out.resolve().name,
        architecture=config.model_dump(mode="json"),
        labels=[],
        preprocessing=style.model_dump(mode="json"),
        data=collection.fingerprint,
        metrics={
            **result.facts(),
            "recipe": asdict(recipe),
            **measure(model, style, collection.test, recipe.crop),
        },
        seed=fit_config.seed,
        licence=licence,
    )
    return model_folder.save(out, state, record)


def begin_from(
    start: str, bundled: str, style: AnyStyle, dropout: float | None = None
) -> tuple[MusicConfig, dict[str, Tensor], str]:
    """The architecture, weights and licence of the model `start` (a folder, `hf://...`, "bundled"), to train further.

    bundled: which bundled model the word "bundled" means. dropout: replaces the model's own. Raises ModelError for a
    model of another style or purpose, UsageError for an impossible dropout.
    """
    model, record = load_model(start, bundled)
    if record.preprocessing != style.model_dump(mode="json"):
        raise ModelError("has another vocabulary than this training", where=start, hint="choose the model's --style")
    if (model.config.source_vocabulary is not None) != (bundled == "accompany"):
        raise ModelError(
            "does not do the same as the model to train", where=start, hint="--accompany needs a model that accompanies"
        )
    settings = model.config.model_dump()
    config = configure(**settings | ({} if dropout is None else {"dropout": dropout}))
    return config, model.state_dict(), record.licence


def measure(model: MusicTransformer, style: AnyStyle, pieces: list[Piece], length: int) -> dict[str, Any]:
    """NLL of unseen pieces; a token is predicted from at least half of `length` tokens where the piece has them.

    Of a large set, only about MEASURED_TOKENS tokens are measured, in pieces spread evenly over the list; `attn music
    evaluate` measures all.
    """
    total = sum(len(piece.ids[0]) for piece in pieces)
    count = max(1, round(len(pieces) * min(1.0, MEASURED_TOKENS / max(1, total)))) if pieces else 0
    chosen = [pieces[i] for i in np.linspace(0, len(pieces) - 1, count).astype(int)]
    found = surprise(model, style, chosen, length=length, stride=length // 2)
    return {"measured_on": f"{len(chosen)} of {len(pieces)} unseen pieces", "context": length, **rates(found)}
