"""Train the music models that ship and the models they are compared with, each for a stated time on one core.

    uv run python benchmarks/music_train.py chorale --minutes 60
    uv run python benchmarks/music_train.py chorale-plain chorale-relative chorale-pitch-time --epochs 12
    uv run python benchmarks/music_train.py --ship chorale

A run that was stopped continues when it is started again. `--epochs` sets the number of epochs, so that several runs
see the same crops. `--minutes` computes it from the measured time of a step. `--ship` copies a trained model into
the package. `--average` mixes in one tenth of a second model's weights, which were trained from the first's (Wortsman
et al. 2022, arXiv:2203.05482); `music_quality.py` prints the likelihoods side by side.
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import torch

import attn
from attn.apps.music.corpus import CROPS_PER_PIECE, Crops
from attn.apps.music.model import MusicConfig, MusicTransformer, configure
from attn.apps.music.sources import Collection, open_collection
from attn.apps.music.styles import AnyStyle, Chorale, Piano
from attn.apps.music.train import MusicModule, Recipe, measure, train
from attn.core.models import folder as model_folder
from attn.core.training.config import FitConfig
from attn.core.training.malloc import keep_freed_memory

CHORALES = {"width": 128, "depth": 4, "heads": 4, "hidden": 512, "length": 512, "dropout": 0.15}
PIANO = {"width": 160, "depth": 4, "heads": 4, "hidden": 640, "length": 2048, "dropout": 0.0}
LOCAL = {"mixer": "relative_local:block=256", "sinusoids": False}
PLACES = "relative_places+relative+relative+relative"
ACCOMPANY = {"mixer": "relative", "source_vocabulary": Chorale().size}

# style, settings of the architecture, crop and batch
RUNS: dict[str, tuple[AnyStyle, dict[str, Any], dict[str, Any]]] = {
    "chorale-plain": (Chorale(), CHORALES | {"mixer": "softmax"}, {"crop": 256}),
    "chorale-relative": (Chorale(), CHORALES | {"mixer": "relative"}, {"crop": 256}),
    "chorale-pitch-time": (
        Chorale(),
        CHORALES | {"mixer": PLACES},
        {"crop": 256},
    ),
    "chorale": (
        Chorale(),
        CHORALES | {"mixer": PLACES, "width": 160, "heads": 5, "hidden": 640} | {"length": 1024},
        {"crop": 512, "batch_size": 2, "semitones": 5},
    ),
    "accompany": (Chorale(), CHORALES | ACCOMPANY, {"crop": 256, "semitones": 6}),
    "piano": (
        Piano(),
        PIANO | LOCAL | {"heads": 5, "length": 1024},
        {"crop": 1024, "batch_size": 2},
    ),
    "piano-relative": (Piano(), PIANO | LOCAL, {"crop": 2048, "batch_size": 2}),
    "piano-plain": (Piano(), PIANO | {"mixer": "softmax"}, {"crop": 2048, "batch_size": 2}),
}


LIMITS = {
    "piano": [
        "It was trained for 104 minutes on a processor. A layer looks back over at most 511 events: the music wanders.",
        "It knows solo piano music from concert competitions only.",
    ],
    "chorale": [
        "It knows only Bach's chorales. It does not know where their phrases end.",
        "It stops at the requested bar, with or without a cadence.",
    ],
    "accompany": [
        "It harmonises every melody as a Bach chorale, also a melody of another style.",
        "It was trained for minutes. Check the voice leading before anyone sings it.",
    ],
}
LICENCES = {"piano": "CC-BY-NC-SA-4.0"}  # that of MAESTRO, which it was trained on


def data_folder() -> Path:
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    return Path(os.environ.get("ATTN_DATA", default)) / "music"


def collection(style: AnyStyle, out: Path, *, stretched: bool = True) -> Collection:
    source = data_folder() / "maestro" if isinstance(style, Piano) else data_folder() / "jsb" / "Jsb16thSeparated.json"
    return open_collection(source, style, out / "tokens", stretched=stretched)


def configuration(style: AnyStyle, settings: dict[str, Any]) -> MusicConfig:
    return configure(vocabulary=style.size, voices=style.voices, cycles=style.cycles, **settings)


def plan(folder: Path, config: MusicConfig, pieces: Collection, style: AnyStyle, recipe: Recipe, minutes: float) -> int:
    """Epochs that fit the minutes; measured once and kept, so that a restart plans the same."""
    kept = folder.with_name(f"{folder.name}-epochs.json")
    if not kept.exists():
        crops = Crops(pieces.train, style, recipe.crop, recipe.semitones)
        module = MusicModule(MusicTransformer(config), crops, recipe)
        module.log = lambda *_, **__: None  # type: ignore[method-assign]
        times = []
        for _ in range(9):
            began = time.perf_counter()
            module.training_step([torch.arange(recipe.batch_size)], 0).backward()
            times.append(time.perf_counter() - began)
        crops_an_epoch = CROPS_PER_PIECE * len(pieces.train)
        epoch = 1.08 * statistics.median(times[1:]) * crops_an_epoch / recipe.batch_size
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(max(1, round(minutes * 60 / epoch))))
    epochs: int = json.loads(kept.read_text())
    return epochs


def run(name: str, out: Path, minutes: float, epochs: int | None) -> None:
    style, settings, changes = RUNS[name]
    recipe, folder = Recipe(**changes), out / name
    pieces, config = collection(style, out), configuration(style, settings)
    keep_freed_memory()
    epochs = epochs or plan(folder, config, pieces, style, recipe, minutes)
    resume = (folder / "run" / "checkpoints").exists()
    began = time.monotonic()
    fit = FitConfig(epochs=epochs, ema_decay=0.998, precision="bf16-mixed")
    record = train(pieces, folder, style, config, recipe, fit, resume=resume)
    print(name, f"{(time.monotonic() - began) / 60:.1f} minutes", record.metrics)


def ship(name: str, out: Path, second: Path | None) -> None:
    """Copy a model into the package in half precision, or its average with a tenth of the `second`, measured again."""
    record = model_folder.load_record(out / name)
    record = record.model_copy(update={"limits": LIMITS[name], "licence": LICENCES.get(name, "Apache-2.0")})
    state = model_folder.load_state(out / name, record)
    if second is not None:
        others = model_folder.load_state(second, model_folder.load_record(second))
        state = {key: value.lerp(others[key], 0.1) for key, value in state.items()}
        config, style = configure(**record.architecture), RUNS[name][0]
        model = MusicTransformer(config)
        model.load_state_dict(state)
        found = measure(model.eval(), style, collection(style, out).test, config.length)
        record = record.model_copy(update={"metrics": record.metrics | found})
    halves = {key: value.half() for key, value in state.items()}  # made floats again when they are read
    model_folder.save(Path(attn.__file__).parent / "apps" / "music" / "weights" / name, halves, record)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[[], *RUNS], metavar="RUN", help=", ".join(RUNS))
    parser.add_argument("--out", type=Path, default=Path("runs/music"))
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--ship", action="append", default=[], metavar="RUN")
    parser.add_argument("--average", type=Path, metavar="FOLDER", help="of the second model")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.names:
        run(name, options.out, options.minutes, options.epochs)
    for name in options.ship:
        ship(name, options.out, options.average)


if __name__ == "__main__":
    main()
