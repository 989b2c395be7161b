"""The picture of an explanation: two photographs, their strongest pairs of patches joined by lines, both rollouts."""

from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, Rectangle

from attn.core.files import MADE_BY, replacing

if TYPE_CHECKING:
    from attn.apps.reid.explain import Explanation


def draw(explanation: "Explanation", path: Path) -> None:
    """Write a PNG. A line is wider where a pair adds more; the rollouts share a scale, on which 1 is an even share."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    above, below = figure.subplots(2, 2)
    rows, columns = explanation.grid
    for axis, id, picture in zip(above, explanation.ids, explanation.pictures, strict=True):
        _show(axis, picture, PurePath(id).name)
    most = max(float(explanation.pairs[explanation.strongest[0]]), 1e-12)
    colours = colormaps["tab10"]
    for rank, (n, m) in reversed([*enumerate(explanation.strongest)]):
        centres = []
        for axis, picture, patch in zip(above, explanation.pictures, (n, m), strict=True):
            height, width = picture.shape[0] / rows, picture.shape[1] / columns
            line, column = divmod(patch, columns)
            corner = (column * width - 0.5, line * height - 0.5)
            axis.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=colours(rank % 10), linewidth=2))
            centres.append((corner[0] + width / 2, corner[1] + height / 2))
        wide = 0.8 + 2.2 * max(float(explanation.pairs[n, m]) / most, 0)
        (here, there), colour = centres, colours(rank % 10)
        joined = ConnectionPatch(
            here, there, "data", "data", axesA=above[0], axesB=above[1], color=colour, linewidth=wide
        )
        figure.add_artist(joined)
    shares = [rollout_n / rollout_n.mean() for rollout_n in explanation.rollouts]
    brightest = max(float(share_n.max()) for share_n in shares)
    for axis, picture, share_n in zip(below, explanation.pictures, shares, strict=True):
        _show(axis, picture, "rollout: how much of each patch reaches the answer")
        extent = (-0.5, picture.shape[1] - 0.5, picture.shape[0] - 0.5, -0.5)
        image = axis.imshow(
            share_n.reshape(rows, columns), cmap="inferno", alpha=0.55, extent=extent, vmin=0, vmax=brightest
        )
    figure.colorbar(image, ax=[*below], shrink=0.8, label="1: as much as the mean patch")
    numbers = explanation.numbers()
    likely = "" if numbers["probability"] is None else f", p = {numbers['probability']:.2f} at a prior of 0.5"
    said = f"cosine {explanation.similarity:.3f}{likely}; the lines add {numbers['together']:+.3f} to it"
    figure.suptitle(f"{explanation.model.replace('$', '')}: {said}")
    with replacing(path) as part:
        figure.savefig(part, dpi=100, format="png", metadata={"Software": MADE_BY})


def _show(axis: Axes, picture: np.ndarray, title: str) -> None:
    axis.imshow(picture)
    axis.set(xticks=[], yticks=[])
    axis.set_title(title.encode("utf-8", "backslashreplace").decode()[-50:].replace("$", r"\$"), fontsize=9)
