"""The picture of an explanation: the image, the body's gates, three maps with their verdicts, the shuffled map, curves.

Shapes: S model side, M random maps, T shares of the image.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from attn.core.files import MADE_BY, replacing
from attn.core.measures.saliency import SHARES

if TYPE_CHECKING:
    from attn.apps.chest.explain import Explanation

NAMES = {"body": "body's map, mean of scales", "gradient": "gate × gradient", "occlusion": "occlusion"}
COLOURS = {"body": "tab:purple", "gradient": "tab:green", "occlusion": "tab:orange"}
FOOT = "research use, not a medical device"
UNFAITHFUL = "unfaithful"
TITLE, SMALL = 10, 8


def draw(explanation: "Explanation", path: Path) -> None:
    """Write a PNG: above, the image, the gate of each scale, the scores of all maps; below, the maps and their curves.

    A map that does not beat random ones says `unfaithful` in red.
    """
    columns = max(6, 2 + len(explanation.gates))
    figure = Figure(figsize=(2.55 * columns, 6.4), layout=ConstrainedLayoutEngine(wspace=0.06, hspace=0.06))
    axes = figure.subplots(2, columns)
    for axis in axes.flat:
        axis.set_axis_off()
    prediction, label = explanation.prediction, explanation.label
    side = explanation.image.shape[0]
    _image(axes[0, 0], explanation.image, f"{label}, p = {prediction.probabilities[label]:.2f}", f"{side} × {side} px")
    for scale, (axis, gate_ss) in enumerate(zip(axes[0, 1:], explanation.gates, strict=False), 1):
        _image(axis, explanation.image, f"body's gate, scale {scale}", f"{gate_ss.min():.3f} to {gate_ss.max():.3f}")
        axis.imshow(gate_ss, cmap="viridis", alpha=0.5)
    _scores(axes[0, -1], explanation)
    numbers = explanation.numbers()
    for axis, (name, map_ss) in zip(axes[1], explanation.maps.items(), strict=False):
        outside = numbers[name]["outside_centre"]
        share = "even" if outside is None else f"{outside:.0%} lies outside the central 80 %"
        _image(axis, explanation.image, NAMES[name], share)
        if name == "body":
            axis.imshow(map_ss, cmap="viridis", alpha=0.5)
        else:
            reach = max(float(np.abs(map_ss).max()), 1e-6)
            axis.imshow(map_ss, cmap="RdBu_r", vmin=-reach, vmax=reach, alpha=0.5)
        _verdict(axis, numbers[name]["better_than"], numbers["random_maps"], name in explanation.unfaithful)
    same = numbers["same_when_shuffled"]
    _image(axes[1, 3], explanation.image, "body's map, weights shuffled", f"rank correlation {same or 0:.2f}")
    axes[1, 3].imshow(explanation.shuffled, cmap="viridis", alpha=0.5)
    _curves(axes[1, 4], explanation, "deletion", "share taken away, highest first")
    _curves(axes[1, 5], explanation, "insertion", "share given, highest first")
    shares = ", ".join(f"{name} {p:.2f}" for name, p in prediction.probabilities.items())
    flags = f"; flags: {', '.join(prediction.flags)}" if prediction.flags else ""
    figure.suptitle(f"{prediction.model}: {shares}{flags}", fontsize=TITLE + 1)
    figure.supxlabel(f"red speaks for {label}, blue against it; {FOOT}", fontsize=TITLE)
    with replacing(path) as part:
        figure.savefig(part, dpi=110, format="png", metadata={"Software": MADE_BY})


def _image(axis: Axes, image_ss: Float[np.ndarray, "S S"], title: str, small: str) -> None:
    axis.imshow(image_ss, cmap="gray", vmin=0, vmax=1)
    axis.set_title(f"{title}\n", fontsize=TITLE)
    axis.text(0.5, 1.03, small, transform=axis.transAxes, ha="center", fontsize=SMALL, color="dimgrey")


def _verdict(axis: Axes, better: int, random: int, unfaithful: bool) -> None:
    words = f"better than {better} of {random} random maps"
    if unfaithful:
        box = {"color": "tab:red"}
        axis.text(
            *(0.5, 0.04), UNFAITHFUL, transform=axis.transAxes, ha="center", weight="bold", color="white", bbox=box
        )
    axis.text(0.5, -0.08, words, transform=axis.transAxes, ha="center", fontsize=SMALL)


def _scores(axis: Axes, explanation: "Explanation") -> None:
    """Insertion less deletion of each map, over those of the random maps."""
    axis.set_axis_on()
    axis.hist(explanation.curves["random"].score, bins=12, color="lightgrey", label="random maps")
    for name in explanation.maps:
        score, label = float(explanation.curves[name].score), NAMES[name].partition(",")[0]
        axis.axvline(score, ymax=0.65, color=COLOURS[name], label=label)  # the legend is above it
    axis.set(xlabel="insertion − deletion", yticks=[])
    axis.locator_params(axis="x", nbins=4)
    axis.set_title("score of each map\n", fontsize=TITLE)
    axis.legend(fontsize=SMALL - 1, loc="upper left")
    axis.set_ylim(0, 2.2 * axis.get_ylim()[1])


def _curves(axis: Axes, explanation: "Explanation", kind: str, words: str) -> None:
    axis.set_axis_on()
    random_mt = getattr(explanation.curves["random"], kind)
    axis.plot(SHARES, random_mt.T, color="lightgrey", linewidth=0.6)
    for name in explanation.maps:
        axis.plot(SHARES, getattr(explanation.curves[name], kind), color=COLOURS[name])
    axis.set(xlim=(0, 1), ylim=(0, 1), xlabel=words, ylabel=f"p({explanation.label})")
    axis.set_title(f"{kind}\n", fontsize=TITLE)
