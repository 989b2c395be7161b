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
from attn.core.training.config import FitConfig
from attn.core.training.fit import fit
from attn.core.training.muon import MuonAdamW
from attn.core.training.same_run import remember, run_folder
from attn.core.training.seeding import seed_generators
from attn.core.training.warmup import warm_cosine

MEASURED_TOKENS = 200_000  # after a training, a minute or two on a processor


@dataclass(frozen=True)
class Recipe:
    """How to train; the defaults are those of the models that ship.

    learning_rate: the peak, after a warm-up over the share `warmup` of all steps, then a cosine down to a tenth.
    crop: tokens of a training example; batch_size: crops in a step. semitones: transposition up to so many either way.
    clip: largest norm of the gradient.
    """

    learning_rate: float = 3e-3
    weight_decay: float = 0.1
    warmup: float = 0.05
    batch_size: int = 4
    crop: int = 512
    semitones: int = 3
    clip: float = 1.0


class MusicModule(LightningModule):
    """One optimisation step and its measurements. Targets that are padding count nowhere."""

    def __init__(self, model: MusicTransformer, crops: Crops, recipe: Recipe) -> None:
        super().__init__()
        self.model, self.crops, self.recipe = model, crops, recipe
        self.voices = crops.style.voices

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        """Mean -log p of the next tokens of fresh crops."""
        loss = self._loss(self.crops.cut(batch[0]))
        self.log("train_loss", loss, on_epoch=True, on_step=False, batch_size=len(batch[0]))
        return loss

    def validation_step(self, batch: list[Tensor], _: int) -> None:
        """The same on whole crops, in their own key and tempo."""
        count = int((batch[0][:, 1:] != PAD).sum())
        self.log("val_loss", self._loss(batch[0]), batch_size=count, sync_dist=True)

    def _loss(self, ids_bl: Tensor) -> Tensor:
        source_bs, targets_bl = None, ids_bl[:, 1:]
        if self.model.config.source_vocabulary is not None:
            source_bs = melody_of(ids_bl, self.voices)
            added = torch.arange(targets_bl.shape[1], device=ids_bl.device) % self.voices != 0
            targets_bl = targets_bl.where(added, PAD)  # the melody is given
        nll_bl = token_nll(self.model(ids_bl[:, :-1], source_bs), targets_bl)
        return nll_bl.sum() / (targets_bl != PAD).sum()

    def configure_optimizers(self) -> Any:
        """Muon for the weights of layers, with decay; AdamW for biases, norms, embeddings and tables, without."""
        matrices = [layer.weight for layer in self.modules() if isinstance(layer, nn.Linear)]
        others = [p for p in self.parameters() if not any(p is weight for weight in matrices)]
        recipe = self.recipe
        optimizer = MuonAdamW(matrices, others, recipe.learning_rate, recipe.weight_decay, betas=(0.9, 0.98))
        return warm_cosine(optimizer, self.trainer.estimated_stepping_batches, recipe.warmup, floor=0.1)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip the gradient."""
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
    resume: bool = False,
) -> ModelRecord:
    """Train on the collection's train part, watch its validation, measure on its test part, write the model to `out`.

    `start` are weights to begin from. Raises TrainingError for a run that cannot start or go on, and for one that is
    resumed with other pieces or settings than it was started with.
    """
    settings = {
        "architecture": config.model_dump(mode="json"),
        "style": style.model_dump(mode="json"),
        "recipe": asdict(recipe),
        "data": collection.fingerprint,
    }
    run = run_folder(out)
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
        verb="generate",
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
    )
    return model_folder.save(out, state, record)


def begin_from(
    start: str, bundled: str, style: AnyStyle, dropout: float | None = None
) -> tuple[MusicConfig, dict[str, Tensor]]:
    """The architecture and weights of a model to train on: a folder, `hf://...`, or "bundled".

    With another `dropout` than its own, if given. Raises ModelError for a model that does not fit, UsageError for an
    impossible dropout.
    """
    model, record = load_model(start, bundled)
    if record.preprocessing != style.model_dump(mode="json"):
        raise ModelError("speaks another vocabulary than this training", where=start, hint="choose its --style")
    if (model.config.source_vocabulary is not None) != (bundled == "accompany"):
        raise ModelError(
            "does not do what is to be learnt", where=start, hint="--accompany goes with a model that does"
        )
    settings = model.config.model_dump()
    return configure(**settings | ({} if dropout is None else {"dropout": dropout})), model.state_dict()


def measure(model: MusicTransformer, style: AnyStyle, pieces: list[Piece], length: int) -> dict[str, Any]:
    """NLL of unseen pieces, each token after at least half of `length` tokens where the piece has them.

    Of many tokens, as many pieces as have about MEASURED_TOKENS are measured, evenly over the list; `attn music
    evaluate` takes them all.
    """
    total = sum(len(piece.ids[0]) for piece in pieces)
    count = max(1, round(len(pieces) * min(1.0, MEASURED_TOKENS / max(1, total)))) if pieces else 0
    chosen = [pieces[i] for i in np.linspace(0, len(pieces) - 1, count).astype(int)]
    found = surprise(model, style, chosen, length=length, stride=length // 2)
    return {"measured_on": f"{len(chosen)} of {len(pieces)} unseen pieces", "context": length, **rates(found)}
