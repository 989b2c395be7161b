"""Training from labelled pictures to a model folder, at the size of a toy."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from galaxy_fixtures import micro_config, write_set
from safetensors.torch import load_file

from attn.apps.galaxy.data import stratified_split
from attn.apps.galaxy.evaluate import HEADLINES, evaluate
from attn.apps.galaxy.predict import GalaxyPredictor, load_model
from attn.apps.galaxy.train import train
from attn.core.errors import InputError, TrainingError
from attn.core.models.folder import load_record, load_state, save
from attn.core.models.used import array_hash
from attn.core.training.config import FitConfig
from attn.data_adapters.sky.labelled import open_galaxies

ONE, TWO = FitConfig(epochs=1), FitConfig(epochs=2)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Five pictures a class: a run of a second."""
    return open_galaxies(write_set(tmp_path_factory.mktemp("small") / "set", per_class=5), label="kind")


@pytest.fixture(scope="module")
def one_epoch(tmp_path_factory, small, recipe):
    """A run of one epoch with a further column."""
    out = tmp_path_factory.mktemp("stopped") / "run"
    train(small, out, micro_config(), recipe, ONE, also=["T"])
    return out


@pytest.fixture
def stopped(tmp_path, one_epoch):
    """A copy of that run, which may be gone on with or spoilt."""
    return shutil.copytree(one_epoch, tmp_path / "run")


def test_a_run_leaves_a_model_folder_with_the_users_own_labels(micro_model, labelled):
    names = {path.name for path in micro_model.iterdir()}
    assert names == {"model.safetensors", "anomaly.safetensors", "model.json", "README.md", "run", ".attn"}
    kept = {path.name for path in (micro_model / "run").iterdir()}
    assert kept >= {"checkpoints", "metrics.csv", "curves.png", "data.json", ".gitignore"}
    record = load_record(micro_model)
    assert record.labels == ["disc", "ring", "round"] and record.app == "galaxy" and record.seed == 0
    assert record.data["sha256"] == labelled.fingerprint()["sha256"]
    assert len(record.data["held_out"]) == 8 and record.data["trained_on"] == 25  # 36 = 25 + 3 + 8
    assert record.metrics["measured_on"] == "8 held-out rows of 36"
    assert record.calibration["temperature"] > 0 and record.calibration["fitted_on"] == 3
    assert set(record.metrics) >= {"accuracy", "balanced_accuracy", "macro_f1", "ece", "recipe"}
    prediction = GalaxyPredictor.load(micro_model).predict(labelled.read(0))
    assert prediction.label in record.labels and set(prediction.probabilities) == set(record.labels)


@pytest.mark.parametrize("mixer", ["halo:block=2,halo=1", "neighborhood:kernel=3"])
def test_other_mixers_train(tmp_path, small, recipe, mixer):
    train(small, tmp_path / "run", micro_config(mixer=mixer), recipe, ONE)
    model, record = load_model(tmp_path / "run")
    assert record.architecture["mixer"] == mixer and model.config.mixer == mixer


def test_the_seed_fixes_the_weights(tmp_path, micro_model, labelled, recipe):
    train(labelled, tmp_path / "again", micro_config(), recipe, ONE)
    train(labelled, tmp_path / "other", micro_config(), recipe, replace(ONE, seed=1))
    first, again, other = (
        load_file(folder / "model.safetensors") for folder in (micro_model, tmp_path / "again", tmp_path / "other")
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_further_columns_and_extra_images_teach_and_leave_no_trace_in_the_model(tmp_path, micro_model, small, recipe):
    table = write_set(tmp_path / "extra", per_class=4)
    table.write_text(table.read_text().replace(",ring,", ",ring|disc,"))
    extra = open_galaxies(table, label="kind")
    train(small, tmp_path / "run", micro_config(), recipe, ONE, also=["T", "attributes"], extra=extra)
    record = load_record(tmp_path / "run")
    assert record.data["extra"]["count"] == 12 and record.data["trained_on"] == 9
    plain, taught = load_file(micro_model / "model.safetensors"), load_file(tmp_path / "run" / "model.safetensors")
    assert plain.keys() == taught.keys()


def test_extra_images_of_an_unknown_class_are_refused(tmp_path, small, recipe):
    table = write_set(tmp_path / "extra", per_class=1)
    table.write_text(table.read_text().replace(",ring,", ",comet,"))
    with pytest.raises(InputError, match="unknown class 'comet'; known: disc, ring, round"):
        train(small, tmp_path / "run", micro_config(), recipe, ONE, extra=open_galaxies(table, label="kind"))


def test_a_missing_further_column_is_named(tmp_path, small, recipe):
    with pytest.raises(InputError, match="no column 'bulge'; it has path, kind, T, attributes"):
        train(small, tmp_path / "run", micro_config(), recipe, ONE, also=["bulge"])


def test_a_run_begins_from_another_models_weights(tmp_path, micro_model, small, recipe):
    still = replace(recipe, learning_rate=0.0)
    lent = load_record(micro_model).model_copy(update={"licence": "CC-BY-4.0"})
    save(tmp_path / "micro", load_state(micro_model, lent), lent)
    record = train(small, tmp_path / "run", micro_config(), still, ONE, start=tmp_path / "micro")
    assert record.licence == "CC-BY-4.0"
    begun, given = load_file(tmp_path / "run" / "model.safetensors"), load_file(micro_model / "model.safetensors")
    learned = [name for name in given if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))]
    assert all(torch.equal(begun[name], given[name]) for name in learned)
    assert any("running_mean" in name and not torch.equal(begun[name], given[name]) for name in given)


def test_what_the_start_has_seen_is_not_called_held_out(tmp_path, micro_model, recipe):
    """Half of the pictures are those of the start's set."""
    used = load_record(micro_model).data["used"]
    source = open_galaxies(write_set(tmp_path / "set", per_class=9, first=6), label="kind")
    train(source, tmp_path / "run", micro_config(), recipe, ONE, start=micro_model)
    predictor = GalaxyPredictor.load(tmp_path / "run")
    record, stretch = predictor.record, predictor.preprocessing.stretch
    assert record.data["start"] == "micro" and {*record.data["used"]["start"]} == {*used["train"], *used["validation"]}
    held_out = [row for row in range(len(source)) if source.ids[row] in record.data["held_out"]]
    new = [row for row in held_out if array_hash(source.read(row, stretch).pixels) not in record.data["used"]["start"]]
    assert 0 < len(new) < len(held_out)
    said = f"{len(held_out) - len(new)} that the model it began from has seen"
    assert record.metrics["measured_on"] == f"{len(new)} held-out rows of 27; left out: {said}"
    found = evaluate(predictor, source)
    assert found.rows == new and found.measured_on.endswith(said)
    assert found.headlines() == pytest.approx({key: record.metrics[key] for key in HEADLINES})


def test_a_stopped_run_ends_as_the_uninterrupted_one(tmp_path, stopped, small, recipe):
    train(small, stopped, micro_config(), recipe, TWO, also=["T"], resume=True)
    train(small, tmp_path / "whole", micro_config(), recipe, TWO, also=["T"])
    resumed, whole = (
        load_file(folder / "run" / "checkpoints" / "last.safetensors") for folder in (stopped, tmp_path / "whole")
    )
    assert resumed.keys() == whole.keys()
    for name in whole:
        torch.testing.assert_close(resumed[name], whole[name], atol=1e-6, rtol=0)


def test_resuming_on_other_images_is_refused(tmp_path, stopped, recipe):
    other = open_galaxies(write_set(tmp_path / "other", per_class=6), label="kind")
    with pytest.raises(TrainingError, match=r"data\.json: .* started with data\.count = 15, now it is 18"):
        train(other, stopped, micro_config(), recipe, TWO, also=["T"], resume=True)


def test_resuming_on_the_same_table_with_one_image_replaced_is_refused(tmp_path, stopped, recipe):
    table = write_set(tmp_path / "set", per_class=5)
    with (table.parent / "disc_1.png").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(TrainingError, match=r"started with data\.sha256 = "):
        train(open_galaxies(table, label="kind"), stopped, micro_config(), recipe, TWO, also=["T"], resume=True)


@pytest.mark.parametrize(
    ("changes", "also", "named"),
    [
        ({"label_smoothing": 0.2}, ["T"], r"recipe\.label_smoothing = 0\.1, now it is 0\.2"),
        ({}, [], r"also = \['T'\], now it is \[\]"),
        ({}, ["T", "attributes"], r"also = \['T'\], now it is \['T', 'attributes'\]"),
    ],
)
def test_resuming_with_other_settings_is_refused(stopped, small, recipe, changes, also, named):
    with pytest.raises(TrainingError, match=f"the earlier run was started with {named}"):
        train(small, stopped, micro_config(), replace(recipe, **changes), TWO, also=also, resume=True)


def test_resuming_with_another_architecture_or_extra_images_is_refused(stopped, small, recipe):
    with pytest.raises(TrainingError, match=r"architecture\.drop_path = 0\.0, now it is 0\.3"):
        train(small, stopped, micro_config(drop_path=0.3), recipe, TWO, also=["T"], resume=True)
    with pytest.raises(TrainingError, match=r"extra\.count = absent, now it is 15"):
        train(small, stopped, micro_config(), recipe, TWO, also=["T"], extra=small, resume=True)


def test_a_run_is_resumed_from_a_folder_that_moved(tmp_path, stopped, recipe):
    moved = write_set(tmp_path / "elsewhere", per_class=5).rename(tmp_path / "elsewhere" / "renamed.csv")
    train(open_galaxies(moved, label="kind"), stopped, micro_config(), recipe, TWO, also=["T"], resume=True)
    assert load_record(stopped).metrics["epochs"] == 2


def test_a_run_that_wrote_nothing_down_is_trusted(stopped, small, recipe):
    (stopped / "run" / "data.json").unlink()
    train(small, stopped, micro_config(), recipe, TWO, also=["T"], resume=True)
    assert load_record(stopped).metrics["epochs"] == 2


@pytest.mark.parametrize("text", ["{", "[]", "\xff"])
def test_a_damaged_note_is_one_sentence(stopped, small, recipe, text):
    (stopped / "run" / "data.json").write_text(text, encoding="latin-1")
    with pytest.raises(TrainingError, match=r"data\.json: is not a JSON object; remove it to resume unchecked"):
        train(small, stopped, micro_config(), recipe, TWO, also=["T"], resume=True)


def test_a_refused_new_run_leaves_the_earlier_ones_note(tmp_path, stopped, labelled, recipe):
    before = (stopped / "run" / "data.json").read_bytes()
    with pytest.raises(TrainingError, match="holds an earlier run"):
        train(labelled, stopped, micro_config(), recipe, ONE)
    assert (stopped / "run" / "data.json").read_bytes() == before
    assert json.loads(before)["also"] == ["T"]


def test_nothing_to_resume_writes_nothing_down(tmp_path, small, recipe):
    with pytest.raises(TrainingError, match="nothing to resume"):
        train(small, tmp_path / "run", micro_config(), recipe, ONE, resume=True)
    assert not (tmp_path / "run" / "run" / "data.json").exists()


def test_all_images_that_cannot_be_read_are_listed_at_once_and_may_be_left_out(tmp_path, recipe, caplog):
    source = open_galaxies(write_set(tmp_path / "set", per_class=6), label="kind")
    split = stratified_split(source.labels)
    bad = [source.ids[part[0]] for part in (split.train, split.held_out)]
    for name in bad:
        (tmp_path / "set" / name).write_bytes(b"<html>not found</html>")
    with pytest.raises(TrainingError, match=f"2 of the images cannot be read: {bad[0]}, {bad[1]}; .*--skip-unreadable"):
        train(source, tmp_path / "run", micro_config(), recipe, ONE)
    assert sum("a web page, not a picture" in message for message in caplog.messages) == 2
    assert not (tmp_path / "run" / "model.json").exists()
    record = train(source, tmp_path / "other", micro_config(), recipe, ONE, skip_unreadable=True)
    assert record.data["skipped"] == bad and record.data["trained_on"] == len(split.train) - 1
    assert len(record.data["used"]["train"]) == len(split.train) - 1
