"""DCAL in its DeiT-Tiny form on one data-centre GPU: tables (a) and (b) of `reid_tables.py`, under ten minutes.

    uv run python benchmarks/reid_gpu.py --start deit_tiny_patch16_224.safetensors --out runs/reid_gpu

The start is timm's file of weights; without one the networks begin with random weights, and the table says so.
`--pictures 128 --epochs 1` is two steps a row, which a CPU does too.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from reid_data import Pictures, pictures
from reid_networks import HYBRIDS
from reid_tables import SETS, embedded, estimates, train
from rows import RESULTS, keep

from attn.apps.reid.model import DCAL
from attn.apps.reid.split import Split
from attn.apps.reid.start import begin
from attn.apps.reid.train import Recipe
from attn.apps.reid.variants import variant
from attn.core.models.device import default_device
from attn.core.training.seeding import seed_generators

SIZES = {"a": (288, 288), "b": (224, 224)}
EPOCHS = {"a": 40, "b": 15}
RECIPES = {"a": Recipe(mirror="another"), "b": Recipe(mirror="same")}


def run_row(table: str, changes: dict[str, Any], shown: Pictures, options: Any) -> dict[str, Any]:
    recipe = RECIPES[table]
    classes = shown.classes * (2 if recipe.mirror == "another" else 1)
    seed_generators(0)
    model = DCAL(variant("deit_tiny", image_size=SIZES[table], classes=classes, **changes))
    started = begin(model, options.start)
    began = time.monotonic()
    epochs = options.epochs or EPOCHS[table]
    facts = train(model, started, shown, recipe, epochs, 0, options.out / "run", precision=options.precision)
    seconds = time.monotonic() - began
    measured = shown.measured(embedded(model.to(default_device()), shown), shown.test)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    own = {"start": Path(options.start).name if options.start else "random weights", "device": device}
    return {**estimates(measured, shown), **facts, **own, "minutes": round(seconds / 60, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--start", help="DeiT-Tiny's weights of timm, a safetensors file of 224 px")
    parser.add_argument("--out", type=Path, default=Path("runs/reid_gpu"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--epochs", type=int, help="of every row, in place of the table's own")
    parser.add_argument("--pictures", type=int, help="of each part, in place of all")
    parser.add_argument("--precision", default="bf16-mixed" if torch.cuda.is_available() else "32-true")
    options = parser.parse_args()
    for table in SETS:
        shown = pictures(SETS[table], SIZES[table], options.out / "pixels")
        if options.pictures:
            some = slice(options.pictures)
            split = Split(shown.split.train[some], shown.split.validation[some])
            shown = replace(shown, split=split, test=shown.test[some])
        for name, changes in HYBRIDS.items():
            row = {"row": f"{table}, {name.replace('hybrid', 'DeiT-Tiny')}"}
            keep("reid_gpu", row | run_row(table, changes, shown, options), options.results)


if __name__ == "__main__":
    main()
