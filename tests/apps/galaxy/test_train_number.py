"""A number instead of a class: the split, the training, the model folder, and what the commands make of it."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from galaxy_fixtures import micro_config, write_set
from typer.testing import CliRunner

from attn.apps.galaxy.anomaly import FALSE_ALARMS
from attn.apps.galaxy.evaluate_number import evaluate_number
from attn.apps.galaxy.predict import GalaxyPredictor
from attn.apps.galaxy.train import Recipe
from attn.apps.galaxy.train_number import FEWEST, number_in, number_split, train_number
from attn.cli import app
from attn.core.errors import ModelError, TrainingError
from attn.core.models.record import load_record
from attn.core.training.config import FitConfig
from attn.data_adapters.sky.labelled import open_galaxies


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny set, and for each picture how bright it is: a number that its pixels say. Not to be changed."""
    path = write_set(tmp_path_factory.mktemp("numbers") / "set")
    images, rows = open_galaxies(path, label="kind"), pl.read_csv(path)
    light = [float(images.read(row).pixels.mean()) for row in range(len(images))]
    rows.with_columns(light=pl.Series(light), frac=pl.Series(np.array(light) / max(light))).write_csv(path)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, table: Path) -> Path:
    """A model of the column `frac`. Not to be changed."""
    out = tmp_path_factory.mktemp("numbers") / "model"
    source = open_galaxies(table, label="frac")
    train_number(source, "frac", out, micro_config(), Recipe(batch_size=8), FitConfig(epochs=2))
    return out


def test_every_part_has_small_and_large_numbers() -> None:
    values = np.random.default_rng(0).lognormal(size=1000)
    split = number_split(values)
    assert sorted([*split.train, *split.validation, *split.held_out]) == list(range(1000))
    assert (len(split.held_out), len(split.validation)) == (200, 80)
    for part in (split.train, split.validation, split.held_out):
        assert np.median(values[part]) == pytest.approx(np.median(values), rel=0.15)
    assert number_split(values) == split


@pytest.mark.parametrize("count", [FEWEST, 21, 39, 40, 57, 100])
def test_few_rows_are_split_too(count: int) -> None:
    split = number_split(np.arange(count) % 7.0)
    assert min(len(split.train), len(split.validation), len(split.held_out)) >= 2


def test_what_cannot_be_learned() -> None:
    with pytest.raises(TrainingError, match="19 rows are too few"):
        number_split(np.arange(19.0))
    with pytest.raises(TrainingError, match="all rows have one 'z'"):
        number_in(np.full(30, 0.5), "z")
    assert number_in(np.array([0.0, 1.0]), "f").share and not number_in(np.array([0.0, 1.1]), "f").share


def test_the_record_says_what_is_answered(model: Path, table: Path) -> None:
    record = load_record(model)
    assert (record.labels, record.architecture["classes"]) == ([], 1)
    assert record.calibration["number"]["name"] == "frac" and record.calibration["number"]["share"]
    assert (
        record.calibration["anomaly"]["false_alarms"] == FALSE_ALARMS
        and GalaxyPredictor.load(model).anomaly is not None
    )
    assert {"r2", "mae", "rank_correlation", "measured_on"} <= record.metrics.keys()
    assert "classes" not in record.data and record.data["target"] == "frac"


def test_a_row_has_the_number_and_no_class(model: Path, table: Path) -> None:
    predictor = GalaxyPredictor.load(model)
    images = open_galaxies(table, label="frac")
    rows = list(predictor.predict_many([images.read(0), images.read(1)], embeddings=True))
    for row in rows:
        assert (row.label, row.probabilities, row.error) == (None, {}, None)
        assert 0 < float(row.values["frac"]) < 1 and row.embedding is not None
    one = predictor.predict(images.read(0), tta=True)
    assert one.values["frac"] != rows[0].values["frac"]


def test_it_is_measured_on_what_it_has_not_seen(model: Path, table: Path) -> None:
    predictor, source = GalaxyPredictor.load(model), open_galaxies(table, label="frac")
    found = evaluate_number(predictor, source, by="kind")
    assert found.measured_on == f"the {len(found.rows)} rows held out when the model was trained, of {len(source)}"
    assert {source.ids[row] for row in found.rows} == set(load_record(model).data["held_out"])
    expected = [predictor.predict(source.read(row)).values["frac"] for row in found.rows]
    np.testing.assert_allclose(found.predicted, expected, atol=1e-5)
    np.testing.assert_allclose(found.true, [float(source.labels[row]) for row in found.rows])
    report = found.report()
    assert report["mae"]["value"] == pytest.approx(np.abs(found.predicted - found.true).mean())
    assert sum(group["n"] for group in report["groups"]) == report["n"]
    assert load_record(model).metrics["mae"] == pytest.approx(report["mae"]["value"])


def test_a_record_with_labels_and_a_number_is_refused(model: Path, tmp_path: Path) -> None:
    for file in model.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    record = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(record | {"labels": ["a"]}))
    with pytest.raises(ModelError, match="has a number, and labels or several outputs as well"):
        GalaxyPredictor.load(tmp_path)


def attn(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["galaxy", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def test_the_commands(model: Path, table: Path, tmp_path: Path) -> None:
    code, _, _ = attn("evaluate", table, "--model", model, "--out", tmp_path / "report")
    assert code == 0 and (tmp_path / "report" / "scatter.png").exists()
    assert json.loads((tmp_path / "report" / "report.json").read_text())["target"] == "frac"
    assert attn("predict", table, "--model", model, "--out", tmp_path / "r.parquet")[0] == 0
    rows = pl.read_parquet(tmp_path / "r.parquet")
    assert rows["frac"].is_between(0, 1).all() and rows["label"].is_null().all()
    assert rows["given_frac"].to_list() == pl.read_csv(table)["frac"].to_list()
    picture = table.parent / pl.read_csv(table)["path"][0]
    for refused in (
        ("explain", picture, "--model", model, "--out", tmp_path / "x"),
        ("calibrate", table, "--label", "kind", "--model", model, "--out", tmp_path / "x"),
        ("export", "--model", model, "--out", tmp_path / "x.onnx"),
    ):
        code, _, said = attn(*refused)
        assert code == 2 and "answers with a number, 'frac'" in said, refused
    code, _, said = attn("evaluate", table, "--model", model, "--map", "a=b")
    assert code == 2 and "--map has no effect for a model that answers with a number" in said
    code, _, said = attn("train", table, "--target", "light", "--label", "kind", "--out", tmp_path / "y")
    assert code == 2 and "--label has no effect with --target" in said
