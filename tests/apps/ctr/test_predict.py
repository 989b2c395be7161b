"""A row, rows, a user with items and a table get the same answers; nothing unseen stops them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from ctr_fixtures import click_log, click_model, click_predictor
from polars.testing import assert_frame_equal

from attn.apps.ctr.folder import VOCABULARY
from attn.apps.ctr.predict import CTRPredictor
from attn.core.errors import InputError, ModelError, UsageError

COLUMNS = ["id", "label", "p_not click", "p_click", "uncertainty", "flags", "error", "model"]


def rows(count: int = 40) -> list[dict[str, object]]:
    return click_log(count, seed=9).drop("click").to_dicts()


def clicks(predictions: object) -> list[float]:
    return [p.probabilities["click"] for p in predictions]  # type: ignore[attr-defined]


def test_four_ways_to_ask_one_answer(tmp_path: Path):
    predictor, asked = click_predictor(), rows()
    many = clicks(predictor.predict_many(asked))
    assert clicks([predictor.predict(row) for row in asked]) == pytest.approx(many, abs=1e-6)
    click_log(40, seed=9).write_parquet(tmp_path / "t.parquet")
    predictor.predict_table(predictor.open(tmp_path / "t.parquet"), tmp_path / "p.parquet")
    assert pl.read_parquet(tmp_path / "p.parquet")["p_click"].to_list() == pytest.approx(many, abs=1e-6)
    user = {"user_id": 120, "at": asked[0]["at"]}
    items = [{name: row[name] for name in ("site", "price", "tags")} for row in asked]
    together = clicks(predictor.predict_many({**user, **item} for item in items))
    assert predictor.score(user, items).tolist() == pytest.approx(together, abs=1e-6)


def test_formats_hold_the_same(tmp_path: Path):
    predictor = click_predictor()
    click_log(30, seed=2).drop("click", "at").with_columns(at=pl.lit("2024-05-01 10:00:00")).write_csv(
        tmp_path / "t.csv"
    )
    table = predictor.open(tmp_path / "t.csv")
    for suffix in ("csv", "jsonl", "parquet"):
        predictor.predict_table(table, tmp_path / f"p.{suffix}", keep=["site"])
    parquet = pl.read_parquet(tmp_path / "p.parquet")
    assert parquet.columns == [*COLUMNS, "site"]
    assert parquet["id"].to_list() == [str(number) for number in range(1, 31)]
    csv = pl.read_csv(tmp_path / "p.csv", schema_overrides=parquet.schema)
    assert_frame_equal(csv.fill_null(""), parquet.fill_null(""))
    assert_frame_equal(pl.read_ndjson(tmp_path / "p.jsonl", schema_overrides=parquet.schema), parquet)


@pytest.mark.parametrize("named", [False, True])
def test_rows_of_a_table_are_those_of_the_stream(named: bool, tmp_path: Path):
    """Every cell, and the ids of a table that has a column of them, with a gap."""
    predictor, frame = click_predictor(), click_log(20, seed=7)
    if named:
        frame = frame.with_columns(id=pl.Series([None, *range(901, 920)]))
    frame.write_parquet(tmp_path / "t.parquet")
    predictor.predict_table(predictor.open(tmp_path / "t.parquet"), tmp_path / "p.parquet")
    streamed = [one.row(predictor.labels) for one in predictor.predict_many(frame.drop("click").to_dicts())]
    table = pl.read_parquet(tmp_path / "p.parquet")
    assert table.columns == COLUMNS
    assert_frame_equal(table, pl.DataFrame(streamed, schema=table.schema))
    assert table["id"][:2].to_list() == ["1", "901" if named else "2"]
    assert set(table["label"]) <= set(predictor.labels) and table["error"].null_count() == 20


def test_a_kept_column_does_not_hide_one_of_the_result(tmp_path: Path):
    predictor = click_predictor()
    click_log(5).with_columns(model=pl.lit("mine")).write_parquet(tmp_path / "t.parquet")
    table = predictor.open(tmp_path / "t.parquet")
    with pytest.raises(UsageError, match=r"t\.parquet: the column 'model' has the name of a column of the result"):
        predictor.predict_table(table, tmp_path / "p.csv", keep=["site", "model"])
    predictor.predict_table(table, tmp_path / "p.csv")
    assert pl.read_csv(tmp_path / "p.csv")["model"].unique().to_list() == [predictor.record.name]


def test_what_was_never_seen_is_scored_and_flagged():
    predictor = click_predictor()
    row = rows(1)[0] | {"site": "never", "tags": "polka", "price": "a lot", "user_id": -5}
    answer = predictor.predict(row)
    assert answer.error is None and 0 < answer.probabilities["click"] < 1
    assert set(answer.flags) >= {"unknown site", "unknown tags", "unknown user_id"}


def test_a_bad_row_among_good_ones_is_a_row_with_an_error():
    asked = [*rows(2), {"sight": "s1"}, rows(2)[0]]
    answers = list(click_predictor().predict_many(asked))
    assert [answer.error is None for answer in answers] == [True, True, False, True]
    assert "price" in answers[2].error and [answer.id for answer in answers] == ["1", "2", "3", "4"]
    assert clicks([answers[3]]) == pytest.approx(clicks([answers[0]]), abs=1e-6)
    with pytest.raises(InputError, match="the row has none of the columns user_id, site, price, tags, at"):
        click_predictor().predict({"sight": "s1"})
    with pytest.raises(InputError, match="the row has none of the columns"):
        click_predictor().score({}, [rows(1)[0], {"sight": "s1"}])


def test_a_column_that_a_row_lacks_is_an_empty_cell_with_a_flag():
    predictor, whole = click_predictor(), rows(1)[0]
    part = {name: cell for name, cell in whole.items() if name not in ("price", "tags")}
    answer, empty = predictor.predict(part), predictor.predict({**part, "price": None, "tags": None})
    assert set(answer.flags) - set(empty.flags) == {"missing price", "missing tags"}
    assert answer.probabilities == empty.probabilities
    items = [{"site": part["site"]}]
    user = {name: cell for name, cell in part.items() if name != "site"}
    assert predictor.score(user, items) == pytest.approx(clicks([answer]), abs=1e-6)


def test_rows_as_a_table_are_encoded_alike():
    predictor, asked = click_predictor(), [*rows(30), {"site": "s1"}, {"price": True, "tags": ["jazz", "news"]}]
    ours, theirs = predictor.encode(asked), predictor.codebook.encode(predictor.frame(asked))
    np.testing.assert_array_equal(ours.ids, theirs.ids)
    np.testing.assert_allclose(ours.numbers, theirs.numbers, rtol=1e-6)


def test_any_number_of_digits_is_a_number():
    predictor, row = click_predictor(), rows(1)[0]
    answers = predictor.predict_many({**row, "price": price} for price in (10**400, float("inf"), "1" * 400, "1e999"))
    found = clicks(answers)
    assert np.isfinite(found).all() and found == pytest.approx([found[0]] * 4)


def test_numbers_as_text_are_those_of_a_table():
    predictor = click_predictor()
    texts = ["1.5", "1_0", " 2", "2 ", "+3", "-.5", "1.", "1e2", "٣", "inf", "-Infinity", "nan", "0x10", "", "1e999"]
    table = pl.DataFrame({**{name: [None] * len(texts) for name in ("user_id", "site", "tags", "at")}, "price": texts})
    from_rows = predictor.encode([{"price": text} for text in texts]).numbers
    np.testing.assert_allclose(from_rows, predictor.codebook.encode(table).numbers, equal_nan=True)


def test_rows_are_taken_as_they_are_needed():
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield rows(1)[0]

    stream = click_predictor().predict_many(endless())
    next(stream)
    assert len(taken) <= 1024


def test_columns_that_go_come_and_change(tmp_path: Path):
    predictor, frame = click_predictor(), click_log(20, seed=3)
    frame.drop("price").write_parquet(tmp_path / "gone.parquet")
    with pytest.raises(InputError, match="has no column price, which the model was trained on"):
        predictor.open(tmp_path / "gone.parquet")
    other = frame.select(reversed(frame.columns)).with_columns(
        pl.col("user_id").cast(pl.Float64), pl.col("price").cast(pl.String), extra=pl.lit(1)
    )
    other.write_parquet(tmp_path / "other.parquet")
    frame.write_parquet(tmp_path / "same.parquet")
    outs = []
    for name in ("other", "same"):
        predictor.predict_table(predictor.open(tmp_path / f"{name}.parquet"), tmp_path / f"{name}-p.parquet")
        outs.append(pl.read_parquet(tmp_path / f"{name}-p.parquet")["p_click"])
    np.testing.assert_allclose(outs[0], outs[1], atol=1e-6)


def test_nothing_is_left_of_an_answer_that_failed(tmp_path: Path):
    predictor = click_predictor()
    click_log(20).write_parquet(tmp_path / "t.parquet")
    table = predictor.open(tmp_path / "t.parquet")

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    for name in ("p.csv", "p.parquet"):
        with pytest.raises(KeyboardInterrupt):
            predictor.predict_table(table, tmp_path / name, advance=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]
    with pytest.raises(UsageError, match=r"format from '\.txt'"):
        predictor.predict_table(table, tmp_path / "p.txt")


def test_a_broken_vocabulary_is_one_sentence(tmp_path: Path):
    for path in click_model().iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / VOCABULARY).write_bytes(b"PAR1 nothing")
    with pytest.raises(ModelError, match=r"vocabulary\.parquet: is not the file that model\.json was written with"):
        CTRPredictor.load(tmp_path)
    record = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(record | {"files": {}}))  # as of an older version
    with pytest.raises(ModelError, match=r"vocabulary\.parquet: is not a table"):
        CTRPredictor.load(tmp_path)
    (tmp_path / VOCABULARY).unlink()
    with pytest.raises(ModelError, match="is missing"):
        CTRPredictor.load(tmp_path)


def test_frames_are_rows_and_what_is_no_row_is_one_sentence():
    predictor, asked = click_predictor(), rows(3)
    many = clicks(predictor.predict_many(asked))
    frame = pl.DataFrame(asked)
    for each in (frame, frame.lazy(), pd.DataFrame(asked)):
        assert clicks(predictor.predict_many(each)) == many
        assert predictor.score({}, each).tolist() == pytest.approx(many, abs=1e-6)
        with pytest.raises(InputError, match=r"a row is a mapping from columns to cells, not a (Data|Lazy)Frame"):
            predictor.predict(each)
    whole = asked[0]
    for user, items, what in (
        (whole, whole, "str"),
        (whole, ["a"], "str"),
        (whole, [whole, 3], "int"),
        (frame, asked, "DataFrame"),
        ("user", asked, "str"),
    ):
        with pytest.raises(InputError, match=f"a row is a mapping from columns to cells, not a {what}"):
            predictor.score(user, items)
    assert [answer.error for answer in predictor.predict_many(["site"])] == [
        "a row is a mapping from columns to cells, not a str; give a frame, or a list of rows, to predict_many"
    ]
    assert clicks([predictor.predict(pd.DataFrame(asked).iloc[1])]) == pytest.approx(many[1:2], abs=1e-6)


def test_a_column_that_is_empty_in_every_row_is_named():
    predictor, frame = click_predictor(), click_log(20, seed=7)
    assert predictor.scored(frame).unseen.never_there() == []
    bare = frame.with_columns(site=pl.lit(None, pl.String), price=pl.lit(None, pl.Float64))
    assert set(predictor.scored(bare).unseen.never_there()) == {"site", "price"}
    unread = frame.with_columns(at=pl.lit("yesterday"))  # which is said as unknown
    assert predictor.scored(unread).unseen.never_there() == []
