"""How good MEDUSA is, against what, and how much of it is the hospital: the tables of docs/chest.md.

    uv run python benchmarks/chest_tables.py --budget 2h --out runs/chest_tables
    uv run python benchmarks/chest_tables.py --sizes

a   Kermany, normal against pneumonia, held-out patients: backbone alone, attention of equal parameters isolated in each
    scale, MEDUSA, ResNet-18 from scratch; floors that see a thumbnail, the border, or the shape alone.
b   three classes, all sources: the model in `--model` as `attn chest evaluate` measures it, and the floors.
c   across sources: what is learned on some hospitals, on one never seen; each countermeasure alone, and the floors.

One row at a time is trained and kept in `--results`; rows that are there are skipped, so a run that was stopped
continues. Intervals resample patients; differences are paired.
"""

import argparse
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from chest_data import CLASSES, COHEN, KERMANY, RADIOGRAPHY, chest
from chest_networks import Alone, Isolated, count, sizes
from rows import RESULTS, keep
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from attn.apps.chest.augment import AugmentConfig
from attn.apps.chest.data import MARGIN, ChestData
from attn.apps.chest.evaluate import evaluate
from attn.apps.chest.model import Medusa, MedusaConfig
from attn.apps.chest.predict import ChestPredictor, load_model
from attn.apps.chest.preprocess import Preprocessing, resized, to_bytes, to_unit
from attn.apps.chest.probabilities import Calibration
from attn.apps.chest.split import Split, grouped_split
from attn.apps.chest.train import Balance, ChestModule, Classifier, Recipe
from attn.core import starts
from attn.core.measures.bootstrap import bootstrap
from attn.core.measures.calibration import fit_temperature
from attn.core.measures.one_against_rest import measures, one_against_rest, paired_auc
from attn.core.training.config import FitConfig
from attn.core.training.fit import fit
from attn.core.training.pixels import CachedPixels
from attn.core.training.seeding import seed_generators
from attn.data_adapters.dicom.labelled import LabelledStudies

THUMBNAIL, RIM = 12, 0.08
FLOORS = ("thumbnail", "border", "shape")
NOTHING = AugmentConfig(
    aspect=(1, 1), zoom=(1, 1), rotation=0, shift=0, gamma=0, contrast=0, brightness=0, blur=0, noise=0, border=0, mix=0
)
# Stronger than the recipe's own.
STRONG = AugmentConfig(
    zoom=(0.9, 1.35), gamma=0.4, contrast=0.3, brightness=0.1, blur=0.5, noise=0.04, border=0.5, rim=0.12, mix=0.3
)
BARE = Recipe(augment=NOTHING, balance_classes=0, balance_sources=0)
GEOMETRY = {name: getattr(STRONG, name) for name in ("aspect", "zoom", "rotation", "shift")}
INTENSITY = {name: getattr(STRONG, name) for name in ("gamma", "contrast", "brightness", "blur", "noise")}
RECIPES = {
    "the recipe": Recipe(),
    "all countermeasures": Recipe(augment=STRONG),
    "none": BARE,
    "balanced sampling alone": replace(BARE, balance_classes=0.5, balance_sources=0.5),
    "intensity alone": replace(BARE, augment=replace(NOTHING, **INTENSITY)),
    "aspect and crop alone": replace(BARE, augment=replace(NOTHING, **GEOMETRY)),
    "border painted over alone": replace(BARE, augment=replace(NOTHING, border=STRONG.border)),
    "mixing alone": replace(BARE, augment=replace(NOTHING, mix=STRONG.mix)),
}
ACROSS = {
    "Cohen": ((KERMANY, *RADIOGRAPHY), (COHEN,), (("covid", "normal"), ("covid", "pneumonia"))),
    "radiography": ((KERMANY, COHEN), RADIOGRAPHY, (("covid", "normal"),)),
}


class Pictures:
    """All images in memory at the working side, and what is known of each; written once to a folder."""

    def __init__(self, source: LabelledStudies, folder: Path, side: int) -> None:
        self.source = source
        self.labels, self.groups = np.array(source.labels), np.array(source.groups)
        self.sources = np.array([str(cell) for cell in source.column("source")])
        self.side, working = side, Preprocessing(side=round(MARGIN * side))
        path = folder / f"pixels-{side}.npz"
        if not path.exists():
            radiographs = (source.read(row) for row in range(len(source)))
            shapes, pixels = zip(*((r.pixels_hw.shape, to_bytes(working.pixels(r))) for r in radiographs), strict=True)
            np.savez(path, pixels=np.stack(pixels), shapes=np.array(shapes))
        found = np.load(path)
        self.pixels, self.shapes = found["pixels"], found["shapes"]

    def dataset(self, rows: np.ndarray, targets_nk: torch.Tensor) -> CachedPixels:
        return CachedPixels(lambda row: (torch.from_numpy(self.pixels[row]), ""), rows.tolist(), targets_nk)

    def seen_by(self, floor: str, rows: np.ndarray) -> np.ndarray:
        """The features (N, F) of a floor."""
        if floor == "shape":
            height, width = self.shapes[rows].astype(float).T
            return np.stack([np.log(height), np.log(width), np.log(width / height)], axis=1)
        pixels = torch.from_numpy(self.pixels[rows])[:, None].float() / 255
        if floor == "thumbnail":
            return torch.nn.functional.adaptive_avg_pool2d(pixels, THUMBNAIL).flatten(1).numpy()
        small = torch.nn.functional.adaptive_avg_pool2d(pixels, 4 * THUMBNAIL)[:, 0]
        rim = torch.ones(small.shape[1:], dtype=torch.bool)
        width = round(RIM * small.shape[1])
        rim[width:-width, width:-width] = False
        return small[:, rim].numpy()


@dataclass(frozen=True)
class Part:
    """Rows to train, validate and measure on, and the classes that are told apart."""

    split: Split
    classes: tuple[str, ...]

    def targets(self, labels: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(labels[:, None] == np.array(self.classes)).float()


def one_hospital(pictures: Pictures, chosen: np.ndarray, classes: tuple[str, ...]) -> Part:
    """The rows `chosen` split by patient."""
    rows = np.flatnonzero(chosen)
    inner = grouped_split(pictures.labels[rows].tolist(), pictures.groups[rows].tolist())
    parts = (rows[np.array(part)].tolist() for part in (inner.train, inner.validation, inner.held_out))
    return Part(Split(*parts), classes)


def across(pictures: Pictures, seen: tuple[str, ...], unseen: tuple[str, ...]) -> Part:
    """Trained and validated on patients of the sources `seen`, measured on all of `unseen` who are not among them."""
    inner = one_hospital(pictures, np.isin(pictures.sources, seen), CLASSES).split
    apart = np.isin(pictures.sources, unseen) & ~np.isin(pictures.groups, pictures.groups[inner.train])
    return Part(Split(inner.train + inner.held_out, inner.validation, np.flatnonzero(apart).tolist()), CLASSES)


def train_network(name: str, recipe: Recipe, part: Part, pictures: Pictures, seed: int, options: Any) -> dict[str, Any]:
    """Logits of validation and test rows, and what the training cost."""
    train = np.array(part.split.train)
    if options.rows and options.rows < len(train):
        train = np.sort(np.random.default_rng(0).choice(train, options.rows, replace=False))
    targets_nk = part.targets(pictures.labels)
    config = MedusaConfig(image_size=pictures.side, classes=len(part.classes))
    seed_generators(seed)
    if name == "ResNet-18 from scratch":
        model = Alone(config.model_copy(update={"backbone": "resnet18", "scales": 5}))
    else:
        model = {"backbone alone (lite0)": Alone, "isolated attention": Isolated, "MEDUSA": Medusa}[name](config)
    started = [] if name.startswith("ResNet") else starts.begin(model, "lite0")
    model = model.to(memory_format=torch.channels_last)
    balance = Balance.of(targets_nk[train], recipe, pictures.labels[train].tolist(), pictures.sources[train].tolist())
    module = ChestModule(model, pictures.side, recipe, balance, started=started)
    data = ChestData(
        pictures.dataset(train, targets_nk),
        pictures.dataset(np.array(part.split.validation), targets_nk),
        recipe.batch_size,
        seed,
        balance.weights,
    )
    run = options.out / "run"
    shutil.rmtree(run, ignore_errors=True)
    result = fit(module, data, FitConfig(epochs=options.epochs, seed=seed, ema_decay=0.99), run)
    model.load_state_dict(result.state_of("model"))
    model.eval()
    test = pictures.dataset(np.array(part.split.held_out), targets_nk)
    return {
        "logits": {"validation": logits_of(model, data.validation_set, pictures.side)}
        | {"test": logits_of(model, test, pictures.side)},
        "shift": tuple(balance.shift.tolist()),
        "facts": {"parameters_M": round(count(model) / 1e6, 2), "epochs": len(result.history), "rows": len(train)},
    }


def logits_of(model: Classifier, dataset: CachedPixels, side: int) -> torch.Tensor:
    """Logits (N, K) of the whole pictures of a data set."""
    loader = torch.utils.data.DataLoader(dataset, 64)
    with torch.inference_mode():
        return torch.cat([model(resized(to_unit(pixels), side)).float() for pixels, _ in loader])


def floor_logits(floor: str, part: Part, pictures: Pictures) -> dict[str, Any]:
    """Logistic regression on what the floor sees."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    train = np.array(part.split.train)
    model.fit(pictures.seen_by(floor, train), pictures.labels[train])
    order = [list(model.classes_).index(name) for name in part.classes]
    rows = {"validation": np.array(part.split.validation), "test": np.array(part.split.held_out)}
    logits = {key: model.predict_log_proba(pictures.seen_by(floor, rows[key]))[:, order] for key in rows}
    return {
        "logits": {key: torch.from_numpy(value.clip(-30)).float() for key, value in logits.items()},
        "shift": (),
        "facts": {"rows": len(train)},
    }


def measured(found: dict[str, Any], part: Part, pictures: Pictures) -> tuple[np.ndarray, dict[str, Any]]:
    """Calibrated probabilities of the test rows, and AUC, ECE and accuracy with intervals."""
    targets_nk = part.targets(pictures.labels)
    truth_n = targets_nk[part.split.validation].argmax(1)
    temperature = fit_temperature(found["logits"]["validation"], truth_n, found["shift"])
    p_nk = Calibration(temperature=temperature, shift=found["shift"]).probabilities(found["logits"]["test"]).numpy()
    return p_nk, estimates(p_nk, targets_nk[part.split.held_out].numpy(), pictures.groups[part.split.held_out])


def estimates(p_nk: np.ndarray, targets_nk: np.ndarray, groups_n: np.ndarray) -> dict[str, Any]:
    half = [0.5] * p_nk.shape[1]
    names = [str(k) for k in range(p_nk.shape[1])]
    return of_report(one_against_rest(p_nk, targets_nk, names, groups_n, exclusive=True, thresholds=half))


def of_report(report: dict[str, Any]) -> dict[str, Any]:
    return {key: rounded(report[key]) for key in ("auc", "ece", "balanced_accuracy")} | {"images": report["n"]}


def rounded(estimate: dict[str, float | None]) -> dict[str, float | None]:
    return {key: None if value is None else round(value, 4) for key, value in estimate.items()}


def pair_auc(p_nk: np.ndarray, labels_n: np.ndarray, groups_n: np.ndarray, pair: tuple[str, str]) -> dict[str, Any]:
    """AUC of the first class against the second among their images, by the ratio of the two probabilities."""
    chosen = np.isin(labels_n, pair)
    first, second = (p_nk[chosen][:, CLASSES.index(name)] for name in pair)
    score_n = np.log(first + 1e-12) - np.log(second + 1e-12)
    truth_n = (labels_n[chosen] == pair[0]).astype(float)
    statistic = measures(score_n[:, None], truth_n[:, None], exclusive=False, thresholds=[0])
    return rounded(bootstrap(statistic, groups_n[chosen])["auc"])


def plan(seeds: int) -> Iterator[tuple[str, str, str, int]]:
    """The rows in the order of what they decide: table, part, what is trained, seed."""
    for floor in FLOORS:
        yield "a", "Kermany", floor, 0
        yield "b", "pooled", floor, 0
        for unseen in ACROSS:
            yield "c", unseen, floor, 0
    yield "b", "pooled", "MEDUSA", 0
    for seed in range(seeds):
        for name in ("MEDUSA", "backbone alone (lite0)"):
            yield "a", "Kermany", name, seed
        if seed == 0:
            for name in list(RECIPES)[:3]:
                yield "c", "Cohen", name, 0
                yield "c", "radiography", name, 0
        yield "a", "Kermany", "isolated attention", seed
        if seed == 0:
            for name in list(RECIPES)[3:]:
                yield "c", "Cohen", name, 0
                yield "c", "radiography", name, 0
    for seed in range(seeds):  # the slowest last
        yield "a", "Kermany", "ResNet-18 from scratch", seed


def run_row(table: str, where: str, name: str, seed: int, pictures: Pictures, options: Any) -> dict[str, Any]:
    """Train and measure one row; its probabilities are kept for the differences."""
    if (table, name) == ("b", "MEDUSA"):
        model = load_model(options.model)[0]
        facts = {"parameters_M": round(count(model) / 1e6, 2)}
        return evaluated(options.model, pictures.source) | facts
    if table == "a":
        part = one_hospital(pictures, pictures.sources == KERMANY, ("normal", "pneumonia"))
    elif table == "b":
        part = one_hospital(pictures, np.ones(len(pictures.labels), bool), CLASSES)
    else:
        part = across(pictures, *ACROSS[where][:2])
    if name in FLOORS:
        found = floor_logits(name, part, pictures)
    elif table == "a":
        found = train_network(name, Recipe(), part, pictures, seed, options)
    else:
        found = train_network("MEDUSA", RECIPES[name], part, pictures, seed, options)
    p_nk, values = measured(found, part, pictures)
    test = np.array(part.split.held_out)
    labels_n, groups_n = pictures.labels[test], pictures.groups[test]
    np.savez(options.out / f"{key_of(table, where, name, seed)}.npz", p_nk=p_nk, rows=test)
    if table == "c":
        pairs = {f"{first} against {other}": (first, other) for first, other in ACROSS[where][2]}
        values = {text: pair_auc(p_nk, labels_n, groups_n, pair) for text, pair in pairs.items()}
    elif table == "b":
        for source in (KERMANY, COHEN):
            inside = pictures.sources[test] == source
            targets_nk = part.targets(labels_n[inside]).numpy()
            values[source] = estimates(p_nk[inside], targets_nk, groups_n[inside])
    return values | found["facts"]


def evaluated(folder: Path, source: LabelledStudies) -> dict[str, Any]:
    """What `attn chest evaluate --by source` says of a model: on all unseen images, and inside two sources."""
    report = evaluate(ChestPredictor.load(folder), source, by=["source"]).report()
    inside = {row["group"]: of_report(row) for row in report["groups"] if row["group"] in (KERMANY, COHEN)}
    return of_report(report) | inside


def differences(pictures: Pictures, options: Any) -> None:
    """MEDUSA minus the others on Kermany, the seeds' mean probabilities, paired."""
    found: dict[str, list[np.ndarray]] = {}
    rows = np.array([], int)
    for table, where, name, seed in plan(options.seeds):
        path = options.out / f"{key_of(table, where, name, seed)}.npz"
        if table == "a" and path.exists():
            kept = np.load(path)
            rows = kept["rows"]
            found.setdefault(name, []).append(kept["p_nk"])
    targets_nk = Part(Split([], [], []), ("normal", "pneumonia")).targets(pictures.labels[rows]).numpy()
    for name in sorted(found.keys() - {"MEDUSA", *FLOORS}) if "MEDUSA" in found else ():
        seeds = min(len(found[name]), len(found["MEDUSA"]))
        other, ours = (np.mean(found[each][:seeds], axis=0) for each in (name, "MEDUSA"))
        difference = rounded(paired_auc(other, ours, targets_nk, pictures.groups[rows]))
        keep(
            "chest_differences", {"row": f"a, MEDUSA minus {name}", "auc": difference, "seeds": seeds}, options.results
        )


def key_of(table: str, where: str, name: str, seed: int) -> str:
    return f"{table}, {where}, {name}, seed {seed}"


def done(results: Path) -> set[str]:
    path = results / "chest_tables.jsonl"
    return (
        {json.loads(line)["row"] for line in path.read_text(encoding="utf-8").splitlines()} if path.exists() else set()
    )


def minutes(text: str) -> float:
    return float(text[:-1]) * {"h": 60, "m": 1}[text[-1]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", action="store_true", help="print parameters and multiply-adds beside the paper's")
    parser.add_argument("--budget", type=minutes, default="2h", help="no row begins later than this: 90m, 2h")
    parser.add_argument("--out", type=Path, default=Path("runs/chest_tables"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--model", type=Path, default=Path("runs/chest"), help="the model of table b")
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--tables", default="abc", help="those to fill; two processes need an --out each")
    parser.add_argument("--rows", type=int, default=0, help="images a network trains on; 0 for all")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if options.sizes:
        for row in sizes():
            keep("chest_sizes", row, options.results)
        return
    began = time.monotonic()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    pictures = Pictures(chest(options.out), options.out, options.side)
    for table, where, name, seed in plan(options.seeds):
        key, start = key_of(table, where, name, seed), time.monotonic()
        if table not in options.tables or key in done(options.results) or (start - began) / 60 > options.budget:
            continue
        if (table, name) == ("b", "MEDUSA") and not (options.model / "model.json").exists():
            continue
        row = {"row": key} | run_row(table, where, name, seed, pictures, options)
        keep("chest_tables", row | {"minutes": round((time.monotonic() - start) / 60, 1)}, options.results)
    differences(pictures, options)


if __name__ == "__main__":
    main()
