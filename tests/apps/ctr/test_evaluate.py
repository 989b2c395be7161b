"""The rows that a model has not seen are measured, and no others are called held out."""

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from ctr_fixtures import click_log, click_model, click_table

from attn.apps.ctr.data import open_clicks
from attn.apps.ctr.evaluate import Evaluation, calibrate, evaluate_table
from attn.apps.ctr.predict import CTRPredictor
from attn.apps.ctr.split import Split
from attn.apps.ctr.train import Recipe, train
from attn.apps.ctr.used import overlap, sample_in, sampled, written
from attn.core.errors import InputError
from attn.core.training.config import FitConfig

LOG = click_log(600)


def measured(model: Path, table: Path, **options: object) -> Evaluation:
    predictor = CTRPredictor.load(model)
    return evaluate_table(predictor, predictor.open(table), "click", **options)  # type: ignore[arg-type]


def trained(out: Path, table: Path, **options: object) -> Path:
    clicks = open_clicks(table, label="click", **options)  # type: ignore[arg-type]
    train(clicks, out, Recipe(), FitConfig(epochs=1), embedding=4, widths=(8,), heads=1)
    return out


@pytest.mark.parametrize(
    "split", [Split(), Split(time="at"), Split(group="user_id", seed=3)], ids=["random", "at", "user"]
)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_of_the_table_of_its_training_the_test_rows_are_measured(split: Split, suffix: str, tmp_path: Path):
    """Also where the file has moved: the numbers are those of the record."""
    table = tmp_path / f"t.{suffix}"
    LOG.write_csv(table) if suffix == "csv" else LOG.write_parquet(table)
    model = trained(tmp_path / "m", table, split=split)
    record = CTRPredictor.load(model).record
    found = measured(model, table.rename(tmp_path / f"moved.{suffix}"))
    rows = record.data["rows"]
    assert found.measured_on == (
        f"the {rows['test']} rows of 600 held out when the model was trained; left out: {rows['train']} that the model "
        f"was trained on and {rows['validation']} that chose its best epoch"
    )
    assert len(found.labels_n) == rows["test"] == found.unseen.rows
    assert found.report()["auc"] == pytest.approx(record.metrics["auc"], abs=1e-6)


def test_groups_are_those_of_the_rows_measured(tmp_path: Path):
    LOG.write_parquet(tmp_path / "t.parquet")
    found = measured(trained(tmp_path / "m", tmp_path / "t.parquet"), tmp_path / "t.parquet", group="user_id")
    assert found.groups_n is not None and len(found.groups_n) == len(found.labels_n) < 600


def test_tables_apart_are_known_by_what_they_were_for(tmp_path: Path):
    parts = {"train": LOG[:400], "validation": LOG[400:500], "test": LOG[500:]}
    for name, frame in parts.items():
        frame.write_csv(tmp_path / f"{name}.csv")
    model = trained(
        tmp_path / "m", tmp_path / "train.csv", validation=tmp_path / "validation.csv", test=tmp_path / "test.csv"
    )
    found = measured(model, tmp_path / "test.csv")
    assert len(found.labels_n) == 100 and found.measured_on.endswith("test.csv, held out when the model was trained")
    with pytest.raises(
        InputError, match=r"train\.csv: the model has seen all 400 rows: 400 that the model was trained on"
    ):
        measured(model, tmp_path / "train.csv")
    with pytest.raises(InputError, match=r"validation\.csv: the model has seen all 100 rows: it chose its best epoch"):
        measured(model, tmp_path / "validation.csv")


def test_another_table_is_measured_whole(tmp_path: Path):
    click_log(300, seed=4).write_parquet(tmp_path / "t.parquet")
    found = measured(click_model(), tmp_path / "t.parquet")
    assert found.measured_on.endswith("t.parquet; the model was not trained on this table")
    assert len(found.labels_n) == 300


def test_the_rows_of_the_training_in_another_order_are_known(tmp_path: Path):
    """Nothing calls them held out, or says that the model was not trained on them."""
    click_log().sample(fraction=1, shuffle=True, seed=2).write_parquet(tmp_path / "t.parquet")
    said = measured(click_model(), tmp_path / "t.parquet").measured_on
    assert "held out" not in said and "not trained" not in said
    assert "1024 of 1024 sampled rows equal rows that the model was trained on" not in said  # a tenth was for the test
    seen, of = map(int, re.findall(r"; (\d+) of (\d+) sampled rows equal", said)[0])
    assert seen == 1024 and of - seen == pytest.approx(of / 10, rel=0.4)


@pytest.mark.parametrize(("part", "more"), [(slice(40, 240), 0), (slice(0, 2400), 1), (slice(0, 1200), 300)])
def test_of_a_part_of_the_table_of_the_training_a_sample_is_known(part: slice, more: int, tmp_path: Path):
    """Also of one with rows added: about nine of ten of its own rows were used."""
    pl.concat([click_log()[part], click_log(300, seed=7)[:more]]).write_parquet(tmp_path / "t.parquet")
    found = measured(click_model(), tmp_path / "t.parquet")
    clause = r"t\.parquet; (\d+) of (\d+) sampled rows equal rows that the model was trained on$"
    seen, of = map(int, re.findall(clause, found.measured_on)[0])
    rows = len(found.labels_n)
    assert 0.3 < of / rows < 0.6  # 1,024 of the about 2,160 rows used
    assert abs(seen / of - 0.9 * (1 - more / rows)) < 0.08


def test_an_overlap_is_estimated_from_the_least_hashes():
    draw = np.random.default_rng(0)
    used_n, other_n = (draw.integers(0, 2**64, 30_000, np.uint64) for _ in range(2))
    sample_s = sampled(used_n)
    assert len(sample_s) == 1024 and (sampled(used_n[:9], used_n[5:]) == sample_s).all()
    assert overlap(used_n, sample_s) == (1024, 1024) and overlap(other_n, sample_s)[0] == 0
    seen, of = overlap(np.concatenate([used_n[:6000], other_n[:4000]]), sample_s)
    assert 250 < of < 450 and abs(seen / of - 0.6) < 0.08
    assert overlap(used_n[:50], sampled(used_n[:70])) == (50, 50)
    assert (sample_in({"rows": written(sample_s)}, "rows") == sample_s).all()
    for strange in (None, {"rows": 3}, {"rows": ["x"]}, {"rows": ["f" * 17]}, {"rows": [7]}):
        assert len(sample_in(strange, "rows")) == 0


def test_a_record_whose_hashes_polars_made_does_not_say_what_it_was_trained_on(tmp_path: Path):
    predictor = CTRPredictor.load(click_model())
    predictor.record.data["tables"] = {"table": "0" * 64}
    found = evaluate_table(predictor, predictor.open(click_table()), "click", calibrated=False)
    assert "the model's record does not say which rows it was trained on" in found.measured_on


def test_a_part_of_the_table_of_a_calibration_is_known(tmp_path: Path):
    click_log(900, seed=5).write_parquet(tmp_path / "t.parquet")
    calibrate(click_model(), tmp_path / "t.parquet", None, tmp_path / "better")
    click_log(900, seed=5)[:300].write_parquet(tmp_path / "part.parquet")
    found = measured(tmp_path / "better", tmp_path / "part.parquet").measured_on
    assert found.endswith("; 300 of 300 sampled rows equal rows that it was calibrated on")
    assert "calibrated" not in measured(tmp_path / "better", tmp_path / "part.parquet", calibrated=False).measured_on


def test_a_calibration_is_stored_and_used_and_its_rows_are_not_held_out_afterwards(tmp_path: Path):
    click_log(900, seed=5).write_parquet(tmp_path / "t.parquet")
    said = calibrate(click_model(), tmp_path / "t.parquet", None, tmp_path / "better")
    assert said["logloss_after"] <= said["logloss_before"] and said["fitted_on"].startswith("all 900 rows")
    better = CTRPredictor.load(tmp_path / "better")
    assert better.record.metrics == CTRPredictor.load(click_model()).record.metrics
    found = measured(tmp_path / "better", tmp_path / "t.parquet", calibrated=False).report()
    assert found["logloss"] == pytest.approx(said["logloss_after"], abs=1e-6)
    assert found["predicted_rate"] == pytest.approx(found["rate"], abs=1e-3)
    with pytest.raises(
        InputError, match=r"t\.parquet: the model has seen all 900 rows: it was calibrated on them; give"
    ):
        measured(tmp_path / "better", tmp_path / "t.parquet")


def test_calibrated_on_the_table_of_its_training_a_model_has_no_row_left(tmp_path: Path):
    said = calibrate(click_model(), click_table(), None, tmp_path / "better")
    assert "held out when the model was trained; left out" in said["fitted_on"]
    rows = CTRPredictor.load(click_model()).record.data["rows"]
    seen = f"{rows['train']} that the model was trained on and {rows['validation']} that chose its best epoch"
    with pytest.raises(InputError, match=f"all 2400 rows: {seen}, and {rows['test']} that it was calibrated on; give"):
        measured(tmp_path / "better", click_table())


@pytest.mark.parametrize(
    "data",
    [{}, {"tables": 3, "split": [1]}, {"tables": {}, "split": {"shares": [2, 3], "no": 1}}, {"split": {"time": 7}}],
)
def test_records_of_strangers_and_older_versions_measure_all_rows(data: dict[str, object], tmp_path: Path):
    click_log(50, seed=6).write_parquet(tmp_path / "t.parquet")
    predictor = CTRPredictor.load(click_model())
    predictor.record.data = data
    found = evaluate_table(predictor, predictor.open(tmp_path / "t.parquet"), "click")
    assert len(found.labels_n) == 50 and np.isfinite(found.logits_n).all()
