"""Train the galaxy model that ships: EFIGI's four Hubble types, its finer labels beside them, and GZ2's training part.

    uv run python benchmarks/galaxy_train.py --out runs/galaxy --epochs 100

Started again, it goes on where it was stopped. The folder it writes is what `attn/apps/galaxy/weights` holds.
"""

import argparse
from pathlib import Path

import torch
from galaxy_data import FURTHER, efigi, gz2_training

from attn.apps.galaxy.model import variant
from attn.apps.galaxy.train import Recipe, train
from attn.core.training import FitConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/galaxy"))
    parser.add_argument("--variant", default="nano")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    record = train(
        efigi(),
        options.out,
        variant(options.variant, drop_path=0.1),
        Recipe(),
        FitConfig(epochs=options.epochs, seed=options.seed, monitor="val_loss", ema_decay=0.998),
        also=FURTHER,
        extra=gz2_training(options.out),
        resume=(options.out / "checkpoints").exists(),
    )
    print(record.metrics)


if __name__ == "__main__":
    main()
