"""Train the chest model that ships: normal, pneumonia and covid, from all four sources.

    uv run python benchmarks/chest_train.py --out runs/chest --epochs 8
    uv run python benchmarks/chest_train.py --out runs/chest --ship

The first trains from the ImageNet start; if it was stopped, it continues. The second measures the trained model on the
held-out patients in the half precision it ships in, pooled and per source, and copies it with these numbers and its
limits and its gate to `attn/apps/chest/weights`. Before it, `benchmarks/chest_gate.py --write` fits the gate.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from chest_data import CLASSES, COHEN, KERMANY, chest, further_files
from chest_tables import Pictures, estimates, measured, one_hospital, shipped

from attn.apps.chest.start import BUNDLED_MODEL, architecture
from attn.apps.chest.train import LIMITS, Recipe, train
from attn.core.models import folder as model_folder
from attn.core.training.config import FitConfig

SIDE = 128
SHORTCUT = [
    "Trained on four collections, of which two have one class only: it also recognises the hospital, and what it says"
    " of one that it has not seen is far less reliable than the pooled numbers.",
    "The pneumonia is almost all paediatric (Kermany), the covid all adult: it tells children from adults too.",
    f"It knows frontal chest radiographs of {SIDE} pixels a side; small findings are lost at this size.",
]


def fit_model(options: argparse.Namespace) -> None:
    record = train(
        chest(options.out.parent),
        options.out,
        architecture(None, "lite0", image_size=SIDE),
        Recipe(),
        FitConfig(epochs=options.epochs, seed=0, monitor="val_loss", ema_decay=0.998, max_minutes=options.minutes),
        by="source",
        start="lite0",
        resume=(options.out / "run" / "checkpoints").exists(),
    )
    print({key: value for key, value in record.metrics.items() if key != "recipe"}, record.calibration)


def ship(folder: Path) -> None:
    record = model_folder.load_record(folder)
    whole = model_folder.load_state(folder, record)
    # The variances of the body's map do not fit into half precision.
    parameters = {name for name in whole if "running_" not in name and whole[name].is_floating_point()}
    state = {name: value.half() if name in parameters else value for name, value in whole.items()}
    model_folder.save(folder / "half", state, record)
    pictures = Pictures(chest(folder.parent), folder.parent, record.preprocessing["side"])
    part = one_hospital(pictures, np.ones(len(pictures.labels), bool), CLASSES)
    p_nk, pooled = measured(shipped(folder / "half", part, pictures), part, pictures)
    test = np.array(part.split.held_out)
    targets_nk = part.targets(pictures.labels[test]).numpy()
    scores = {"pooled": pooled}
    for source in (KERMANY, COHEN):
        inside = pictures.sources[test] == source
        scores[source] = estimates(p_nk[inside], targets_nk[inside], pictures.groups[test][inside])
    print(scores)
    shipped_record = record.model_copy(
        update={
            "name": "medusa-lite0",
            "metrics": record.metrics | {"held_out": scores},
            "limits": [*LIMITS, *SHORTCUT, cohen_limit(scores)],
        }
    )
    model_folder.save(BUNDLED_MODEL, state, shipped_record, further_files(folder, record))


def cohen_limit(scores: dict[str, dict[str, Any]]) -> str:
    """The AUC of all sources beside those inside one, as a limit of the card."""
    pooled, kermany, cohen = (scores[name]["auc"]["value"] for name in ("pooled", KERMANY, COHEN))
    return (
        f"Its AUC on held-out patients is {pooled:.3f} over all sources, {kermany:.3f} inside Kermany (children, normal"
        f" or pneumonia) and {cohen:.3f} inside Cohen (adults, three classes), which is no better than guessing."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/chest"))
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--minutes", type=float, help="no epoch begins that would end later than this")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--ship", action="store_true", help="measure the trained model and put it into the package")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.ship:
        ship(options.out)
    else:
        fit_model(options)


if __name__ == "__main__":
    main()
