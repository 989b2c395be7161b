"""Tiny sets of galaxies, radiographs, music and individuals, and models that were trained on them for a moment."""

from pathlib import Path

import pytest
from chest_fixtures import micro_config as micro_medusa
from chest_fixtures import write_set as write_chests
from galaxy_fixtures import micro_config, write_set
from music_fixtures import record_of, tiny_model, write_chorales, write_performances
from reid_fixtures import write_photographs
from typer.testing import CliRunner

from attn.apps.chest.train import Recipe as ChestRecipe
from attn.apps.chest.train import train as train_chest
from attn.apps.galaxy.augment import AugmentConfig
from attn.apps.galaxy.model import AstroformerConfig
from attn.apps.galaxy.train import Recipe, train
from attn.apps.music.styles import Chorale, Piano
from attn.cli import app
from attn.core.models import folder as model_folder
from attn.core.training.config import FitConfig
from attn.data_adapters.dicom.labelled import open_studies
from attn.data_adapters.images.labelled import LabelledImages
from attn.data_adapters.sky.labelled import open_galaxies


@pytest.fixture(scope="session")
def labelled_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of the tiny set: three kinds of twelve 40 px pictures. Not to be changed."""
    return write_set(tmp_path_factory.mktemp("galaxies") / "set")


@pytest.fixture(scope="session")
def labelled(labelled_table: Path) -> LabelledImages:
    """The tiny set, opened."""
    return open_galaxies(labelled_table, label="kind")


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
def chest_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of a tiny set of drawn radiographs. Not to be changed."""
    return write_chests(tmp_path_factory.mktemp("chests") / "set")


@pytest.fixture(scope="session")
def chest_model(tmp_path_factory: pytest.TempPathFactory, chest_table: Path) -> Path:
    """A model folder, with a gate, made by two epochs of training on the tiny set. Not to be changed."""
    out = tmp_path_factory.mktemp("chests") / "micro"
    train_chest(open_studies(chest_table), out, micro_medusa(), ChestRecipe(batch_size=8), FitConfig(epochs=2))
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
        model_folder.save(folders[name], model.state_dict(), record_of(model, style, name))
    return folders


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """labels.csv of twelve individuals with six photographs each, three of them in a split for testing. Read only."""
    return write_photographs(tmp_path_factory.mktemp("reid") / "photographs", individuals=12, test=3)


@pytest.fixture(scope="session")
def reid_model(tmp_path_factory: pytest.TempPathFactory, photographs: Path) -> Path:
    """A model folder, made by the command line. Not to be changed."""
    out = tmp_path_factory.mktemp("reid") / "model"
    command = ["reid", "train", photographs, "--variant", "smallest", "--epochs", 2, "--batch-size", 16, "--out", out]
    done = CliRunner().invoke(app, [*map(str, command)])
    assert done.exit_code == 0, done.stderr
    return out
