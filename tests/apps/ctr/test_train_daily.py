"""Training day after day, with weights, and with a share of the rows without a click."""

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from ctr_fixtures import click_log, click_model

from attn.apps.ctr.data import open_clicks
from attn.apps.ctr.predict import CTRPredictor
from attn.apps.ctr.split import Split
from attn.apps.ctr.train import Recipe, train
from attn.core.errors import InputError
from attn.core.training.config import FitConfig
from attn.data_adapters.tables.codes import VALUES

SIZES = {"embedding": 8, "widths": (8, 8), "heads": 2}
RECIPE = Recipe(learning_rate=1e-2, batch_size=128)


def vectors(predictor: CTRPredictor, name: str) -> dict[str, torch.Tensor]:
    (place,) = (place for place in predictor.codebook.places if place.field.name == name)
    table_re = predictor.model.embedding.table.weight.detach()
    return dict(zip(predictor.codebook.vocabularies[name], table_re[place.first + VALUES :], strict=False))


def test_a_day_adds_values_and_the_others_keep_their_vectors(tmp_path: Path) -> None:
    start = CTRPredictor.load(click_model(), device="cpu")
    day = (
        click_log(600, seed=5)
        .filter(~pl.col("site").is_in(["s2", "s3"]))
        .with_columns(site=pl.col("site").replace({"s1": "new"}))
    )
    day.write_parquet(tmp_path / "day2.parquet")
    known = start.codebook.fields
    clicks = open_clicks(tmp_path / "day2.parquet", label="click", split=Split(shares=(0.2, 0.0)), known=known)
    said: list[str] = []
    record = train(clicks, tmp_path / "b", RECIPE, FitConfig(epochs=1), start=start, say=said.append, **SIZES)
    assert re.fullmatch(
        r"epoch 1: log loss 0\.\d+, AUC .* in validation; [0-9,]+ rows/s, at most 0.0 minutes left", said[-1]
    )
    after = CTRPredictor.load(tmp_path / "b", device="cpu")
    was, now = vectors(start, "site"), vectors(after, "site")
    assert set(now) == set(was) | {"new"}
    assert list(now)[-3:] == [site for site in was if site in ("s1", "s2", "s3")], "the last met come first"
    for site in ("s2", "s3", "s1"):
        assert torch.equal(now[site], was[site]), "nothing was learned about them"
    assert not torch.equal(now["s0"], was["s0"])
    assert record.data["days"] == [start.record.data["source"], str(tmp_path / "day2.parquet")]
    assert [one.kind for one in after.codebook.fields] == [one.kind for one in known]


def test_a_row_of_weight_two_is_two_rows(tmp_path: Path) -> None:
    """Of a click log in which half the sites are counted twice, the predicted rates are those of the repeated rows."""
    frame = click_log(1200, seed=3)
    frame.with_columns(weight=1 + 9 * pl.col("click")).write_parquet(tmp_path / "w.parquet")
    clicks = open_clicks(tmp_path / "w.parquet", label="click", weight="weight")
    assert "weight" not in [one.name for one in clicks.fields]
    record = train(clicks, tmp_path / "m", RECIPE, FitConfig(epochs=2), **SIZES)
    rate = frame["click"].mean()
    weighted = 10 * rate / (10 * rate + 1 - rate)
    assert record.metrics["rate"] == pytest.approx(weighted, abs=0.05)
    assert record.metrics["predicted_rate"] == pytest.approx(weighted, abs=0.1)
    assert record.data["weight"] == "weight"


@pytest.mark.parametrize("bad", [0.0, -1.0, None, float("inf")])
def test_a_weight_that_counts_nothing_is_refused(bad: float | None, tmp_path: Path) -> None:
    weights = [1.0] * 50 + [bad] + [1.0] * 49
    click_log(100).with_columns(weight=pl.Series(weights)).write_parquet(tmp_path / "w.parquet")
    clicks = open_clicks(tmp_path / "w.parquet", label="click", weight="weight")
    with pytest.raises(InputError, match=r"the weight 'weight' is .* in row 51"):
        train(clicks, tmp_path / "m", RECIPE, FitConfig(epochs=1), **SIZES)
    assert not (tmp_path / "m").exists()


def test_a_share_of_the_rows_without_a_click_gives_the_same_rates(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    site_n = draw.integers(0, 4, 12_000)
    rate_n = np.array([0.02, 0.05, 0.1, 0.2])[site_n]
    frame = pl.DataFrame({"site": [f"s{site}" for site in site_n], "click": (draw.random(12_000) < rate_n).astype(int)})
    frame.write_parquet(tmp_path / "t.parquet")
    clicks = open_clicks(tmp_path / "t.parquet", label="click", sampled=0.25)
    record = train(clicks, tmp_path / "m", Recipe(1e-2, 128, sampled=0.25), FitConfig(epochs=4), **SIZES)
    clicked = frame["click"].sum()
    parts = record.data["rows"]
    assert parts["train"] < 0.8 * (0.3 * (len(frame) - clicked) + clicked)
    assert parts["validation"] + parts["test"] > 0.17 * len(frame), "these are whole"
    predictor = CTRPredictor.load(tmp_path / "m", device="cpu")
    found = [p.probabilities["click"] for p in predictor.predict_many({"site": f"s{site}"} for site in range(4))]
    observed = frame.group_by("site").agg(pl.col("click").mean()).sort("site")["click"]
    assert found == pytest.approx(observed.to_list(), rel=0.35, abs=0.01)
