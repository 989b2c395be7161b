"""Train the galaxy model that ships: EFIGI's four Hubble types, its finer labels beside them, GZ2's training part.

    uv run python benchmarks/galaxy_train.py --start lite0 --out runs/first --epochs 50
    uv run python benchmarks/galaxy_train.py --start runs/first --out runs/galaxy --epochs 16 --learning-rate 1e-3 \\
        --coarse 0.4
    uv run python benchmarks/galaxy_train.py --start bundled --out runs/galaxy --epochs 20 \\
        --learning-rate 1.5e-3 --surveys
    uv run python benchmarks/galaxy_train.py --out runs/galaxy --compare
    uv run python benchmarks/galaxy_train.py --out runs/galaxy --ship

The first trains; the second trains further, and shows many galaxies as coarse as those that are small in their frame;
the third trains the bundled model further, and shows galaxies as other surveys and viewers do (`augment.SURVEYS`). They
continue if they were stopped. The fourth prints what the model that ships and the trained model reach on the validation
rows, on which the choice is made. The fifth measures the trained model in colour, in grey, small in the frame and on
GZ2, with and without averaging over the symmetries, keeps the rows, copies the model with these numbers and its limits
to `attn/apps/galaxy/weights`, and fits its anomaly.
"""

import argparse
from pathlib import Path

import torch
from galaxy_anomaly import fit as fit_anomaly_of
from galaxy_data import FURTHER, efigi, gz2_training
from galaxy_quality import Altered, grey, score, show, small
from rows import keep
from torch.nn import functional as F

import attn
from attn.apps.galaxy.augment import SURVEYS, AugmentConfig
from attn.apps.galaxy.data import stratified_split
from attn.apps.galaxy.evaluate import HEADLINES, evaluate_rows
from attn.apps.galaxy.predict import BUNDLED_MODEL, GalaxyPredictor
from attn.apps.galaxy.start import architecture
from attn.apps.galaxy.train import Recipe, train
from attn.core.models import folder as model_folder
from attn.core.training.config import FitConfig

LIMITS = [
    "It knows SDSS-like colour cut-outs with the galaxy in the middle. It gives stars and nebulae a type as well.",
    "It is less accurate in grey, and for galaxies that are small in the frame. The metrics say by how much.",
    "Classes follow EFIGI, where three of four galaxies are spirals. It often calls edge-on lenticulars spiral.",
]


ROWS = {  # of the table: with or without eight views, and the picture
    "bundled Astroformer nano (1.5 M parameters), one view": ("tta_false", "colour"),
    "the same, eight views": ("tta_true", "colour"),
    "the same in grey (one band), one view": ("tta_false", "grey"),
    "the same with the galaxy at 40 % of the frame, one view": ("tta_false", "small"),
}


SHOWN = {"least_sky": 18.0, "upright": True}  # in the preprocessing: chosen on the validation rows


def fit_model(options: argparse.Namespace) -> None:
    augment = SURVEYS if options.surveys else AugmentConfig(coarse=options.coarse)
    train(
        efigi(),
        options.out,
        architecture(None, options.start, drop_path=0.1),
        Recipe(learning_rate=options.learning_rate, augment=augment),
        FitConfig(epochs=options.epochs, seed=0, monitor="val_loss", ema_decay=0.998),
        also=FURTHER,
        extra=gz2_training(options.out.parent),
        start=options.start,
        resume=(options.out / "run" / "checkpoints").exists(),
    )


def compare(folder: Path) -> None:
    """Validation rows only: the negative log-likelihood is at each model's own temperature, which is fitted on them."""
    source = efigi()
    rows = stratified_split(source.labels).validation
    views = {"colour": source, "grey": Altered(source, grey), "small": Altered(source, small)}
    table = []
    for name, model in {"ships now": None, str(folder): folder}.items():
        predictor = GalaxyPredictor.load(model)
        for view, labelled in views.items():
            for tta in (False, True):
                found = evaluate_rows(predictor, labelled, rows, tta=tta)
                log_p, targets = torch.from_numpy(found.log_probabilities), torch.from_numpy(found.targets)
                loss = float(F.cross_entropy(log_p / predictor.temperature, targets))
                table.append(
                    {"model": name, "picture": view, "views": 8 if tta else 1, "loss": loss, **found.headlines()}
                )
    show(table)


def ship(folder: Path) -> None:
    source = efigi()
    split = stratified_split(source.labels)
    record = model_folder.load_record(folder)
    record.preprocessing.update(SHOWN)
    state = model_folder.load_state(folder, record)
    model_folder.save(folder / "shown", state, record)
    predictor = GalaxyPredictor.load(folder / "shown")
    rows = {"tta_true": score(predictor, source, split, tta=True)}
    rows = {"tta_false": score(predictor, source, split, tta=False), **rows}  # and its temperature is kept
    intervals = evaluate_rows(predictor, source, split.held_out).report()
    for model, (views, picture) in ROWS.items():
        values = {key: rows[views][f"{picture}_{key}"] for key in ("balanced_accuracy", "macro_f1", "ece")}
        if (views, picture) == ("tta_false", "colour"):
            values |= {key: intervals[key] for key in ("balanced_accuracy", "macro_f1")}
        keep("galaxy_efigi", {"model": model, **values})
    shipped = record.model_copy(
        update={
            "name": "astroformer-lite0" if predictor.model.config.lite0 else "astroformer-nano",
            "metrics": record.metrics | {key: intervals[key]["value"] for key in HEADLINES} | rows,
            "calibration": {"temperature": predictor.temperature, "fitted_on": len(split.validation)},
            "limits": LIMITS,
        }
    )
    model_folder.save(Path(attn.__file__).parent / "apps" / "galaxy" / "weights", state, shipped)
    fit_anomaly_of(BUNDLED_MODEL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/galaxy"))
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--start", help="lite0 begins from ImageNet weights, a folder from its own; at random else")
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--coarse", type=float, default=0.0, help="share of images at a lower resolution")
    parser.add_argument("--surveys", action="store_true", help="with the pictures of other surveys and viewers")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compare", action="store_true", help="with the model that ships, on the validation rows")
    parser.add_argument("--ship", action="store_true", help="measure the trained model and put it into the package")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.compare:
        compare(options.out)
    elif options.ship:
        ship(options.out)
    else:
        fit_model(options)


if __name__ == "__main__":
    main()
