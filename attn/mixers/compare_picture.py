"""The picture of a comparison: the validation losses of all trainings over time, and what they came to."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib import colormaps
from matplotlib.figure import Figure

from attn.core.files import replacing
from attn.mixers.compare import Trained


def draw(found: Sequence[Trained], measure: str, path: Path) -> None:
    """One colour for each mechanism, one line and one dot for each seed."""
    found = [each for each in found if each.error is None]
    names = list(dict.fromkeys(each.mixer for each in found))
    figure = Figure(figsize=(11, max(3.6, 1.5 + 0.3 * len(names))), layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, name in enumerate(names):
        colour = colormaps["tab20"](number % 20)
        own = [each for each in found if each.mixer == name]
        for each in own:
            left.plot(*zip(*each.curve, strict=True), color=colour, marker="o", ms=3, lw=1)
        right.plot([each.value for each in own], [number] * len(own), "o", color=colour)
    left.set(xlabel="minutes of training", ylabel="validation loss")
    right.set(xlabel=measure, yticks=range(len(names)), yticklabels=names)
    right.invert_yaxis()
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    with replacing(path) as part:
        figure.savefig(part, dpi=120)
