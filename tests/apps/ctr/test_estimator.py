"""`CTRClassifier` in scikit-learn's hands: frames, arrays, classes, clones, pipelines and its own checks."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch
from ctr_fixtures import click_log
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import (
    check_class_weight_classifiers,
    check_classifiers_train,
    parametrize_with_checks,
)

from attn import CTRClassifier
from attn.apps.ctr import estimator
from attn.apps.ctr.folder import BUNDLED_MODEL
from attn.core.errors import ModelError

SMALL = {"epochs": 3, "embedding": 4, "widths": (8,), "heads": 2, "learning_rate": 1e-2, "batch_size": 128}
TINY = SMALL | {"epochs": 1, "embedding": 2, "widths": (2,), "heads": 1}


@pytest.fixture(scope="module")
def log() -> pl.DataFrame:
    return click_log(800)


@pytest.fixture(scope="module")
def fitted(log: pl.DataFrame) -> CTRClassifier:
    return CTRClassifier(**SMALL).fit(log.drop("click"), log["click"])


def test_a_frame_is_learned_and_unseen_rows_are_ranked(fitted: CTRClassifier):
    later = click_log(1500, seed=9)
    p_n2 = fitted.predict_proba(later.drop("click"))
    assert p_n2.shape == (1500, 2) and p_n2.sum(1) == pytest.approx(1)
    assert roc_auc_score(later["click"], p_n2[:, 1]) > 0.6
    assert (fitted.predict(later.drop("click")) == fitted.classes_[p_n2.argmax(1)]).all()


def test_pandas_and_polars_are_the_same_rows(fitted: CTRClassifier, log: pl.DataFrame):
    rows = log.drop("click").head(100)
    columns = {name: cells.to_list() for name, cells in rows.to_dict().items()}
    assert fitted.predict_proba(pd.DataFrame(columns)) == pytest.approx(fitted.predict_proba(rows), abs=1e-6)
    assert fitted.predict_proba(rows.lazy()) == pytest.approx(fitted.predict_proba(rows))


def test_a_clone_learns_the_same(fitted: CTRClassifier, log: pl.DataFrame):
    again = clone(fitted).fit(log.drop("click"), log["click"])
    rows = log.drop("click").head(50)
    assert again.predict_proba(rows) == pytest.approx(fitted.predict_proba(rows), abs=1e-6)
    with pytest.raises(NotFittedError):
        clone(fitted).predict(rows)


def test_classes_of_any_kind_in_a_pipeline(log: pl.DataFrame):
    rows = log.head(400)
    labels = np.where(rows["click"].to_numpy() == 1, "yes", "no")
    pipeline = make_pipeline(FunctionTransformer(), CTRClassifier(**SMALL))
    scores = cross_val_score(pipeline, rows.drop("click"), labels, cv=2, scoring="roc_auc")
    assert np.isfinite(scores).all() and scores.mean() > 0.5
    pipeline.fit(rows.drop("click"), labels)
    assert set(pipeline.predict(rows.drop("click"))) <= {"yes", "no"}


def test_weights_of_rows_and_classes_move_the_rates(log: pl.DataFrame):
    rows, y_n = log.drop("click"), log["click"].to_numpy()
    plain = CTRClassifier(**SMALL | {"dnn": 4, "fields": {"price": {"transform": "log2"}}}).fit(rows, y_n)
    assert next(one for one in plain.predictor_.codebook.fields if one.name == "price").transform == "log2"
    assert len(plain.predictor_.model.config.dnn) == 1
    heavy = CTRClassifier(**SMALL, class_weight={0: 1, 1: 9}).fit(rows, y_n)
    of_rows = CTRClassifier(**SMALL).fit(rows, y_n, sample_weight=np.where(y_n == 1, 9, 1))
    rates = [each.predict_proba(rows)[:, 1].mean() for each in (plain, heavy, of_rows)]
    assert rates[1] > rates[0] + 0.1 and rates[2] == pytest.approx(rates[1])
    z_n, p_n2 = heavy.decision_function(rows), heavy.predict_proba(rows)
    assert 1 / (1 + np.exp(-z_n)) == pytest.approx(p_n2[:, 1])
    assert heavy.predict_log_proba(rows) == pytest.approx(np.log(p_n2))


def test_three_classes_are_refused(log: pl.DataFrame):
    with pytest.raises(ValueError, match="Only binary classification"):
        CTRClassifier(**SMALL).fit(log.drop("click"), np.arange(len(log)) % 3)


def test_columns_are_found_by_name_and_rows_may_be_sparse_within(fitted: CTRClassifier, log: pl.DataFrame):
    rows = log.drop("click").head(50)
    p_n2 = fitted.predict_proba(rows)
    assert fitted.predict_proba(rows.select(reversed(rows.columns))) == pytest.approx(p_n2)
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict_proba(rows.rename({rows.columns[0]: "other"}))
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        CTRClassifier(**TINY).fit(scipy.sparse.eye_array(20).tocsr(), np.arange(20) % 2)
    dense_nm = np.random.default_rng(0).integers(0, 3, (60, 2)).astype(float)
    frames = [pd.DataFrame(dense_nm, columns=["a", "b"], dtype=each) for each in (float, "Sparse[float]")]
    dense, sparse = (CTRClassifier(**TINY).fit(each, dense_nm[:, 0] > 1).predict_proba(each) for each in frames)
    assert sparse == pytest.approx(dense)


def test_other_rows_end_the_training(log: pl.DataFrame):
    rows, y_n = log.drop("click"), log["click"].to_numpy()
    one = CTRClassifier(**TINY).fit(rows[:300], y_n[:300], eval_set=(rows[300:400], y_n[300:400]))
    assert one.predictor_.record.data["rows"] == {"train": 300, "validation": 100, "test": 0}
    for wrong in (rows, (rows[:9], y_n[:8]), (rows[:9], y_n[:9] + 5), (rows[:9], 0 * y_n[:9]), (rows[:300], y_n[:300])):
        with pytest.raises(ValueError):
            CTRClassifier(**TINY).fit(rows[:300], y_n[:300], eval_set=wrong)


def test_a_warm_start_goes_on(log: pl.DataFrame):
    rows, y_n = log.drop("click"), np.where(log["click"].to_numpy() == 1, "yes", "no")
    first = CTRClassifier(**TINY, warm_start=True).fit(rows[:400], y_n[:400])
    known = first.predictor_.codebook.vocabularies["user_id"]
    first.set_params(learning_rate=1e-9).fit(rows[400:], y_n[400:])
    assert set(known) <= set(first.predictor_.codebook.vocabularies["user_id"])
    anew = CTRClassifier(**TINY).fit(rows[400:], y_n[400:])
    before = CTRClassifier(**TINY).fit(rows[:400], y_n[:400])
    moved, other = (
        np.abs(each.decision_function(rows[:100]) - before.decision_function(rows[:100])).mean()
        for each in (first, anew)
    )
    assert moved < other / 2
    with pytest.raises(ValueError, match="classes are"):
        first.fit(rows[:10], np.arange(10))


def test_saved_and_loaded(fitted: CTRClassifier, log: pl.DataFrame, tmp_path: Path):
    rows = log.drop("click").head(40)
    fitted.save(tmp_path / "kept")
    again = CTRClassifier.load(tmp_path / "kept")
    assert again.predict_proba(rows) == pytest.approx(fitted.predict_proba(rows), abs=1e-6)
    assert again.classes_.tolist() == fitted.classes_.tolist()
    assert {**again.get_params(), "widths": (8,)} == {**fitted.get_params(), "dnn": list(fitted.dnn)}
    assert again.feature_names_in_.tolist() == rows.columns
    array_nm = np.random.default_rng(0).normal(size=(60, 2))
    names = np.where(array_nm[:, 0] > 0, "b", "a")
    of_array = CTRClassifier(
        **TINY | {"epochs": np.int64(1)}, class_weight={np.str_("a"): np.float64(1), "b": 2.5}
    ).fit(array_nm, names)
    of_array.save(tmp_path / "array")
    again = CTRClassifier.load(tmp_path / "array")
    assert (
        again.class_weight == of_array.class_weight
        and again.predict(array_nm).tolist() == of_array.predict(array_nm).tolist()
    )
    codes_n = (names == "b").astype(np.int64)
    weights = dict(zip(np.unique(codes_n), [1.0, 2.5], strict=True))  # its keys are numbers of numpy
    CTRClassifier(**TINY | {"epochs": 1}, class_weight=weights).fit(array_nm, codes_n).save(tmp_path / "codes")
    assert CTRClassifier.load(tmp_path / "codes").class_weight == weights
    with pytest.raises(ModelError, match="saved by"):
        CTRClassifier.load(BUNDLED_MODEL)


@pytest.mark.parametrize(
    "settings", [{"epochs": 0}, {"dropout": 1.0}, {"preset": "none"}, {"heads": 3}, {"fields": {"a": {"kind": "x"}}}]
)
def test_what_is_wrong_is_a_value_error(settings: dict[str, object], log: pl.DataFrame):
    with pytest.raises(ValueError):
        CTRClassifier(**TINY | settings).fit(log.drop("click")[:50], log["click"][:50])
    with pytest.raises(ValueError, match="is Struct"):
        CTRClassifier(**TINY).fit(pl.DataFrame({"a": [{"b": 1}, {"b": 2}] * 4}), [0, 1] * 4)


def test_columns_called_as_what_attn_adds(log: pl.DataFrame):
    rows = log.drop("click").head(60)
    names = ["label", "weight", "id", "error"]
    odd = rows.select(rows.columns[:4]).rename(dict(zip(rows.columns, names, strict=False)))
    fitted = CTRClassifier(**TINY).fit(odd, log["click"][:60], np.ones(60))
    assert set(fitted.predictor_.codebook.columns) <= set(names) and len(fitted.predict(odd)) == 60


@pytest.mark.slow
def test_a_search_on_two_jobs(log: pl.DataFrame):
    search = GridSearchCV(CTRClassifier(**TINY), {"dropout": [0.0, 0.1]}, cv=2, n_jobs=2, error_score="raise")
    search.fit(log.drop("click").head(300), log["click"].head(300).to_numpy())
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_training_uses_one_thread_and_gives_the_number_back(log: pl.DataFrame, monkeypatch: pytest.MonkeyPatch):
    used = []
    monkeypatch.setattr(estimator, "train_prepared", lambda *_, **__: used.append(torch.get_num_threads()))
    torch.set_num_threads(2)
    with pytest.raises(ModelError):  # as nothing is written
        CTRClassifier(**TINY).fit(log.drop("click")[:50], log["click"][:50])
    assert used == [1] and torch.get_num_threads() == 2


EXPECTED = {
    "check_classifiers_train": "asks for an accuracy that takes more than one epoch; see the test below",
    "check_class_weight_classifiers": "the same",
    "check_sample_weight_equivalence_on_dense_data": "which rows stop the training is drawn by their place, and a "
    "repeated row has two places",
}


@pytest.mark.slow
@parametrize_with_checks([CTRClassifier(**TINY)], expected_failed_checks=lambda _: EXPECTED)
def test_scikit_learns_own_checks(estimator: CTRClassifier, check: Callable[[CTRClassifier], None]):
    check(estimator)


@pytest.mark.slow
def test_scikit_learns_checks_that_take_more_epochs():
    longer = CTRClassifier(epochs=30, embedding=8, widths=(16,), learning_rate=3e-2, batch_size=32)
    for readonly in (False, True):
        check_classifiers_train("CTRClassifier", longer, readonly_memmap=readonly)
    check_class_weight_classifiers("CTRClassifier", longer)
