"""How often each map of `attn chest explain` says more about the answer than random maps do.

    uv run python benchmarks/chest_explain.py --model runs/chest --images 42

Images are those that validated the model, evenly from the classes. A map that says nothing beats random maps once in
twenty times. Two controls: a bump in the middle of the image, and the body's map of a model with shuffled weights.
The last columns are means over images: the share of random maps that the map beats, and the areas under its curves.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from chest_data import chest
from rows import keep
from torch import Tensor

from attn.apps.chest.explain import explain
from attn.apps.chest.predict import ChestPredictor
from attn.apps.chest.split import grouped_split
from attn.core.measures import saliency
from attn.data_adapters.dicom.labelled import LabelledStudies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="runs/chest")
    parser.add_argument("--images", type=int, default=42)
    parser.add_argument("--work", type=Path, default=Path("runs"), help="folder for the table of the images")
    options = parser.parse_args()
    predictor = ChestPredictor.load(options.model)
    studies = chest(options.work)
    found: dict[str, list[tuple[bool, float, float, float]]] = {}
    for row in evenly(studies, options.images):
        for name, numbers in measured(predictor, studies, row).items():
            found.setdefault(name, []).append(numbers)
    for name, of_images in found.items():
        beats, share, deletion, insertion = np.mean(of_images, axis=0).round(3).tolist()
        keep(
            "chest_explain",
            {"map": name, "images": len(of_images), "beats random": beats, "share beaten": share}
            | {"deletion": deletion, "insertion": insertion, "model": predictor.record.name},
        )


def evenly(studies: LabelledStudies, count: int) -> list[int]:
    """Rows of the validation, as many of each class."""
    rows = np.random.default_rng(0).permutation(grouped_split(studies.labels, studies.groups).validation)
    each = count // len(studies.classes)
    return [row for name in studies.classes for row in [int(r) for r in rows if studies.labels[r] == name][:each]]


def measured(
    predictor: ChestPredictor, studies: LabelledStudies, row: int
) -> dict[str, tuple[bool, float, float, float]]:
    """By map: whether it beats random ones, the share that it beats, areas under deletion and insertion."""
    radiograph = studies.read(row)
    explanation = explain(predictor, radiograph)
    x_11ss = predictor.tensor([radiograph])
    label, blank_1ss = predictor.labels.index(explanation.label), saliency.blurred(x_11ss)[0]

    def answer(x_b1ss: Tensor) -> Tensor:
        return predictor.probabilities(predictor.log_probabilities(x_b1ss))[:, label]

    curves = dict(explanation.curves)
    random = curves.pop("random")
    controls = {"shuffled": torch.from_numpy(explanation.shuffled), "centre": bump(x_11ss.shape[-1])}
    for name, map_ss in controls.items():
        curves[name] = saliency.deletion_insertion(answer, x_11ss, blank_1ss, map_ss)
    return {name: (each.beats(random), *shares(each.score, random.score, each.areas)) for name, each in curves.items()}


def shares(score: np.ndarray, random: np.ndarray, areas: Sequence[np.ndarray]) -> tuple[float, float, float]:
    return float((score > random).mean()), float(areas[0]), float(areas[1])


def bump(side: int) -> Tensor:
    """A Gaussian in the middle, with a deviation of a quarter of the side."""
    offset_s = torch.linspace(-2, 2, side)
    return torch.exp(-(offset_s[:, None] ** 2 + offset_s**2) / 2)


if __name__ == "__main__":
    main()
