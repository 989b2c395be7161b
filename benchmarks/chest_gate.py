"""What the gate refuses: frontal chests of a hospital that it has not seen, and images that are none.

    uv run python benchmarks/chest_gate.py --model runs/chest             # measures
    uv run python benchmarks/chest_gate.py --model runs/chest --write     # gives the model a gate made of all hospitals

For each hospital in turn, the gate is fitted to the training patients of the others and to four fifths of the laterals
and CT slices in `chest/gate`, and asked about images that it has not seen. Two numbers decide: at most 2 % of a
hospital's frontal chests have a flag, and at least 95 % of the hard negatives. Galaxies, cars and animals are reported.
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from chest_data import chest, data_folder, further_files
from rows import keep

from attn.apps.chest.data import MARGIN, PixelDataset
from attn.apps.chest.gate import GATE, Gate, seen_in
from attn.apps.chest.gate_fit import WholePictures, fit_gate, read_others
from attn.apps.chest.model import Medusa
from attn.apps.chest.negatives import SPOILED, Picture, form
from attn.apps.chest.predict import load_model
from attn.apps.chest.preprocess import Preprocessing
from attn.apps.chest.read import Reading
from attn.apps.chest.split import grouped_split
from attn.core.models import folder as model_folder

FIFTHS = 5
MEASURED = 400  # images of a hospital, and a quarter as many of each kind that is made of them
ELSEWHERE = {"galaxies": "galaxy/efigi", "cars": "reid/cars", "animals": "reid/nyala"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("runs/chest"))
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    model, record, folder = load_model(options.model)
    model.eval()
    side = model.config.image_size
    source = chest(folder.parent)
    split = grouped_split(source.labels, source.groups)
    place_n = np.array([str(cell) for cell in source.column("source")])
    working = round(MARGIN * side)  # as a training keeps them
    pixels = WholePictures(PixelDataset(source, range(len(source)), torch.from_numpy(source.targets), working), side)

    class Rows:
        def __init__(self, rows: Iterable[int]) -> None:
            self.rows = [*rows]

        def __len__(self) -> int:
            return len(self.rows)

        def __getitem__(self, number: int) -> Picture:
            return pixels[self.rows[number]]

    others = read_others(data_folder() / "gate", Preprocessing(side=side))
    if options.write:
        gate = fit_gate(model, Rows(split.train), [*place_n[split.train]], others, seed=options.seed)
        state = model_folder.load_state(folder, record)
        model_folder.save(folder, state, record, further_files(folder, record, but=GATE) | {GATE: gate.save})
        return
    draw = np.random.default_rng(options.seed)
    shuffled = {kind: [given[row] for row in draw.permutation(len(given))] for kind, given in others.items()}
    far = {name: [*elsewhere(path, side, draw)] for name, path in ELSEWHERE.items()}
    torch.manual_seed(options.seed)
    total = np.zeros(2)
    for number, hospital in enumerate(sorted({*place_n})):
        # Each hospital has a fifth of its own: all but the last fifth are measured, by a gate that has not seen them.
        kept = {kind: all_[number::FIFTHS] for kind, all_ in shuffled.items()}
        given = {
            kind: [one for row, one in enumerate(all_) if row % FIFTHS != number] for kind, all_ in shuffled.items()
        }
        rows = [row for row in split.train if place_n[row] != hospital]
        gate = fit_gate(model, Rows(rows), [*place_n[rows]], given, seed=options.seed)
        held = np.stack([pixels[row] for row in draw.permutation(np.flatnonzero(place_n == hospital))[:MEASURED]])
        some = torch.from_numpy(held[: MEASURED // 4])[:, None]
        made = {kind: make(some)[:, 0].numpy() for kind, make in SPOILED.items()}
        made |= {"laterals": kept["lateral"], "CT": kept["other"], "forms": [form(side, draw) for _ in range(25)]}

        def flagged(pictures: Sequence[Picture], gate=gate) -> np.ndarray:
            return np.array([seen_in(scores) is not None for scores in scores_of(model, gate, pictures)])

        hard = {kind: flagged(pictures) for kind, pictures in made.items()}
        total += [sum(map(sum, hard.values())), sum(map(len, hard.values()))]
        row = {"hospital not seen": hospital, "frontal flagged": flagged(held).mean().item()}
        row |= {"hard negatives flagged": np.concatenate([*hard.values()]).mean().item()}
        row |= {kind: found.mean().item() for kind, found in hard.items()}
        keep("chest_gate", row | {name: flagged(pictures).mean().item() for name, pictures in far.items()})
    print(f"hard negatives flagged, all hospitals: {total[0] / total[1]:.3f}")


def scores_of(model: Medusa, gate: Gate, pictures: Sequence[Picture]) -> list[list[float]]:
    """The gate's scores of each picture."""
    with torch.inference_mode():
        batches = torch.from_numpy(np.stack(pictures))[:, None].split(64)
        return torch.cat([gate(model.features(x_b1ss), x_b1ss) for x_b1ss in batches]).tolist()


def elsewhere(path: str, side: int, draw: np.random.Generator) -> Iterable[Picture]:
    """100 pictures of another field."""
    files = sorted((data_folder().parent / path).rglob("*.jpg"))
    for number in draw.permutation(len(files))[:100]:
        yield Preprocessing(side=side).pixels(Reading().one(files[number]))


if __name__ == "__main__":
    main()
