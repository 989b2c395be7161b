"""How well individuals are told apart, against what, and what DCAL adds: the tables of docs/results.md.

    uv run python benchmarks/reid_tables.py --budget 2h --out runs/reid_tables

a   nyala: photographs of individuals never trained on, each a query among those of its flank and of other encounters
b   cars: pictures of models never trained on, each a query among the others

Rows: floors that learn nothing of individuals, networks without attention, and the hybrid with self-attention alone,
with each part of DCAL and with both; all with the same losses, batches and epochs. Choices were made on individuals of
validation (`reid_data.py`). One row at a time is trained and kept in `--results`; rows that are there are skipped, so
a run that was stopped continues. Intervals resample individuals; differences are paired, the seeds pooled.
"""

import argparse
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reid_data import Pictures, pictures
from reid_networks import FINE_TUNED, FLOORS, HYBRIDS, PROJECTED, SCRATCH, network
from rows import RESULTS, keep
from torch import nn
from torch.utils.data import DataLoader

from attn.apps.reid.data import ReIDData, maps_of
from attn.apps.reid.model import DCAL
from attn.apps.reid.preprocess import to_unit
from attn.apps.reid.sampling import PairedSampler
from attn.apps.reid.start import begin_at_features
from attn.apps.reid.train import Recipe, ReIDModule, best_mixture, measure
from attn.core.measures.bootstrap import Statistic, bootstrap, paired_bootstrap
from attn.core.measures.retrieval import Retrieval
from attn.core.training.config import FitConfig
from attn.core.training.fit import fit
from attn.core.training.pixels import CachedPixels
from attn.core.training.seeding import seed_generators

SETS = {"a": "nyala", "b": "cars"}
SIZES = {"a": (288, 288), "b": (160, 224)}
EPOCHS = {"a": 4, "b": 2}
RECIPES = {
    "a": Recipe(batch_size=32, mirror="another"),  # a mirrored left flank is a right flank of nobody
    "b": Recipe(batch_size=32, mirror="same"),
}
BASE = "hybrid, self-attention"
SEEDS = 3


def train(
    model: nn.Module,
    started: list[str],
    shown: Pictures,
    recipe: Recipe,
    epochs: int,
    seed: int,
    run: Path,
    precision: str = "32-true",
) -> dict[str, Any]:
    """Train by the recipe; the weights of the epoch that is best on validation go into `model`. What it cost.

    A network that has a start begins at its features, and ends between them and what it learned (`best_mixture`).
    """
    train_set, validation_set, seconds = sets_of(model, shown)
    began = time.process_time() - seconds
    rows = np.array(shown.split.validation)
    validated = shown.target_n.numpy()[rows], shown.within()[rows]
    facts: dict[str, Any] = {}
    if hybrid(model):
        begin_at_features(model, lambda: maps_of(train_set, recipe.mirror, shown.classes))
        facts["validation_mAP_begun"] = round(measure(model.eval(), validation_set, *validated)["mAP"], 4)
    begun = {name: value.clone() for name, value in model.state_dict().items()}
    if epochs:
        identity_n = shown.target_n[shown.split.train].tolist()
        partners = recipe.batch_size // recipe.share_partner if model.config.pairs and recipe.partners == "set" else 0
        sampler = PairedSampler(identity_n, recipe.batch_size, images=recipe.images, partners=partners, seed=seed)
        module = ReIDModule(model, recipe, shown.classes, validated, started)
        shutil.rmtree(run, ignore_errors=True)
        config = FitConfig(epochs=epochs, seed=seed, monitor="val_map", mode="max", precision=precision)
        model.train()
        result = fit(module, ReIDData(train_set, validation_set, sampler), config, run)
        state, facts["share"] = result.state_of("model"), 1.0
        if started:
            state, facts["share"] = best_mixture(model, begun, state, validation_set, validated)
        model.load_state_dict(state)
        facts |= {"epochs": epochs, "best_epoch": result.best_epoch}
    return {
        "parameters_M": round(sum(p.numel() for p in model.parameters()) / 1e6, 2),
        **facts,
        "validation_mAP": round(measure(model.eval(), validation_set, *validated)["mAP"], 4),
        "cpu_minutes": round((time.process_time() - began) / 60, 1),
    }


def sets_of(model: nn.Module, shown: Pictures) -> tuple[CachedPixels, CachedPixels, float]:
    """To train on and to validate on: maps where the model has stages that do not learn, else pictures.

    And the seconds that the maps cost, when they were made.
    """
    if not hybrid(model):
        return shown.training(), shown.shown(shown.split.validation), 0.0
    (train_set, one), (validation_set, other) = (shown.maps(part, model.early) for part in ("train", "validation"))
    return train_set, validation_set, one + other


def hybrid(model: nn.Module) -> bool:
    return isinstance(model, DCAL) and model.config.body == "lite0"


@torch.inference_mode()
def embedded(model: nn.Module, shown: Pictures) -> np.ndarray:
    """Of the pictures of the test."""
    model.eval()
    device = next(model.parameters()).device
    dataset = shown.maps("test", model.early)[0] if hybrid(model) else shown.shown(shown.test)
    parts = [model.embed(to_unit(x.to(device))).float() for x, _ in DataLoader(dataset, 64)]
    return torch.cat(parts).cpu().numpy()


def plan() -> Iterator[tuple[str, str, int]]:
    """The rows in the order of what they decide, every row at one seed before a second seed: table, row, seed."""
    runs = [("a", 0), ("b", 0), *(("a", seed) for seed in range(1, SEEDS))]
    for table in SETS:
        for name in (*FLOORS, PROJECTED):
            yield table, name, 0
    for names in ((FINE_TUNED, *HYBRIDS), (SCRATCH,)):  # the slowest last
        for table, seed in runs:
            for name in names:
                yield table, name, seed


def run_row(table: str, name: str, seed: int, shown: Pictures, options: Any) -> dict[str, Any]:
    """Train and measure one row; what each query gained is kept for the differences."""
    facts: dict[str, Any] = {}
    if name in FLOORS:
        vectors_nf = FLOORS[name](shown.exact_n3st[shown.test])
        vectors_nf = vectors_nf / np.linalg.norm(vectors_nf, axis=1, keepdims=True)
    else:
        recipe = RECIPES[table]
        seed_generators(seed)
        model, started = network(name, SIZES[table], shown.classes * (2 if recipe.mirror == "another" else 1))
        epochs = 0 if name == PROJECTED else options.epochs or EPOCHS[table]
        run = options.out / "run"
        facts = train(model, started, shown, recipe, epochs, seed, run)
        torch.save(model.state_dict(), options.out / f"{key_of(table, name, seed)}.pt")
        vectors_nf = embedded(model, shown)
    measured = shown.measured(vectors_nf, shown.test)
    np.savez(options.out / f"{key_of(table, name, seed)}.npz", ap=measured.ap, rank1=measured.cmc[:, 0])
    return estimates(measured, shown) | facts


def estimates(measured: Retrieval, shown: Pictures) -> dict[str, Any]:
    """mAP and rank 1 with intervals over individuals, and mINP."""
    values, groups = measured.summary(), np.array(shown.source.identities)[shown.test]
    intervals = bootstrap(mean_of(measured.ap, measured.cmc[:, 0]), groups[measured.valid])
    kept = {name: rounded(intervals[name]) for name in ("mAP", "rank1")}
    return {**kept, "mINP": round(values["mINP"], 4), "queries": values["queries"]}


def mean_of(ap_q: np.ndarray, rank1_q: np.ndarray) -> Statistic:
    """Weighted means over the queries that count."""
    valid = ~np.isnan(ap_q)
    values = {"mAP": ap_q[valid], "rank1": rank1_q[valid]}
    return lambda w_rn: {name: w_rn @ value / w_rn.sum(1) for name, value in values.items()}


def rounded(estimate: dict[str, float | None]) -> dict[str, float | None]:
    return {key: None if value is None else round(value, 4) for key, value in estimate.items()}


def pooled(table: str, name: str, folder: Path, seeds: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Average precision and rank 1 of each query, the mean over seeds."""
    found = [np.load(folder / f"{key_of(table, name, seed)}.npz") for seed in seeds]
    return np.mean([each["ap"] for each in found], axis=0), np.mean([each["rank1"] for each in found], axis=0)


def differences(table: str, shown: Pictures, options: Any) -> None:
    """Each part of DCAL minus the hybrid with self-attention alone, over the seeds that both have."""
    groups = np.array(shown.source.identities)[shown.test]
    for name in [each for each in HYBRIDS if each != BASE]:
        paths = [[options.out / f"{key_of(table, each, seed)}.npz" for each in (name, BASE)] for seed in range(SEEDS)]
        seeds = [seed for seed, both in enumerate(paths) if all(path.exists() for path in both)]
        if not seeds:
            continue
        base, ours = (pooled(table, each, options.out, seeds) for each in (BASE, name))
        valid = ~np.isnan(base[0])
        difference = paired_bootstrap(mean_of(*base), mean_of(*ours), groups[valid])
        row = {"row": f"{table}, {name}", "seeds": len(seeds)} | {key: rounded(difference[key]) for key in difference}
        keep("reid_differences", row, options.results)


def key_of(table: str, name: str, seed: int) -> str:
    return f"{table}, {name}, seed {seed}"


def done(results: Path) -> set[str]:
    path = results / "reid_tables.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {json.loads(line)["row"] for line in lines}


def minutes(text: str) -> float:
    return float(text[:-1]) * {"h": 60, "m": 1}[text[-1]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", type=minutes, default="2h", help="no row begins later than this: 90m, 2h")
    parser.add_argument("--out", type=Path, default=Path("runs/reid_tables"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--tables", default="ab", help="those to fill")
    parser.add_argument("--epochs", type=int, help="of every row, in place of the table's own")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    began, shown = time.monotonic(), {}
    for table, name, seed in plan():
        key = key_of(table, name, seed)
        if (
            table not in options.tables
            or key in done(options.results)
            or (time.monotonic() - began) / 60 > options.budget
        ):
            continue
        if table not in shown:
            shown[table] = pictures(SETS[table], SIZES[table], options.out / "pixels")
        keep("reid_tables", {"row": key} | run_row(table, name, seed, shown[table], options), options.results)
        differences(table, shown[table], options)


if __name__ == "__main__":
    main()
