"""Training from a folder or a JSON file to a model that composes, at the size of a toy."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from music_fixtures import tiny_model
from safetensors.torch import load_file

from attn.apps.music.corpus import Crops
from attn.apps.music.likelihood import rates, surprise
from attn.apps.music.model import configure
from attn.apps.music.predict import MusicGenerator
from attn.apps.music.sources import Collection, open_collection
from attn.apps.music.styles import Chorale, Piano
from attn.apps.music.train import MusicModule, Recipe, begin_from, measure, train
from attn.core.errors import ModelError, TrainingError, UsageError
from attn.core.models.folder import load_record
from attn.core.training.config import FitConfig

ONE, TWO = FitConfig(epochs=1), FitConfig(epochs=2)
RECIPE = Recipe(batch_size=4, crop=64, learning_rate=1e-2)


def small(style, **changes):
    settings = {"vocabulary": style.size, "width": 16, "depth": 1, "heads": 2, "hidden": 32, "length": 64}
    return configure(**settings | {"voices": style.voices, "cycles": style.cycles} | changes)


@pytest.fixture(scope="module")
def pieces(chorales, tmp_path_factory) -> Collection:
    return open_collection(chorales, Chorale(), tmp_path_factory.mktemp("tokens"))


@pytest.fixture(scope="module")
def one_epoch(tmp_path_factory, pieces):
    """A run of one epoch on chorales."""
    out = tmp_path_factory.mktemp("runs") / "chorale"
    train(pieces, out, Chorale(), small(Chorale()), RECIPE, ONE)
    return out


@pytest.fixture
def stopped(tmp_path, one_epoch):
    """A copy of that run, which may be gone on with."""
    return shutil.copytree(one_epoch, tmp_path / "run")


def test_a_run_leaves_a_model_folder_that_composes(one_epoch, pieces):
    names = {path.name for path in one_epoch.iterdir()}
    assert names == {"model.safetensors", "model.json", "README.md", "run", ".attn"}
    record = load_record(one_epoch)
    assert (record.app, record.seed, record.data["sha256"]) == ("music", 0, pieces.fingerprint["sha256"])
    generator = MusicGenerator.load(one_epoch)
    assert generator.style == Chorale() and len(generator.generate(bars=1)[0].notes)
    again = rates(surprise(generator.model, Chorale(), pieces.test, length=64, stride=32))
    assert record.metrics["nll_per_token"] == pytest.approx(again["nll_per_token"], rel=1e-5)
    assert record.metrics["measured_on"] == "2 of 2 unseen pieces"


def test_performances_train_and_go_on(performances, tmp_path):
    style = Piano()
    collection = open_collection(performances, style, tmp_path / "tokens", stretched=True)
    record = train(collection, tmp_path / "run", style, small(style), RECIPE, ONE)
    assert 0 < record.metrics["nll_per_token"] < np.log(style.size) + 1
    assert record.data["pieces"]["train"] == len(collection.train)
    assert MusicGenerator.load(tmp_path / "run").generate(seconds=0.2)[0].ids.max() < style.size


def test_an_accompanist_trains_and_is_measured(pieces, tmp_path):
    config = small(Chorale(), source_vocabulary=Chorale().size)
    record = train(pieces, tmp_path / "run", Chorale(), config, RECIPE, ONE)
    generator = MusicGenerator.load(tmp_path / "run")
    assert generator.accompanies and record.metrics["nll_per_token"] > 0


def test_likelihood_grows_with_training(pieces, tmp_path):
    before = measure(tiny_model(Chorale(), depth=1, length=64), Chorale(), pieces.validation, 64)["nll_per_token"]
    record = train(pieces, tmp_path / "run", Chorale(), small(Chorale(), dropout=0.0), RECIPE, FitConfig(epochs=5))
    assert record.metrics["nll_per_token"] < 3.6 < np.log(Chorale().size) < before
    rows = (tmp_path / "run" / "run" / "metrics.csv").read_text().splitlines()
    losses = [float(row.split(",")[rows[0].split(",").index("val_loss")]) for row in rows[1:]]
    assert losses[-1] < losses[0]


def test_the_loss_can_be_driven_to_zero_on_one_crop(pieces):
    torch.manual_seed(0)
    model = tiny_model(Chorale(), depth=1, width=32, length=64)
    module = MusicModule(model, Crops(pieces.train[:1], Chorale(), 64, 0), RECIPE)
    batch = torch.from_numpy(pieces.train[0].with_edges(end=False)[None, :65].astype(np.int64))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        loss = module._loss(batch)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05


def test_a_stopped_run_is_gone_on_with(stopped, pieces):
    before = (stopped / "run" / "metrics.csv").read_text().splitlines()
    train(pieces, stopped, Chorale(), small(Chorale()), RECIPE, TWO, resume=True)
    rows = (stopped / "run" / "metrics.csv").read_text().splitlines()
    assert len(rows) == 3 and rows[:2] == before and load_record(stopped).metrics["epochs"] == 2


@pytest.mark.parametrize(
    ("config", "recipe", "named"),
    [
        ({}, {"crop": 128}, r"recipe\.crop = 64, now it is 128"),
        ({"width": 32}, {}, r"architecture\.width = 16, now it is 32"),
        ({}, {"semitones": 0}, r"recipe\.semitones = 3, now it is 0"),
    ],
)
def test_resuming_with_other_settings_is_refused(stopped, pieces, config, recipe, named):
    with pytest.raises(TrainingError, match=f"the earlier run was started with {named}"):
        train(pieces, stopped, Chorale(), small(Chorale(), **config), replace(RECIPE, **recipe), TWO, resume=True)


def test_resuming_on_other_pieces_is_refused(stopped, pieces):
    fewer = replace(pieces, fingerprint=pieces.fingerprint | {"sha256": "0"})
    with pytest.raises(TrainingError, match=r"started with data\.sha256"):
        train(fewer, stopped, Chorale(), small(Chorale()), RECIPE, TWO, resume=True)
    with pytest.raises(TrainingError, match="holds an earlier run"):
        train(pieces, stopped, Chorale(), small(Chorale()), RECIPE, ONE)


def test_a_run_begins_from_another_models_weights(tmp_path, one_epoch, music_models, pieces):
    config, state, licence = begin_from(str(one_epoch), "chorale", Chorale())
    assert licence == "Apache-2.0" and begin_from("bundled", "piano", Piano())[2] == "CC-BY-NC-SA-4.0"
    train(
        pieces,
        tmp_path / "run",
        Chorale(),
        config,
        replace(RECIPE, learning_rate=0.0),
        ONE,
        start=state,
        licence="CC0-1.0",
    )
    assert "CC0-1.0" in (tmp_path / "run" / "README.md").read_text()
    begun, given = load_file(tmp_path / "run" / "model.safetensors"), load_file(one_epoch / "model.safetensors")
    assert all(torch.equal(begun[name], given[name]) for name in given)
    assert begin_from(str(one_epoch), "chorale", Chorale(), 0.25)[0] == config.model_copy(update={"dropout": 0.25})
    with pytest.raises(UsageError, match="dropout must be less than 1, not 1"):
        begin_from(str(one_epoch), "chorale", Chorale(), 1.0)
    with pytest.raises(ModelError, match="has another vocabulary"):
        begin_from(str(one_epoch), "piano", Piano())
    with pytest.raises(ModelError, match="--accompany"):
        begin_from(str(one_epoch), "accompany", Chorale())
    with pytest.raises(ModelError, match="--accompany"):
        begin_from(str(music_models["accompany"]), "chorale", Chorale())


def test_crops_below_a_bar_are_refused_before_training(tmp_path, pieces):
    with pytest.raises(UsageError, match="less than a bar"):
        train(pieces, tmp_path / "run", Chorale(), small(Chorale()), replace(RECIPE, crop=32), ONE)


def test_without_test_pieces_there_is_nothing_to_measure(tmp_path, pieces):
    record = train(replace(pieces, test=[]), tmp_path / "run", Chorale(), small(Chorale()), RECIPE, ONE)
    assert record.metrics["measured_on"] == "0 of 0 unseen pieces"
    assert json.loads((tmp_path / "run" / "model.json").read_text())["metrics"]["nll_per_token"] is None
    assert len(MusicGenerator.load(tmp_path / "run").generate(bars=1)) == 1
