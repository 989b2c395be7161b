"""Where a model of radiographs looked, what it needed, and whether its map says anything about the answer.

Research use, not a medical device.

Shapes: B batch, C channels, S model side, H height, W width, T shares of the image.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn import functional as F

from attn.apps.chest.model import Medusa
from attn.apps.chest.predict import ChestPredictor
from attn.apps.chest.read import Reading, Source, source_id
from attn.core.attention.watch import record
from attn.core.errors import AttnError, UsageError
from attn.core.files import claim, replacing
from attn.core.measures import saliency
from attn.core.measures.saliency import Curves
from attn.core.results.prediction import Prediction
from attn.data_adapters.dicom.radiograph import NotAnImageError, Radiograph

USE = "research use, not a medical device"
UNFAITHFUL = "unfaithful: it says no more than a random map"


@dataclass(frozen=True)
class Explanation:
    """Maps of the model's side S, drawn beside the image that the model saw.

    `label` is the class that is explained, the likeliest. `image` (S, S) in 0..1. `gates` are the factors that the body
    gave each scale of the backbone, a mean over channels; `body` their mean, each from 0 to 1; `shuffled` the same map
    of a model whose weights are in another order. `occlusion` is the probability of the label that is lost when a patch
    covers a place. The curves are those of the body's map, of the occlusion map, and of random ones. No identity is in
    what is written of it.
    """

    prediction: Prediction
    label: str
    image: Float[np.ndarray, "S S"]
    gates: list[Float[np.ndarray, "S S"]]
    body: Float[np.ndarray, "S S"]
    shuffled: Float[np.ndarray, "S S"]
    occlusion: Float[np.ndarray, "S S"]
    body_curves: Curves
    occlusion_curves: Curves
    random_curves: Curves

    def numbers(self) -> dict[str, Any]:
        """How far to believe the maps, as plain JSON values.

        outside_centre: share of the body's map outside the square of 80 % of the side; an even map has 0.36. deletion,
        insertion: area under the curve. unfaithful: the body's map does not beat every random map.
        same_when_shuffled: rank correlation of the body's map with that of shuffled weights; 1 is a map of the image
        alone.
        """
        random = self.random_curves
        varied = np.ptp(self.body) > 0 and np.ptp(self.shuffled) > 0
        same = float(spearmanr(self.body.ravel(), self.shuffled.ravel()).statistic) if varied else 0.0
        found: dict[str, Any] = {
            "outside_centre": _known(saliency.outside_centre(torch.from_numpy(self.body))),
            "same_when_shuffled": _known(same),
            "unfaithful": not self.body_curves.beats(random),
            "occlusion_unfaithful": not self.occlusion_curves.beats(random),
            "random_maps": len(random.score),
        }
        for name, curves in (("body", self.body_curves), ("occlusion", self.occlusion_curves)):
            found |= {f"{name}_deletion": curves.areas[0].item(), f"{name}_insertion": curves.areas[1].item()}
        return found | {"random_deletion": random.areas[0].mean(), "random_insertion": random.areas[1].mean()}

    def save(self, path: Path) -> tuple[Path, Path, Path]:
        """Write the picture `path` (.png), and beside it the arrays (.npz) and the numbers (.json); the three paths."""
        arrays, numbers = path.with_suffix(".npz"), path.with_suffix(".json")
        self.save_picture(path)
        with replacing(arrays) as part, part.open("wb") as file:
            np.savez_compressed(
                file,
                image=self.image,
                gates=np.stack(self.gates),
                body=self.body,
                shuffled=self.shuffled,
                occlusion=self.occlusion,
                **{f"{name}_{kind}": getattr(getattr(self, f"{name}_curves"), kind) for name, kind in _CURVES},
            )
        answer: dict[str, Any] = {"label": self.label, "probabilities": dict(self.prediction.probabilities)}
        answer |= {"flags": list(self.prediction.flags), "model": self.prediction.model, "use": USE}
        with replacing(numbers) as part:
            part.write_text(json.dumps(answer | self.numbers(), indent=2) + "\n", encoding="utf-8")
        return path, arrays, numbers

    def save_picture(self, path: Path) -> None:
        """The image with the gates of each scale; below, the body's map, occlusion, the shuffled map, the curves."""
        numbers, label = self.numbers(), self.label
        columns = max(5, 1 + len(self.gates))
        figure = Figure(figsize=(3.1 * columns, 7), layout="constrained")
        axes = figure.subplots(2, columns)
        for axis in axes.flat:
            axis.set_axis_off()
        axes[0, 0].imshow(self.image, cmap="gray", vmin=0, vmax=1)
        axes[0, 0].set_title(f"{label}, p = {self.prediction.probabilities[label]:.2f}")
        for scale, (axis, gate) in enumerate(zip(axes[0, 1:], self.gates, strict=False), 1):
            self._over_image(figure, axis, gate, f"the body's gate, scale {scale}", "viridis")
        outside = numbers["outside_centre"]
        share = "even" if outside is None else f"{outside:.0%} outside the central 80 %"
        self._over_image(figure, axes[1, 0], self.body, f"the body's map, mean of scales\n({share})", "viridis")
        reach = max(float(np.abs(self.occlusion).max()), 1e-3)
        title = f"p({label}) lost when covered"
        self._over_image(figure, axes[1, 1], self.occlusion, title, "RdBu_r", (-reach, reach))
        same = numbers["same_when_shuffled"]
        title = f"the body's map, weights shuffled\n(rank correlation {same or 0:.2f})"
        self._over_image(figure, axes[1, 2], self.shuffled, title, "viridis")
        self._draw_curves(axes[1, 3], "deletion", "share taken away, highest first")
        self._draw_curves(axes[1, 4], "insertion", "share given, highest first")
        for axis, unfaithful in ((axes[1, 0], "unfaithful"), (axes[1, 1], "occlusion_unfaithful")):
            if numbers[unfaithful]:
                axis.text(
                    *(0.5, 0.03), UNFAITHFUL, transform=axis.transAxes, ha="center", size=8.5, weight="bold",
                    color="white", bbox={"color": "tab:red"},
                )  # fmt: skip
        figure.suptitle(USE, fontsize=10, color="tab:red")
        with replacing(path) as part:
            figure.savefig(part, dpi=110, format="png")

    def _over_image(
        self,
        figure: Figure,
        axis: Axes,
        map_ss: Float[np.ndarray, "S S"],
        title: str,
        colours: str,
        limits: tuple[float | None, float | None] = (None, None),
    ) -> None:
        axis.imshow(self.image, cmap="gray", vmin=0, vmax=1)
        drawn = axis.imshow(map_ss, cmap=colours, vmin=limits[0], vmax=limits[1], alpha=0.5)
        axis.set_title(title, fontsize=10)
        figure.colorbar(drawn, ax=axis, shrink=0.8)

    def _draw_curves(self, axis: Axes, kind: str, title: str) -> None:
        axis.set_axis_on()
        share_t = np.linspace(0, 1, saliency.SHARES)
        random_mt = getattr(self.random_curves, kind)
        axis.plot(share_t, random_mt.T, color="lightgrey", linewidth=0.8)
        axis.plot([], [], color="lightgrey", label="random maps")
        axis.plot(share_t, getattr(self.body_curves, kind), color="tab:purple", label="the body's map")
        axis.plot(share_t, getattr(self.occlusion_curves, kind), color="tab:orange", label="occlusion")
        axis.set(xlim=(0, 1), ylim=(0, 1), xlabel=title, ylabel=f"p({self.label})")
        axis.set_title(kind, fontsize=10)
        axis.legend(fontsize=8)


_CURVES = [(name, kind) for name in ("body", "occlusion", "random") for kind in ("deletion", "insertion")]


def explain_each(
    predictor: ChestPredictor,
    xs: Iterable[Source],
    reading: Reading,
    out: Path,
    skipped: Callable[[NotAnImageError], None],
) -> Iterator[dict[str, object]]:
    """Explain each image and write it to `out`: a row with `id`, `label`, `unfaithful`, `flags`, three files, `error`.

    `out` is a .png file for one image, else a folder; what is written there has the name of the image's file, and a
    number where several have the same. What holds no image goes to `skipped`. Raises UsageError for a .png file and a
    second image.
    """
    alone = out.suffix.lower() == ".png"
    if not alone:
        claim(out)
    names: Counter[str] = Counter()
    for found in chain.from_iterable(map(reading.frames_or_error, xs)):
        if isinstance(found, NotAnImageError):
            skipped(found)
            continue
        row: dict[str, object] = {"id": source_id(found), "label": None, "unfaithful": None, "flags": ""}
        row |= {"picture": None, "arrays": None, "numbers": None, "error": None}
        if isinstance(found, AttnError):
            yield row | {"error": str(found)}
            continue
        name = Path(found.id).name.encode("utf-8", "backslashreplace").decode()
        names[name] += 1
        if alone and names.total() > 1:
            raise UsageError("is one file for several images", where=out, hint="give a folder as --out")
        explanation = explain(predictor, found)
        number = f".{names[name]}" if names[name] > 1 else ""
        files = explanation.save(out if alone else out / f"{name}{number}.png")
        row |= {"label": explanation.label, "unfaithful": explanation.numbers()["unfaithful"]}
        row |= {"flags": ";".join(explanation.prediction.flags)}
        yield row | dict(zip(("picture", "arrays", "numbers"), map(str, files), strict=True))


def explain(predictor: ChestPredictor, radiograph: Radiograph) -> Explanation:
    """Classify one radiograph and map what the answer rests on."""
    x_11ss = predictor.tensor([radiograph])
    p_k = predictor.probabilities(predictor.log_probabilities(x_11ss))[0]
    label = int(p_k.argmax())

    def answer(x_b1ss: Tensor) -> Tensor:
        return predictor.probabilities(predictor.log_probabilities(x_b1ss))[:, label]

    blank_1ss = saliency.blurred(x_11ss)[0]
    gates = gate_maps(predictor.model, x_11ss)
    body_ss = mean_map(gates)
    occlusion_ss = saliency.occlusion_map(answer, x_11ss, blank_1ss)
    other_ss = mean_map(gate_maps(saliency.shuffled(predictor.model), x_11ss))
    return Explanation(
        prediction=next(iter(predictor.predict_many([radiograph]))),
        label=predictor.labels[label],
        image=x_11ss[0, 0].cpu().numpy(),
        gates=[gate.cpu().numpy() for gate in gates],
        body=body_ss.cpu().numpy(),
        shuffled=other_ss.cpu().numpy(),
        occlusion=occlusion_ss.cpu().numpy(),
        body_curves=saliency.deletion_insertion(answer, x_11ss, blank_1ss, body_ss),
        occlusion_curves=saliency.deletion_insertion(answer, x_11ss, blank_1ss, occlusion_ss),
        random_curves=saliency.random_curves(answer, x_11ss, blank_1ss),
    )


def gate_maps(model: Medusa, x_11ss: Float[Tensor, "1 1 S S"]) -> list[Float[Tensor, "S S"]]:
    """The factors of each scale, a mean over channels, resized to the image."""
    names = tuple(f"gates.{index}" for index in range(len(model.gates)))
    with record(model, (), outputs=names) as seen, torch.inference_mode():
        model(x_11ss)
    side = x_11ss.shape[-1]
    return [
        F.interpolate(
            seen.outputs[name].float().mean(1, keepdim=True), (side, side), mode="bilinear", align_corners=False
        )[0, 0]
        for name in names
    ]


def mean_map(maps: list[Float[Tensor, "S S"]]) -> Float[Tensor, "S S"]:
    """The mean of maps that each go from 0 to 1; an even map counts as 0. What is not finite counts as even."""
    scaled = []
    for map_ss in maps:
        finite_ss = map_ss.nan_to_num(0.0, 0.0, 0.0)
        spread = finite_ss.max() - finite_ss.min()
        scaled.append((finite_ss - finite_ss.min()) / spread.clamp(min=torch.finfo(spread.dtype).tiny))
    return torch.stack(scaled).mean(0)


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
