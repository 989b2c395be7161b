"""A tiny labelled set of galaxies, and the smallest Astroformer."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from attn.apps.galaxy.model import AstroformerConfig

PER_CLASS, SIDE = 12, 40
SHAPES = {"disc": (11, 4, 3.0), "round": (6, 6, 0.0), "ring": (9, 9, 0.5)}  # half axes in pixels, T type


def galaxy(kind: str, number: int, side: int = SIDE) -> np.ndarray:
    """A noisy picture of an ellipse or a ring on a dark sky, (side, side, 3) uint8."""
    draw = np.random.default_rng([list(SHAPES).index(kind), number])
    major, minor, _ = SHAPES[kind]
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    turn = draw.uniform(0, np.pi)
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    radius = np.hypot(along / major, across / minor)
    light = np.exp(-((radius - 0.8) ** 2) / 0.05) if kind == "ring" else np.exp(-(radius**2))
    tint = draw.uniform(0.7, 1, 3)
    picture = 20 + 180 * light[..., None] * tint + draw.normal(0, 3, (side, side, 3))
    return picture.clip(0, 255).astype(np.uint8)


def write_set(folder: Path, per_class: int = PER_CLASS, first: int = 0) -> Path:
    """`labels.csv` with the columns path, kind, T and attributes, and its pictures; the path of the table.

    The pictures of a kind are numbered from `first`: another number makes other pictures.
    """
    folder.mkdir(parents=True)
    rows = []
    for kind, (_, _, stage) in SHAPES.items():
        for number in range(per_class):
            name = f"{kind}_{number}.png"
            Image.fromarray(galaxy(kind, first + number)).save(folder / name)
            bar = -1 if number == 0 else number % 3 / 2
            rows.append([name, kind, f"T{round(stage) - number % 2:+d}", f"Bar={bar};Incl={number % 5}"])
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "kind", "T", "attributes"], *rows])
    return folder / "labels.csv"


def micro_config(**changes: object) -> AstroformerConfig:
    """The smallest Astroformer with four stages."""
    return AstroformerConfig(
        stem=8, widths=(8, 16, 32, 32), depths=(1, 1, 1, 1), head=16, strides=(2, 2, 2, 1), image_size=32
    ).model_copy(update=changes)
