"""`CTRClassifier` in scikit-learn's hands: frames, arrays, classes, clones, pipelines and its own checks."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from ctr_fixtures import click_log
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator

from attn import CTRClassifier

SMALL = {"epochs": 3, "embedding": 4, "widths": (8,), "heads": 2, "learning_rate": 1e-2, "batch_size": 128}


@pytest.fixture(scope="module")
def log() -> pl.DataFrame:
    return click_log(1500)


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
    rows = log.head(600)
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


@pytest.mark.slow
def test_scikit_learns_own_checks():
    drawn = "which rows stop the training is drawn by their place, and a repeated row has two"
    expected = {
        "check_classifiers_train": "three epochs of a tiny model do not reach its accuracy",
        "check_sample_weight_equivalence_on_dense_data": drawn,
    }
    check_estimator(CTRClassifier(**SMALL), expected_failed_checks=expected, on_skip=None)
