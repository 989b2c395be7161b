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

import torch
from chest_data import COHEN, KERMANY, chest, further_files
from chest_tables import evaluated

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
LICENCE = "trained on images of which some are under CC BY-NC-SA 4.0 and some state no licence: research use"


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
    scores = evaluated(folder / "half", chest(folder.parent))
    print(scores)
    shipped_record = record.model_copy(
        update={
            "name": "medusa-lite0",
            "metrics": record.metrics | {"held_out": scores},
            "limits": [*LIMITS, *SHORTCUT, inside(scores)],
            "licence": LICENCE,
        }
    )
    model_folder.save(BUNDLED_MODEL, state, shipped_record, further_files(folder, record))


def inside(scores: dict[str, Any]) -> str:
    """The AUC of all sources beside those inside one, as a limit of the card."""
    pooled, kermany, cohen = (each["auc"] for each in (scores, scores[KERMANY], scores[COHEN]))
    return (
        f"Its AUC on held-out patients is {pooled['value']:.3f} over all sources and {kermany['value']:.3f} inside"
        f" Kermany (children, normal or pneumonia), but {cohen['value']:.3f} ({cohen['low']:.3f} to"
        f" {cohen['high']:.3f}) inside Cohen (adults, covid or pneumonia; too few are normal to say)."
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
