"""The picture of a training: loss and the monitored value by epoch."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from attn.core.files import replacing
from attn.core.training.journal import Row

COLOURS = {"training": "tab:blue", "validation": "tab:orange"}


def draw_curves(history: Sequence[Row], monitor: str, best_epoch: int, path: Path) -> None:
    """Write the curves of `history` (one dict per epoch) to `path`; the best epoch is marked.

    Epochs count from 1 here, as people count them; in `history` and the table they count from 0.
    """
    losses: list[str] = [name for name in ("train_loss", "val_loss") if name in history[-1]]
    panels = [losses] if monitor in losses else [losses, [monitor]]
    figure = Figure(figsize=(6.4 * len(panels), 4.2), layout="constrained")
    for place, names in enumerate(panels, start=1):
        axes = figure.add_subplot(1, len(panels), place)
        for name in names:
            points = [(row["epoch"] + 1, row[name]) for row in history if name in row]
            part = "training" if name.startswith("train_") else "validation"
            axes.plot(*zip(*points, strict=True), marker="o", markersize=3, color=COLOURS[part], label=part)
        best = f"best: epoch {best_epoch + 1}"
        axes.axvline(best_epoch + 1, color="0.6", linestyle="--", linewidth=1, label=best)
        axes.set_xlabel("epoch")
        axes.set_ylabel(names[0].removeprefix("train_").removeprefix("val_").replace("_", " "))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
    with replacing(path) as picture:
        figure.savefig(picture, dpi=150)
