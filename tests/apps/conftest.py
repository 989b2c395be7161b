"""A tiny labelled set of galaxies and a model trained on it for one epoch; tiny music and models that are untrained."""

import csv
from pathlib import Path

import numpy as np
import pytest
from music_fixtures import record_of, tiny_model, write_chorales, write_performances
from PIL import Image

from attn.apps.galaxy.augment import AugmentConfig
from attn.apps.galaxy.model import AstroformerConfig
from attn.apps.galaxy.train import Recipe, train
from attn.apps.music.styles import Chorale, Piano
from attn.core import checkpoint
from attn.core.training import FitConfig
from attn.data_adapters.images import LabelledImages, open_labelled

PER_CLASS, SIDE = 12, 40
SHAPES = {"disc": (11, 4, 3.0), "round": (6, 6, 0.0), "ring": (9, 9, 0.5)}  # half axes in pixels, T type


def galaxy(kind: str, number: int, side: int = SIDE) -> np.ndarray:
    """A noisy picture of an ellipse or a ring on a dark sky, (side, side, 3) uint8."""
    draw = np.random.default_rng([list(SHAPES).index(kind), number])
    major, minor, _ = SHAPES[kind]
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    turn = draw.uniform(0, np.pi)
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    radius = np.hypot(along / major, across / minor)
    light = np.exp(-((radius - 0.8) ** 2) / 0.05) if kind == "ring" else np.exp(-(radius**2))
    tint = draw.uniform(0.7, 1, 3)
    picture = 20 + 180 * light[..., None] * tint + draw.normal(0, 3, (side, side, 3))
    return picture.clip(0, 255).astype(np.uint8)


def write_set(folder: Path, per_class: int = PER_CLASS) -> Path:
    """`labels.csv` with the columns path, kind, T and attributes, and its pictures; the path of the table."""
    folder.mkdir(parents=True)
    rows = []
    for kind, (_, _, stage) in SHAPES.items():
        for number in range(per_class):
            name = f"{kind}_{number}.png"
            Image.fromarray(galaxy(kind, number)).save(folder / name)
            bar = -1 if number == 0 else number % 3 / 2
            rows.append([name, kind, f"T{round(stage) - number % 2:+d}", f"Bar={bar};Incl={number % 5}"])
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "kind", "T", "attributes"], *rows])
    return folder / "labels.csv"


def micro_config(**changes: object) -> AstroformerConfig:
    """The smallest Astroformer with four stages."""
    return AstroformerConfig(
        stem=8, widths=(8, 16, 32, 32), depths=(1, 1, 1, 1), head=16, strides=(2, 2, 2, 1), image_size=32
    ).model_copy(update=changes)


@pytest.fixture(scope="session")
def labelled_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of the tiny set: three kinds of twelve 40 px pictures. Not to be changed."""
    return write_set(tmp_path_factory.mktemp("galaxies") / "set")


@pytest.fixture(scope="session")
def labelled(labelled_table: Path) -> LabelledImages:
    """The tiny set, opened."""
    return open_labelled(labelled_table, label="kind")


@pytest.fixture(scope="session")
def architecture() -> AstroformerConfig:
    """The micro Astroformer's configuration."""
    return micro_config()


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """Small batches, so that an epoch has several steps."""
    return Recipe(batch_size=8, augment=AugmentConfig())


@pytest.fixture(scope="session")
def micro_model(
    tmp_path_factory: pytest.TempPathFactory,
    labelled: LabelledImages,
    architecture: AstroformerConfig,
    recipe: Recipe,
) -> Path:
    """A model folder made by one epoch of training on the tiny set. Not to be changed."""
    out = tmp_path_factory.mktemp("runs") / "micro"
    train(labelled, out, architecture, recipe, FitConfig(epochs=1))
    return out


@pytest.fixture(scope="session")
def performances(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of twelve MIDI performances. Not to be changed."""
    return write_performances(tmp_path_factory.mktemp("music") / "performances")


@pytest.fixture(scope="session")
def chorales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JSON file of ten chorales with official splits. Not to be changed."""
    return write_chorales(tmp_path_factory.mktemp("music") / "chorales.json")


@pytest.fixture(scope="session")
def music_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of untrained models: piano, chorale, accompany. Not to be changed."""
    folders = {}
    for name, style in {"piano": Piano(), "chorale": Chorale(), "accompany": Chorale()}.items():
        model = tiny_model(style, source_vocabulary=style.size if name == "accompany" else None)
        folders[name] = tmp_path_factory.mktemp("music") / name
        checkpoint.save(folders[name], model.state_dict(), record_of(model, style, name))
    return folders
