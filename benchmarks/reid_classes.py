"""Classes instead of individuals: how often DCAL names the model of a car, on pictures that it has not seen.

    uv run python benchmarks/reid_classes.py

The classes are the models that table b of `reid_tables.py` trains on, the first half; the split of the set says which
pictures are held out. The recipe is that of `attn reid train --task classify`, at the size of table b.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from reid_data import COLUMNS, DATA
from reid_tables import EPOCHS, RECIPES, SIZES, rounded
from rows import RESULTS, keep

from attn.apps.reid.predict import ReIDPredictor
from attn.apps.reid.train import train
from attn.apps.reid.variants import variant
from attn.core.measures.bootstrap import bootstrap
from attn.core.training.config import FitConfig
from attn.data_adapters.images.identities import open_individuals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/reid_classes"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--epochs", type=int, default=EPOCHS["b"] + 1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    began = time.process_time()
    found = open_individuals(DATA / "cars" / "labels.csv", **COLUMNS["cars"])
    classes = found.individuals[: len(found.individuals) // 2]
    found = found.take([row for row, name in enumerate(found.identities) if name in set(classes)])
    config = variant("hybrid", image_size=SIZES["b"], task="classify")
    record = train(found, options.out, config, RECIPES["b"], FitConfig(epochs=options.epochs, seed=0))
    minutes = (time.process_time() - began) / 60
    test = found.select("test")
    predictor = ReIDPredictor.load(options.out, "cpu")
    answers = predictor.predict_many(test.photograph(row) for row in range(len(test)))
    p_nk = np.array([[answer.probabilities[name] for name in classes] for answer in answers])
    right_n = p_nk.argmax(1) == [classes.index(name) for name in test.identities]
    nearest_n5 = np.argsort(-p_nk, axis=1)[:, :5]
    five_n = (nearest_n5 == np.array([[classes.index(name)] for name in test.identities])).any(axis=1)
    value_n2 = np.stack([right_n, five_n], axis=1).astype(float)
    estimates = bootstrap(
        lambda w_rn: dict(zip(("accuracy", "top5"), (w_rn @ value_n2 / w_rn.sum(1, keepdims=True)).T, strict=True)),
        np.arange(len(test)),
    )
    row = {"row": "hybrid, DCAL (both)", "classes": len(classes), "trained_on": record.data["trained_on"]}
    row |= {"held_out": len(test), **{name: rounded(each) for name, each in estimates.items()}}
    keep("reid_classes", row | {"epochs": options.epochs, "cpu_minutes": round(minutes, 1)}, options.results)


if __name__ == "__main__":
    main()
