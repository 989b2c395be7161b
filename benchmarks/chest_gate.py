"""What the gate refuses: frontal chests of a hospital that it has not seen, and images that are none.

    uv run python benchmarks/chest_gate.py --model runs/chest             # measures
    uv run python benchmarks/chest_gate.py --model runs/chest --write     # gives the model a gate made of all hospitals

For each hospital in turn, the gate is fitted to the training patients of the others and to four fifths of the laterals
and CT slices in `chest/gate`, and asked about images that it has not seen. Two numbers decide: at most 2 % of a
hospital's frontal chests have a flag, and at least 95 % of the hard negatives. Galaxies, cars and animals are reported.
"""

import argparse
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from chest_data import chest, data_folder
from rows import keep

from attn.apps.chest.data import PixelDataset
from attn.apps.chest.gate import GATE, seen_in
from attn.apps.chest.gate_fit import WholePictures, fit_gate, map_features, read_others
from attn.apps.chest.negatives import Picture, form, spoiled
from attn.apps.chest.predict import load_model
from attn.apps.chest.preprocess import Preprocessing
from attn.apps.chest.read import Reading
from attn.apps.chest.split import grouped_split
from attn.core.models import folder as model_folder
from attn.core.models.record import CARD, WEIGHTS

MEASURED = 400  # images of a hospital, and a quarter as many of each kind that is made of them
ELSEWHERE = {"galaxies": "galaxy/efigi", "cars": "reid/cars", "animals": "reid/nyala"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("runs/chest"))
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    model, record, folder = load_model(options.model)
    side = model.config.image_size
    source = chest(folder.parent)
    split = grouped_split(source.labels, source.groups)
    place_n = np.array([str(cell) for cell in source.column("source")])
    pixels = WholePictures(PixelDataset(source, range(len(source)), torch.from_numpy(source.targets), side), side)

    class Rows:
        def __init__(self, rows: Iterable[int]) -> None:
            self.rows = [*rows]

        def __len__(self) -> int:
            return len(self.rows)

        def __getitem__(self, number: int) -> Picture:
            return pixels[self.rows[number]]

    others = read_others(data_folder() / "gate", Preprocessing(side=side))
    if options.write:
        gate = fit_gate(model.eval(), Rows(split.train), [*place_n[split.train]], others, seed=options.seed)
        state = model_folder.load_state(folder, record)
        further = {name: (folder / name).read_bytes() for name in {*record.files} - {WEIGHTS, CARD, GATE}}
        files = {name: (lambda path, data=data: path.write_bytes(data)) for name, data in further.items()}
        model_folder.save(folder, state, record, files | {GATE: gate.save})
        return
    draw = np.random.default_rng(options.seed)
    shuffled = {kind: [given[row] for row in draw.permutation(len(given))] for kind, given in others.items()}
    kept = {kind: given[: len(given) // 5] for kind, given in shuffled.items()}
    given = {kind: all_[len(kept[kind]) :] for kind, all_ in shuffled.items()}
    far = {name: [*elsewhere(path, side, draw)] for name, path in ELSEWHERE.items()}
    total = np.zeros(2)
    for hospital in sorted({*place_n}):
        rows = [row for row in split.train if place_n[row] != hospital]
        gate = fit_gate(model.eval(), Rows(rows), [*place_n[rows]], given, seed=options.seed)
        held = draw.permutation(np.flatnonzero(place_n == hospital))[:MEASURED].tolist()
        made: dict[str, list[Picture]] = {}
        for kind, one in chain.from_iterable(spoiled(pixels[row], draw) for row in held[: MEASURED // 4]):
            made.setdefault("cropped" if kind == "other" else kind, []).append(one)
        made |= {"laterals": kept["lateral"], "CT": kept["other"], "forms": [form(side, draw) for _ in range(25)]}

        def flagged(pictures: Iterable[Picture], gate=gate) -> np.ndarray:
            raw_ng = gate.raw(torch.from_numpy(map_features(model, pictures))) - gate.thresholds
            return np.array([seen_in(scores) is not None for scores in raw_ng.tolist()])

        hard = {kind: flagged(pictures) for kind, pictures in made.items()}
        total += [sum(map(sum, hard.values())), sum(map(len, hard.values()))]
        row = {"hospital not seen": hospital, "frontal flagged": flagged(pixels[row] for row in held).mean().item()}
        row |= {"hard negatives flagged": np.concatenate([*hard.values()]).mean().item()}
        row |= {kind: found.mean().item() for kind, found in hard.items()}
        keep("chest_gate", row | {name: flagged(pictures).mean().item() for name, pictures in far.items()})
    print(f"hard negatives flagged, all hospitals: {total[0] / total[1]:.3f}")


def elsewhere(path: str, side: int, draw: np.random.Generator) -> Iterable[Picture]:
    """100 pictures of another field."""
    files = sorted((data_folder().parent / path).rglob("*.jpg"))
    for number in draw.permutation(len(files))[:100]:
        yield Preprocessing(side=side).pixels(Reading().one(files[number]))


if __name__ == "__main__":
    main()
