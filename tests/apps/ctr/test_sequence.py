"""A sequence as a field: what came before, to which the target's vector attends."""

from pathlib import Path

import numpy as np
import onnxruntime
import polars as pl
import pytest
import torch
from sklearn.metrics import roc_auc_score

from attn import CTRClassifier
from attn.apps.ctr.explain import explain_row
from attn.apps.ctr.export import export
from attn.apps.ctr.predict import CTRPredictor
from attn.apps.ctr.sequence import TargetAttention
from attn.apps.ctr.serving.score import Scorer
from attn.core.errors import InputError
from attn.data_adapters.tables.fields import LONGEST, Field, overridden

ITEMS, KEPT = 8, 4
SEQUENCE = {"history": {"kind": "sequence", "target": "item", "most": KEPT}}
SMALL = {"embedding": 8, "widths": (8,), "batch_size": 64, "learning_rate": 2e-2, "dropout": 0.0}


def bought_again(rows: int, seed: int) -> tuple[pl.DataFrame, np.ndarray]:
    """Whoever had an item among the last KEPT clicks on it; older ones are forgotten, and no item is better."""
    draw = np.random.default_rng(seed)
    item_n = draw.integers(0, ITEMS, rows)
    past = [draw.integers(0, ITEMS, draw.integers(0, 7)) for _ in range(rows)]
    label_n = np.array([item in before[-KEPT:] for item, before in zip(item_n, past, strict=True)])
    texts = ["|".join(f"i{one}" for one in before) for before in past]
    return pl.DataFrame({"item": [f"i{one}" for one in item_n], "history": texts}), label_n.astype(int)


@pytest.fixture(scope="module")
def fitted() -> CTRClassifier:
    rows, label_n = bought_again(1500, 0)
    return CTRClassifier(**SMALL, epochs=12, fields=SEQUENCE).fit(rows, label_n)


def test_the_formula():
    torch.manual_seed(0)
    layer = TargetAttention(4, 3)
    torch.nn.init.normal_(layer.recency)
    x_b1e, s_bke = torch.randn(2, 1, 4), torch.randn(2, 3, 4)
    present_bk = torch.tensor([[True, True, False], [True, False, False]])
    found_b1e = layer(x_b1e, s_bke, present_bk)
    for b, count in enumerate((2, 1)):
        scores = [layer.query(x_b1e[b, 0]) @ layer.key(s_bke[b, k]) / 2 + layer.recency[k] for k in range(count)]
        weights = torch.stack(scores).softmax(0)
        assert found_b1e[b, 0].tolist() == pytest.approx((weights @ s_bke[b, :count]).tolist(), abs=1e-6)
    assert layer(x_b1e, s_bke, torch.zeros_like(present_bk)).abs().max() == 0


def test_values_of_a_sequence_have_the_rows_of_its_target(fitted: CTRClassifier):
    codebook = fitted.predictor_.codebook
    item, history = codebook.places
    assert (history.first, history.rows, history.width) == (item.first, item.rows, KEPT)
    assert codebook.rows == item.first + item.rows
    ids = codebook.encode(pl.DataFrame({"item": ["i3"], "history": ["i3|i1|i2|i3|i5|new"]})).ids[0]
    assert ids[1:].tolist()[1::2] == [fitted.predictor_.encode([{"item": "i5"}]).ids[0, 0], ids[4]]
    assert ids[3] == ids[0] and ids[1] == item.first  # i3 again, and a value that nobody knows


def test_what_came_before_is_learned(fitted: CTRClassifier):
    rows, label_n = bought_again(800, 1)
    auc = roc_auc_score(label_n, fitted.predict_proba(rows)[:, 1])
    assert auc > 0.85
    without = rows.with_columns(history=pl.lit(None, pl.String))
    assert abs(roc_auc_score(label_n, fitted.predict_proba(without)[:, 1]) - 0.5) < 0.1


def test_every_way_of_asking_gives_one_answer(fitted: CTRClassifier, tmp_path: Path):
    rows, _ = bought_again(60, 2)
    p_n = fitted.predict_proba(rows)[:, 1]
    lists = rows.with_columns(pl.col("history").str.split("|"))
    assert fitted.predict_proba(lists)[:, 1] == pytest.approx(p_n, abs=1e-6)
    predictor = fitted.predictor_
    for columns in (rows, lists):
        many = [each.probabilities[predictor.labels[1]] for each in predictor.predict_many(columns.to_dicts())]
        assert many == pytest.approx(p_n, abs=1e-6)
    items = [{"item": f"i{one}"} for one in range(ITEMS)]
    scores = predictor.score({"history": rows["history"][0]}, items)
    pairs = pl.DataFrame({"item": [one["item"] for one in items], "history": [rows["history"][0]] * ITEMS})
    assert scores == pytest.approx(fitted.predict_proba(pairs)[:, 1], abs=1e-6)
    assert export(predictor, tmp_path / "served") < 1e-5
    assert Scorer(tmp_path / "served").score(lists.to_dicts())[0] == pytest.approx(p_n, abs=1e-5)
    assert onnxruntime.InferenceSession(tmp_path / "served" / "model.onnx").get_inputs()[0].shape[1] == 1 + KEPT
    explained = explain_row(predictor, rows.row(0, named=True))
    assert explained.probability == pytest.approx(p_n[0], abs=1e-6) and explained.attention_lff.shape == (1, 2, 2)
    fitted.save(tmp_path / "kept")
    table = CTRPredictor.load(tmp_path / "kept")
    assert table.probabilities(table.logits(table.codebook.encode(rows))) == pytest.approx(p_n, abs=1e-6)


def test_another_day_keeps_the_vectors(fitted: CTRClassifier):
    rows, label_n = bought_again(200, 3)
    later = rows.with_columns(pl.col("item", "history").str.replace_all("i1", "j1"))
    fitted = CTRClassifier(**SMALL, epochs=1, fields=SEQUENCE, warm_start=True).fit(rows, label_n)
    fitted.set_params(epochs=1, fields=None).fit(later, label_n)
    places = fitted.predictor_.codebook.places
    assert places[1].first == places[0].first and {"i1", "j1"} <= set(
        fitted.predictor_.codebook.vocabularies["history"]
    )


@pytest.mark.parametrize(
    "wrong", [{}, {"target": "price"}, {"target": "gone"}, {"target": "item", "most": LONGEST + 1}]
)
def test_a_sequence_without_a_category_is_one_sentence(wrong: dict[str, object]):
    fields = [Field(name="item", column="item", kind="category"), Field(name="price", column="price", kind="number")]
    with pytest.raises(InputError, match=r"\[past\] has"):
        overridden(fields, {"past": {"kind": "sequence", **wrong}}, "f.toml", ["item", "price", "past"])


def test_a_target_of_what_is_no_sequence_is_one_sentence():
    fields = [Field(name="item", column="item", kind="category"), Field(name="past", column="past", kind="multi")]
    for kind in ("multi", "number", "category"):
        with pytest.raises(InputError, match=r"\[past\] has a target, but is a"):
            overridden(fields, {"past": {"kind": kind, "target": "item"}}, "f.toml", ["item", "past"])
    guessed = [fields[0], Field(name="past", column="past", kind="sequence", target="item")]
    assert overridden(guessed, {"past": {"kind": "multi"}}, "f.toml", ["item", "past"])[1].target is None


def test_longer_histories_of_a_later_day_are_kept():
    rows, label_n = bought_again(200, 0)
    later, later_n = bought_again(200, 1)
    short = rows.with_columns(pl.col("history").str.split("|").list.tail(2).list.join("|"))
    fitted = CTRClassifier(**SMALL, epochs=1, fields=SEQUENCE, warm_start=True).fit(short, label_n)
    assert fitted.predictor_.codebook.places[1].width == 2
    learned = torch.tensor([0.5, -0.5])
    next(iter(fitted.predictor_.model.embedding.targets.values())).recency.data = learned
    fitted.set_params(learning_rate=1e-9).fit(later, later_n)
    assert fitted.predictor_.codebook.places[1].width == KEPT
    assert next(iter(fitted.predictor_.model.embedding.targets.values())).recency[:2].tolist() == pytest.approx(
        learned.tolist(), abs=1e-3
    )
