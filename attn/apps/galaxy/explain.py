"""Which parts of a cut-out a galaxy classifier attended to, and which it needed: attention and occlusion maps.

Shapes: B batch, Hd heads, N tokens, S model side, K classes.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from attn.apps.galaxy.augment import sky_level
from attn.apps.galaxy.predict import GalaxyPredictor
from attn.apps.galaxy.read import Source, read_cutout
from attn.core.attention.watch import record
from attn.core.errors import UsageError
from attn.core.files import replacing
from attn.core.measures import saliency
from attn.core.results.prediction import Prediction
from attn.data_adapters.sky.framing import as_it_was, orientation


@dataclass(frozen=True)
class Explanation:
    """A prediction and its maps, which have the size of the model's input.

    `image` (S, S, 3) is in 0..1. `attention` (S, S) has mean 1. `occlusion` (S, S) is the probability that is lost.
    """

    prediction: Prediction
    image: Float[np.ndarray, "S S 3"]
    attention: Float[np.ndarray, "S S"]
    occlusion: Float[np.ndarray, "S S"]

    def save(self, folder: Path, name: str | None = None) -> tuple[Path, Path]:
        """Write the picture and the arrays to `folder` and return their paths; `name` replaces the input's name."""
        stem = name or Path(self.prediction.id).name
        picture, arrays = folder / f"{stem}.png", folder / f"{stem}.npz"
        self.save_picture(picture)
        self.save_arrays(arrays)
        return picture, arrays

    def save_arrays(self, path: Path) -> None:
        """Write the image, both maps and the probabilities as `.npz`."""
        labels = list(self.prediction.probabilities)
        with replacing(path) as part, part.open("wb") as file:
            np.savez_compressed(
                file,
                image=self.image,
                attention=self.attention,
                occlusion=self.occlusion,
                labels=np.array(labels),
                probabilities=np.array([self.prediction.probabilities[label] for label in labels]),
            )

    def save_picture(self, path: Path) -> None:
        """Draw the cut-out and, beside it, each map over the grey cut-out with a colour bar."""
        label = self.prediction.label or ""
        figure = Figure(figsize=(12, 4.2), layout="constrained")
        axes = figure.subplots(1, 3)
        axes[0].imshow(self.image)
        axes[0].set_title(f"{label}, p = {self.prediction.probabilities[label]:.2f}")
        reach = max(float(np.abs(self.occlusion).max()), 1e-3)
        limits = {
            "attention": (float(self.attention.min()), float(self.attention.max())),
            "occlusion": (-reach, reach),
        }
        grey = self.image.mean(2)
        white = max(float(np.percentile(grey, 99.5)), 1e-3)
        panels = (
            ("attention", "attention a region receives (mean = 1)", "viridis"),
            ("occlusion", f"p({label}) lost when the region is covered", "RdBu_r"),
        )
        for axis, (name, title, colours) in zip(axes[1:], panels, strict=True):
            low, high = limits[name]
            axis.imshow(grey, cmap="gray", vmin=0, vmax=white)
            drawn = axis.imshow(getattr(self, name), cmap=colours, vmin=low, vmax=high, alpha=0.5)
            axis.set_title(title, fontsize=10)
            figure.colorbar(drawn, ax=axis, shrink=0.85)
        for axis in axes:
            axis.set_axis_off()
        name = Path(self.prediction.id).name.encode("utf-8", "backslashreplace").decode()  # not all names are UTF-8
        figure.suptitle(name, fontsize=9, parse_math=False)
        with replacing(path) as part:
            figure.savefig(part, dpi=130, format="png")


def explain(predictor: GalaxyPredictor, x: Source, hdu: int | str | None = None) -> Explanation:
    """Classify one galaxy and map the parts of the image that its answer depends on.

    Raises InputError when `x` cannot be read. Raises UsageError for a model whose mixer has no attention weights, and
    for one that answers with a number.
    """
    predictor.require_classes("explain")
    cutout = read_cutout(x, predictor.preprocessing.stretch, hdu)
    x_1css = predictor.tensor([cutout])
    p_k = predictor.probabilities(predictor.log_probabilities(x_1css))[0]
    prediction = Prediction.from_probabilities(
        cutout.id, predictor.labels, p_k.cpu().numpy(), flags=cutout.flags, model=predictor.record.name
    )
    maps = {
        "image": x_1css[0].permute(1, 2, 0),
        "attention": attention_map(predictor, x_1css),
        "occlusion": occlusion_map(predictor, x_1css, int(p_k.argmax())),
    }
    preprocessing = predictor.preprocessing
    how = orientation(preprocessing.framed_pixels(cutout)) if preprocessing.upright else (False, False, False)
    return Explanation(
        prediction=prediction, **{name: as_it_was(each.cpu().numpy(), how) for name, each in maps.items()}
    )


def attention_map(predictor: GalaxyPredictor, x_1css: Float[Tensor, "1 C S S"]) -> Float[Tensor, "S S"]:
    """Attention rollout (Abnar and Zuidema 2020, section 3): the share of each token in the pooled output.

    The weights of a layer are averaged over heads, and then with the identity, which stands for the residual path. The
    rollout is the product of all layers. Its mean over queries, scaled to mean 1, is resized to the image.
    """
    with record(predictor.model) as seen, torch.inference_mode():
        grid = predictor.model.features(predictor.preprocessing.normalise(x_1css)).shape[2:]
    among_tokens = [site for site in seen.values() if site.over == "tokens"]
    if not among_tokens:
        config = predictor.model.config
        if "T" not in config.layout:
            raise UsageError("this model has no attention layers", hint="explain a model of a variant that has them")
        raise UsageError(
            f"the mixer {config.mixer!r} has no attention weights over tokens",
            hint="`attn mixers` lists the mixers that have them",
        )
    tokens = grid[0] * grid[1]
    rollout_nn = torch.eye(tokens, device=x_1css.device)
    for site in among_tokens:
        weights_nn = site.dense(tokens)[0].mean(0)
        rollout_nn = (0.5 * weights_nn + 0.5 * torch.eye(tokens, device=x_1css.device)) @ rollout_nn
    received = rollout_nn.mean(0) * tokens
    side = x_1css.shape[-1]
    return F.interpolate(received.view(1, 1, *grid), size=(side, side), mode="bilinear", align_corners=False)[0, 0]


def occlusion_map(predictor: GalaxyPredictor, x_1css: Float[Tensor, "1 C S S"], label: int) -> Float[Tensor, "S S"]:
    """How much probability `label` loses when a patch of sky colour covers a pixel (`saliency.occlusion_map`)."""

    def answer(x_bcss: Tensor) -> Tensor:
        return predictor.probabilities(predictor.log_probabilities(x_bcss))[:, label]

    return saliency.occlusion_map(answer, x_1css, sky_level(x_1css)[0])
