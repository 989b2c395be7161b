"""The picture of what mechanisms cost: time, memory and products over tokens, plain attention in black."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.figure import Figure

from attn.core.files import replacing
from attn.mixers.bench import PLAIN

PANELS = {
    "forward_ms": "a pass, ms",
    "step_ms": "a pass and its gradients, ms",
    "memory_mib": "memory, MiB",
    "products_m": "products, million",
}


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """One line for each mechanism, in a row of panels for each number of dimensions."""
    every = sorted({row["dims"] for row in rows})
    figure = Figure(figsize=(4.2 * len(PANELS), 3.8 * len(every)), layout="constrained")
    grid = figure.subplots(len(every), len(PANELS), squeeze=False)
    for line, dims in zip(grid, every, strict=True):
        names = sorted({row["name"] for row in rows if row["dims"] == dims})
        for axes, (column, label) in zip(line, PANELS.items(), strict=True):
            for number, name in enumerate(names):
                points = [(row["tokens"], row[column]) for row in rows if row["name"] == name and row["dims"] == dims]
                plain = name == PLAIN
                colour = "black" if plain else colormaps["tab20"](number % 20)
                axes.plot(*zip(*points, strict=True), marker="o", ms=3, lw=2 if plain else 1, color=colour, label=name)
            axes.set(xscale="log", yscale="log", xlabel=f"tokens, {dims}-D", ylabel=label)
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(alpha=0.25)
        line[-1].legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    with replacing(path) as part:
        figure.savefig(part, dpi=120)
