"""Train the chest model that ships: normal, pneumonia and covid, from all four sources.

    uv run python benchmarks/chest_train.py --out runs/chest --epochs 12
    uv run python benchmarks/chest_train.py --out runs/chest --ship

The first trains from the ImageNet start; if it was stopped, it continues. The second measures the trained model on the
held-out patients in the half precision it ships in, pooled and per source, and copies it with these numbers and its
limits to `attn/apps/chest/weights`.
"""

import argparse
from pathlib import Path

import torch
from chest_data import chest

from attn.apps.chest.start import architecture
from attn.apps.chest.train import Recipe, train
from attn.core.training.config import FitConfig


def fit_model(options: argparse.Namespace) -> None:
    record = train(
        chest(options.out.parent),
        options.out,
        architecture(None, "lite0"),
        Recipe(),
        FitConfig(epochs=options.epochs, seed=0, monitor="val_loss", ema_decay=0.998, max_minutes=options.minutes),
        by="source",
        start="lite0",
        resume=(options.out / "run" / "checkpoints").exists(),
    )
    print({key: value for key, value in record.metrics.items() if key != "recipe"}, record.calibration)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/chest"))
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--minutes", type=float, help="no epoch begins that would end later than this")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    fit_model(options)


if __name__ == "__main__":
    main()
