"""Train the model of individuals that ships: EfficientNet-Lite0 and the nyala of the split for training.

    uv run python benchmarks/reid_train.py --out runs/reid
    uv run python benchmarks/reid_train.py --out runs/reid --ship

The second rounds the trained model to half precision, fits its probabilities to the individuals that chose the best
epoch, measures it on those of the test, and writes it with these numbers and its limits to `attn/apps/reid/weights`.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from reid_data import COLUMNS, DATA

from attn.apps.reid.calibrate import calibrate
from attn.apps.reid.evaluate import evaluate
from attn.apps.reid.predict import ReIDPredictor
from attn.apps.reid.start import BUNDLED_MODEL
from attn.apps.reid.train import Recipe, train
from attn.apps.reid.variants import variant
from attn.core.models import folder as model_folder
from attn.core.training.config import FitConfig
from attn.data_adapters.images.identities import LabelledIndividuals, open_individuals

LIMITS = [
    "Trained on flanks of one species, nyala antelopes: of other animals it sees what ImageNet taught it to see."
    " Calibrate it, or train your own, before a probability is believed.",
    "A similarity is no identification. Look at the evidence before a name is written down.",
]
LICENCE = "trained on photographs that state no licence (nyala): research use"


def nyala(split: str) -> LabelledIndividuals:
    return open_individuals(DATA / "nyala" / "labels.csv", **COLUMNS["nyala"], split=split)


def ship(folder: Path) -> None:
    record = model_folder.load_record(folder)
    state = {
        name: value.half() if value.is_floating_point() and "running_var" not in name else value
        for name, value in model_folder.load_state(folder, record).items()
    }
    model_folder.save(folder / "half", state, record.model_copy(update={"name": "nyala-lite0", "limits": LIMITS}))
    fitted = folder / "calibrated"
    print(calibrate(folder / "half", nyala("train"), fitted))
    report = evaluate(ReIDPredictor.load(fitted, "cpu"), nyala("test"), verify=False).report()
    print(report)
    record = model_folder.load_record(fitted)
    record = record.model_copy(update={"limits": [*LIMITS, held_out(report)], "licence": LICENCE})
    model_folder.save(BUNDLED_MODEL, model_folder.load_state(fitted, record), record)


def held_out(report: dict[str, Any]) -> str:
    """What it is worth on individuals that it has not seen, as a limit of the card."""
    mean, first = (
        f"{each['value']:.3f} ({each['low']:.3f} to {each['high']:.3f})" for each in (report["mAP"], report["rank1"])
    )
    known = report["open_set"]["balanced_accuracy"]
    return (
        f"On {report['individuals']} nyala that no part of the training has seen ({report['queries']} photographs, each"
        f" among those of its flank) its mAP is {mean} and the first answer is right for {first}. Whether an animal is"
        f" known at all it tells with a balanced accuracy of {known:.2f}, where 0.5 is"
        " chance: nobody known, or known, is no more than a hint."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/reid"))
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--ship", action="store_true", help="measure the trained model and put it into the package")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.ship:
        ship(options.out)
        return
    recipe = Recipe(batch_size=32, mirror="another")  # a mirrored left flank is a right flank of nobody
    fit_config = FitConfig(epochs=options.epochs, seed=0)
    record = train(nyala("train"), options.out, variant("lite0"), recipe, fit_config)
    print({key: value for key, value in record.metrics.items() if key != "recipe"})


if __name__ == "__main__":
    main()
