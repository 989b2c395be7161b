"""`inspect` finds what is in a table, `explain` the pair that matters: on tables made so that the answer is known."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from ctr_fixtures import click_log, click_predictor, click_table

from attn.apps.ctr.data import open_clicks
from attn.apps.ctr.evaluate import evaluate_table
from attn.apps.ctr.explain import explain_table
from attn.apps.ctr.inspect import inspect_table
from attn.apps.ctr.predict import CTRPredictor
from attn.apps.ctr.split import Split
from attn.apps.ctr.train import Recipe, train
from attn.core.errors import InputError
from attn.core.training.config import FitConfig


def test_kinds_counts_and_holes():
    rows, summary = inspect_table(click_table(), label="click")
    frame = pl.read_parquet(click_table())
    found = {row["field"]: row for row in rows}
    assert summary["rows"] == len(frame) and summary["rate"] == pytest.approx(frame["click"].mean())
    for name in ("site", "price"):
        assert found[name]["distinct"] == frame[name].drop_nulls().n_unique()
        assert found[name]["missing"] == pytest.approx(frame[name].null_count() / len(frame))
    assert found["site"]["most_frequent"] == frame["site"].drop_nulls().mode()[0]
    assert found["tags"]["distinct"] == 8
    assert not any(row["warning"] for row in rows)
    assert found["tags"]["auc_alone"] > 0.55  # the tag jazz


def test_a_field_that_gives_the_label_away_is_named(tmp_path: Path):
    frame = click_log(800).with_columns(
        code=pl.when(pl.col("click") == 1).then(pl.lit("paid")).otherwise(pl.lit("open")),
        revenue=pl.col("click") * 3.5 + pl.Series(np.random.default_rng(0).random(800)),
        id_like=pl.Series([f"v{number}" for number in range(800)]),  # every value once: says nothing of other rows
    )
    frame.write_parquet(tmp_path / "t.parquet")
    rows, _ = inspect_table(tmp_path / "t.parquet", label="click")
    assert {row["field"] for row in rows if row["warning"]} == {"code", "revenue"}


def test_what_a_later_table_has_that_the_first_has_not(tmp_path: Path):
    first = {"a": ["x", "y", "x", None], "b": ["one|two", "two", "one", "two|one"], "y": [0, 1, 0, 1]}
    pl.concat([pl.DataFrame(first)] * 30).write_csv(tmp_path / "first.csv")
    later = {"a": ["x", "z", "w", None], "b": ["one|three", "two", "three", None], "y": [0, 1, 1, 1]}
    pl.DataFrame(later).write_csv(tmp_path / "later.csv")
    (tmp_path / "fields.toml").write_text('[b]\nkind = "multi"\n')
    rows, _ = inspect_table(
        tmp_path / "first.csv", label="y", fields=tmp_path / "fields.toml", against=tmp_path / "later.csv"
    )
    found = {row["field"]: row["unseen"] for row in rows}
    assert found["a"] == pytest.approx(2 / 3) and found["b"] == pytest.approx(2 / 4)


def test_rows_that_were_copied_are_counted(tmp_path: Path):
    once = click_log(100).with_row_index("time")
    few = pl.concat([once.select("click", "site")] * 5)  # rows that come again by chance
    campaigns = pl.DataFrame({"campaign": [n % 100 for n in range(2000)], "click": [n // 100 % 2 for n in range(2000)]})
    for frame, said in ((once, False), (pl.concat([once] * 5), True), (few, False), (campaigns, False)):
        frame.write_parquet(tmp_path / "t.parquet")
        _, summary = inspect_table(tmp_path / "t.parquet", label="click")
        assert ("of the rows equal an earlier row" in " ".join(summary["notes"])) == said


def test_a_label_that_never_changes(tmp_path: Path):
    click_log(50).with_columns(click=pl.lit(1)).write_csv(tmp_path / "t.csv")
    with pytest.raises(InputError, match="is 1 in every row"):
        inspect_table(tmp_path / "t.csv", label="click")


@pytest.mark.slow
def test_the_only_pair_that_interacts_comes_first(tmp_path: Path):
    draw = np.random.default_rng(0)
    a, b, c, d = draw.integers(0, 3, (4, 6000))
    logit = 3.0 * ((a == b) - 0.5) + 1.0 * (c == 1)
    y = (draw.random(6000) < 1 / (1 + np.exp(-logit))).astype(int)
    columns = {name: [f"{name}{value}" for value in values] for name, values in zip("abcd", (a, b, c, d), strict=True)}
    pl.DataFrame({**columns, "y": y}).write_parquet(tmp_path / "t.parquet")
    clicks = open_clicks(tmp_path / "t.parquet", label="y", split=Split())
    train(clicks, tmp_path / "m", Recipe(batch_size=128), FitConfig(epochs=20), embedding=8, widths=(16, 16), heads=2)
    predictor = CTRPredictor.load(tmp_path / "m")
    pairs = explain_table(predictor, predictor.open(tmp_path / "t.parquet", also=["y"]), "y").interactions
    assert {pairs[0]["field"], pairs[0]["with"]} == {"a", "b"}
    assert pairs[0]["contrast"] > 3 * pairs[1]["contrast"] and pairs[0]["auc_drop"] > 0.1


def test_evaluation_counts_what_it_says():
    predictor = click_predictor()
    table = predictor.open(click_table(), also=["click"])
    evaluation = evaluate_table(predictor, table, "click", group="site")
    report = evaluation.report()
    held_out = report["rows"]  # a tenth of the 2,400, dealt row by row
    assert 180 < held_out < 300 and evaluation.measured_on.startswith(f"the {held_out} rows of")
    assert report["auc_interval"][0] < report["auc"] < report["auc_interval"][1]
    assert sum(row["rows"] for row in report["calibration"]) == held_out
    assert report["unseen"] == {} or max(report["unseen"].values()) < 0.05
