"""Train the galaxy model that ships: EFIGI's four Hubble types, its finer labels beside them, GZ2's training part.

    uv run python benchmarks/galaxy_train.py --out runs/astroformer-nano --epochs 100
    uv run python benchmarks/galaxy_train.py --out runs/astroformer-nano --ship

The first goes on where it was stopped when it is started again. The second measures the trained model in colour, in
grey, small in the frame and on GZ2, with and without averaging over the symmetries, prints the table, and copies the
model with these numbers and its limits to `attn/apps/galaxy/weights`.
"""

import argparse
from pathlib import Path

import torch
from galaxy_data import FURTHER, efigi, gz2_training
from galaxy_quality import score, show

import attn
from attn.apps.galaxy.data import stratified_split
from attn.apps.galaxy.model import variant
from attn.apps.galaxy.predict import GalaxyPredictor
from attn.apps.galaxy.train import Recipe, train
from attn.core.models import folder as model_folder
from attn.core.training.config import FitConfig

LIMITS = [
    "It knows SDSS-like colour cut-outs with the galaxy in the middle; stars and nebulae get a type too.",
    "In grey and for galaxies small in the frame it is less accurate; the metrics say by how much.",
    "Classes follow EFIGI, where three of four galaxies are spirals; edge-on lenticulars are often called spiral.",
]


def fit_model(options: argparse.Namespace) -> None:
    train(
        efigi(),
        options.out,
        variant("nano", drop_path=0.1),
        Recipe(),
        FitConfig(epochs=options.epochs, seed=0, monitor="val_loss", ema_decay=0.998),
        also=FURTHER,
        extra=gz2_training(options.out.parent),
        resume=(options.out / "run" / "checkpoints").exists(),
    )


def ship(folder: Path) -> None:
    source = efigi()
    split = stratified_split(source.labels)
    predictor = GalaxyPredictor.load(folder)
    rows = {f"tta_{tta}".lower(): score(predictor, source, split, tta=tta) for tta in (False, True)}
    show([{"views": "eight" if name == "tta_true" else "one", **row} for name, row in rows.items()])
    record = model_folder.load_record(folder)
    shipped = record.model_copy(update={"name": "astroformer-nano", "metrics": record.metrics | rows, "limits": LIMITS})
    weights = Path(attn.__file__).parent / "apps" / "galaxy" / "weights"
    model_folder.save(weights, model_folder.load_state(folder, record), shipped)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/astroformer-nano"))
    parser.add_argument("--epochs", type=int, default=100)
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
