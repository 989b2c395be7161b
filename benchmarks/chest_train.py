"""Train the chest model that ships: normal, pneumonia and covid, from all four sources.

    uv run python benchmarks/chest_train.py --out runs/chest --epochs 8
    uv run python benchmarks/chest_train.py --out runs/chest --ship
    uv run python benchmarks/chest_train.py --again

The first trains from the ImageNet start; if it was stopped, it continues. The second chooses operating points on the
validation patients and measures on the held-out patients, in the half precision that the model ships in, and copies it
with these numbers, its limits and its gate to `attn/apps/chest/weights`. Before it, `benchmarks/chest_gate.py --write`
fits the gate. The third does the same to the model that is there; its weights and its temperature stay.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from chest_data import COHEN, KERMANY, chest, further_files
from chest_tables import of_report, rounded

from attn.apps.chest.calibrate import operating_points
from attn.apps.chest.data import image_hash
from attn.apps.chest.evaluate import BATCH, evaluate
from attn.apps.chest.predict import ChestPredictor
from attn.apps.chest.probabilities import OperatingPoint
from attn.apps.chest.split import grouped_split
from attn.apps.chest.start import BUNDLED_MODEL, architecture
from attn.apps.chest.train import LIMITS, Recipe, train
from attn.core.models import folder as model_folder
from attn.core.models.folder import ModelRecord
from attn.core.training.config import FitConfig
from attn.data_adapters.dicom.labelled import LabelledStudies

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
    model_folder.save(folder / "half", state, record.model_copy(update={"name": "medusa-lite0", "licence": LICENCE}))
    shipped_record = measured(folder / "half", chest(folder.parent))
    model_folder.save(BUNDLED_MODEL, state, shipped_record, further_files(folder, record))


def measure_again(work: Path) -> None:
    record = model_folder.load_record(BUNDLED_MODEL)
    state = model_folder.load_state(BUNDLED_MODEL, record)
    again = measured(BUNDLED_MODEL, chest(work))
    model_folder.save(BUNDLED_MODEL, state, again, further_files(BUNDLED_MODEL, record))


def measured(folder: Path, source: LabelledStudies) -> ModelRecord:
    """The model's record with operating points chosen on its validation rows, and what `attn chest evaluate` says."""
    predictor = ChestPredictor.load(folder)
    points = chosen_points(predictor, source)
    stored_points = {label: point.model_dump() for label, point in points.items()}
    record = predictor.record
    predictor.calibration = predictor.calibration.model_copy(update={"operating_points": points})
    report = evaluate(predictor, source, by=["source"]).report()
    inside = {row["group"]: of_report(row) for row in report["groups"] if row["group"] in (KERMANY, COHEN)}
    kept = {key: record.metrics[key] for key in ("epochs", "best_epoch", "minutes", "recipe", "measured_on")}
    headlines = {key: rounded(report[key]) for key in ("auc", "accuracy", "balanced_accuracy", "ece", "brier")}
    print(headlines, stored_points, *report["per_class"], sep="\n")
    return record.model_copy(
        update={
            "metrics": kept | headlines | {"inside": inside},
            "calibration": record.calibration | {"operating_points": stored_points},
            "limits": [*LIMITS, *SHORTCUT, where_it_holds(headlines, inside), where_called(report, points)],
        }
    )


def chosen_points(predictor: ChestPredictor, source: LabelledStudies) -> dict[str, OperatingPoint]:
    """Of each class, on the rows that chose the model's best epoch and its temperature: none trains or tests."""
    rows = grouped_split(source.labels, source.groups).validation
    radiographs = [source.read(row) for row in rows]
    used = predictor.record.data["used"]["validation"]
    assert [image_hash(radiograph) for radiograph in radiographs] == used, "these are not the model's validation rows"
    batches = (radiographs[first : first + BATCH] for first in range(0, len(rows), BATCH))
    logits_nk = torch.cat([predictor.log_probabilities(predictor.tensor(batch)) for batch in batches])
    p_nk = predictor.probabilities(logits_nk).numpy()
    return operating_points(p_nk, source.targets[rows], source.classes)


def where_called(report: dict[str, Any], points: dict[str, OperatingPoint]) -> str:
    """What the operating points do on held-out patients, as a limit of the card."""
    said = [
        f"{row['label']} from {points[row['label']].threshold:.3f} up: sensitivity {row['sensitivity']['value']:.3f},"
        f" specificity {row['specificity']['value']:.3f}"
        for row in report["per_class"]
    ]
    return f"On held-out patients of the four collections its operating points have: {'; '.join(said)}."


def where_it_holds(pooled: dict[str, Any], inside: dict[str, Any]) -> str:
    """The AUC of all sources beside those inside one, as a limit of the card."""
    everywhere, kermany, cohen = (each["auc"] for each in (pooled, inside[KERMANY], inside[COHEN]))
    return (
        f"Its AUC on held-out patients is {everywhere['value']:.3f} over all sources and {kermany['value']:.3f} inside"
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
    parser.add_argument("--again", action="store_true", help="choose points and measure the model in the package again")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.again:
        measure_again(options.out.parent)
    elif options.ship:
        ship(options.out)
    else:
        fit_model(options)


if __name__ == "__main__":
    main()
