"""Astroformer against others on EFIGI's held-out part: same data, augmentation, recipe and wall time, over seeds.

    uv run python benchmarks/galaxy_quality.py --minutes 12 --seeds 3

Keeps a row for each network, and one for a balanced logistic regression on a radial colour profile as the floor. The
row of each run is in `--out` and not computed again. A run that was stopped continues from its last epoch. Astroformer
and ResNet-18 begin at random, EfficientNet-Lite0 and the Astroformer on its first five stages from ImageNet weights.
Two networks of a seed train at the same time, one thread each, so that both meet the same machine; the number of epochs
is what fits the minutes, from the measured time of a step of each (measured in turns, once, kept in the results).
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import timm
import torch
from galaxy_data import FURTHER, efigi, gz2_parts, gz2_training
from rows import keep
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from attn.apps.galaxy.data import Example, Split, stratified_split
from attn.apps.galaxy.evaluate import evaluate_rows
from attn.apps.galaxy.model import Astroformer, variant
from attn.apps.galaxy.predict import GalaxyPredictor
from attn.apps.galaxy.start import begin
from attn.apps.galaxy.train import GalaxyModule, Recipe, make_module, prepare
from attn.core.measures.calibration import fit_temperature
from attn.core.measures.classification import classification_report
from attn.core.models.folder import ModelRecord
from attn.core.training.config import FitConfig
from attn.core.training.fit import fit
from attn.core.training.malloc import keep_freed_memory
from attn.core.training.seeding import seed_generators
from attn.data_adapters.images.cutout import Cutout
from attn.data_adapters.images.labelled import LabelledImages
from attn.data_adapters.sky.framing import frame
from attn.data_adapters.sky.stretch import Stretch

SIDE = 64
NETWORKS = ("astroformer-nano", "resnet18", "lite0", "lite0-attention")
AT_ONCE = 2


class ResNet18(nn.Module):
    """timm's ResNet-18 from scratch, in the two halves that the training step asks for."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body = timm.create_model("resnet18", num_classes=0)
        self.dropout, self.classifier = nn.Dropout(0.1), nn.Linear(512, classes)

    def embed(self, x_bchw: Tensor) -> Tensor:
        return self.body(x_bchw)

    def classify(self, features_bf: Tensor) -> Tensor:
        return self.classifier(self.dropout(features_bf))

    def forward(self, x_bchw: Tensor) -> Tensor:
        return self.classify(self.embed(x_bchw))


class Altered:
    """A labelled set seen through a change of its pixels."""

    def __init__(self, source: LabelledImages, change: Callable[[np.ndarray], np.ndarray]) -> None:
        self.source, self.change = source, change
        self.ids, self.labels, self.classes = source.ids, source.labels, source.classes

    def read(self, i: int, stretch: Stretch) -> Cutout:
        cutout = self.source.read(i, stretch)
        return Cutout(id=cutout.id, pixels=self.change(cutout.pixels))


def grey(pixels_hwc: np.ndarray) -> np.ndarray:
    """One band, as a single-band FITS file is shown."""
    return np.repeat(pixels_hwc.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)


def small(pixels_hwc: np.ndarray, share: float = 0.4) -> np.ndarray:
    """The galaxy in the middle of a frame 2.5 times as wide, on the sky of its own rim."""
    side = len(pixels_hwc)
    inner = frame(pixels_hwc, round(share * side)).astype(float)
    rim = np.concatenate([pixels_hwc[0], pixels_hwc[-1], pixels_hwc[:, 0], pixels_hwc[:, -1]]).astype(float)
    sky, noise = np.median(rim, axis=0), rim.std(axis=0)
    wide = np.random.default_rng(0).normal(sky, 0.5 * noise, (side, side, 3))
    start = (side - len(inner)) // 2
    wide[start : start + len(inner), start : start + len(inner)] = inner
    return wide.clip(0, 255).astype(np.uint8)


def build(name: str, classes: int) -> tuple[nn.Module, int, list[str]]:
    """The network, its features, and its parameters that come from ImageNet."""
    if name == "resnet18":
        return ResNet18(classes), 512, []
    config = variant(name.removeprefix("astroformer-"), drop_path=0.1, classes=classes, image_size=SIDE)
    network = Astroformer(config).to(memory_format=torch.channels_last)
    return network, config.head, begin(network, "lite0" if config.lite0 else None)


def seconds_per_step(modules: dict[str, GalaxyModule], batch: Example, turns: int = 9) -> dict[str, float]:
    """Median time of a training step of each network, measured in turns."""
    times: dict[str, list[float]] = {name: [] for name in modules}
    for module in modules.values():
        module.log = lambda *_, **__: None
    for _ in range(turns):
        for name, module in modules.items():
            began = time.perf_counter()
            module.training_step(batch, 0).backward()
            times[name].append(time.perf_counter() - began)
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def run(name: str, seed: int, epochs: int, out: Path) -> dict[str, Any]:
    """Train one network and measure it on the held-out part: in colour, in grey, small in the frame, and on GZ2."""
    source, recipe = efigi(), Recipe()
    split = stratified_split(source.labels)
    data, preprocessing = prepare(source, split, SIDE, recipe, seed, also=FURTHER, extra=gz2_training(out))
    seed_generators(seed)
    network, features, started = build(name, len(source.classes))
    module = make_module(network, features, data, preprocessing, recipe, len(source.classes), started)
    config = FitConfig(epochs=epochs, seed=seed, monitor="val_loss", ema_decay=0.998)
    folder = out / f"{name}-{seed}"
    result = fit(module, data, config, folder, resume=(folder / "checkpoints").exists())
    module.load_state_dict(result.best_state)
    record = ModelRecord(
        app="galaxy",
        name=name,
        architecture={},
        labels=source.classes,
        preprocessing=preprocessing.model_dump(mode="json"),
    )
    predictor = GalaxyPredictor(network, record)
    parameters = sum(p.numel() for p in network.parameters()) / 1e6
    trained = {
        "network": name,
        "seed": seed,
        "parameters_M": parameters,
        "epochs": epochs,
        "minutes": result.seconds / 60,
    }
    return trained | score(predictor, source, split, tta=True)


def score(predictor: GalaxyPredictor, source: LabelledImages, split: Split, *, tta: bool) -> dict[str, float]:
    """Balanced accuracy, macro-F1 and ECE, the temperature fitted on the validation rows; `tta`: over eight views."""
    validation = evaluate_rows(predictor, source, split.validation, tta=tta)
    predictor.temperature = fit_temperature(validation.log_probabilities, validation.targets)
    rows = {}
    for view, labelled in {
        "colour": source,
        "grey": Altered(source, grey),
        "small": Altered(source, small),
    }.items():
        measured = evaluate_rows(predictor, labelled, split.held_out, tta=tta).headlines()
        rows |= {f"{view}_{key}": measured[key] for key in ("balanced_accuracy", "macro_f1", "ece")}
    return rows | {"gz2_accuracy": gz2_accuracy(predictor, tta)}


def gz2_accuracy(predictor: GalaxyPredictor, tta: bool) -> float:
    """Spiral against smooth on GZ2's test part (100 galaxies): is a disc class likelier than a spheroidal one?"""
    _, test = gz2_parts()
    test = test.filter(pl.col("label").is_in(["spiral", "elliptical"]))
    answers = predictor.predict_many(test["path"].to_list(), tta=tta)
    spiral = [a.probabilities["spiral"] + a.probabilities["irregular"] > 0.5 for a in answers]
    return float(np.mean(np.array(spiral) == (test["label"] == "spiral").to_numpy()))


def logistic_regression() -> dict[str, Any]:
    """The floor: mean and deviation of each band in 12 rings, standardised, classes weighted evenly."""
    source = efigi()
    split = stratified_split(source.labels)
    features = np.stack([radial_profile(source.read(row).pixels) for row in range(len(source.labels))])
    targets = np.array([source.classes.index(label) for label in source.labels])
    rows = split.train + split.validation
    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=5000))
    model.fit(features[rows], targets[rows])
    report = classification_report(
        model.predict_proba(features[split.held_out]), targets[split.held_out], source.classes
    )
    values = {key: report[key]["value"] for key in ("balanced_accuracy", "macro_f1", "ece")}
    return {"model": "logistic regression on a radial colour profile, classes weighted evenly", **values}


def radial_profile(pixels_hwc: np.ndarray, rings: int = 12) -> np.ndarray:
    side = len(pixels_hwc)
    y, x = np.indices((side, side)) - (side - 1) / 2
    ring = np.minimum((np.hypot(y, x) / (side / 2) * rings).astype(int), rings)
    parts = [pixels_hwc[ring == k] for k in range(rings)]
    return np.concatenate([value for part in parts for value in (part.mean(axis=0), part.std(axis=0))])


def plan(minutes: float, out: Path) -> dict[str, int]:
    """Epochs of each network that fit the minutes; measured once and kept, so that a restart plans the same."""
    kept = out / "epochs.json"
    if not kept.exists():
        source, recipe = efigi(), Recipe()
        data, preprocessing = prepare(
            source, stratified_split(source.labels), SIDE, recipe, 0, also=FURTHER, extra=gz2_training(out)
        )
        loader = data.train_dataloader()
        classes = len(source.classes)
        modules = {}
        for name in NETWORKS:
            network, features, _ = build(name, classes)
            modules[name] = make_module(network, features, data, preprocessing, recipe, classes)
        seconds = seconds_per_step(modules, next(iter(loader)))
        kept.write_text(json.dumps({n: max(1, int(minutes * 60 / (t * len(loader)))) for n, t in seconds.items()}))
    epochs: dict[str, int] = json.loads(kept.read_text())
    return epochs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/quality"))
    parser.add_argument("--one", nargs=3, metavar=("NETWORK", "SEED", "EPOCHS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as training does, so that the steps are timed as they will run
    options.out.mkdir(parents=True, exist_ok=True)
    if options.one:
        name, seed, epochs = options.one
        row = run(name, int(seed), int(epochs), options.out)
        (options.out / f"{name}-{seed}.json").write_text(json.dumps(row))
        return
    epochs = plan(options.minutes, options.out)
    for seed in range(options.seeds):
        missing = [name for name in NETWORKS if not (options.out / f"{name}-{seed}.json").exists()]
        command = [sys.executable, __file__, "--out", str(options.out), "--one"]
        for first in range(0, len(missing), AT_ONCE):
            pair = missing[first : first + AT_ONCE]
            workers = [subprocess.Popen([*command, name, str(seed), str(epochs[name])]) for name in pair]
            if any(worker.wait() for worker in workers):
                raise SystemExit("a run failed; start again to continue")
    rows = [json.loads(path.read_text()) for path in sorted(options.out.glob("*-*.json"))]
    for name in NETWORKS:
        if own := [row for row in rows if row["network"] == name]:
            keep("galaxy_networks", over_seeds(name, own))
    keep("galaxy_efigi", logistic_regression())


def over_seeds(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The mean of each value of a network's runs and, with the ending `_sd`, its standard deviation."""
    found: dict[str, Any] = {"network": name, "seeds": len(rows)}
    for key in rows[0].keys() - {"network", "seed"}:
        values = [row[key] for row in rows]
        found[key] = statistics.mean(values)
        if len(rows) > 1:
            found[f"{key}_sd"] = statistics.stdev(values)
    return found


def show(rows: list[dict[str, Any]]) -> None:
    columns = list(rows[0])
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for row in rows:
        cells = [row.get(column, "") for column in columns]
        print("| " + " | ".join(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells) + " |")


if __name__ == "__main__":
    main()
