"""Metrics against scikit-learn, and against loops."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from attn.apps.ctr.calibration import calibration_that_helps, fit_platt
from attn.apps.ctr.metrics import auc_error, calibration_picture, calibration_table, click_metrics, grouped_auc


def scores(rows: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    logits = rng.normal(-1, 1.5, rows).round(2)
    return logits, (rng.random(rows) < 1 / (1 + np.exp(-logits))).astype(np.uint8)


def test_auc_and_log_loss_are_scikit_learns():
    logits, labels = scores()
    found = click_metrics(logits, labels)
    p = 1 / (1 + np.exp(-logits))
    assert found["auc"] == pytest.approx(roc_auc_score(labels, p))
    assert found["logloss"] == pytest.approx(log_loss(labels, p))
    assert found["relative_improvement"] == pytest.approx(
        1 - log_loss(labels, p) / log_loss(labels, np.full(len(labels), labels.mean()))
    )
    assert click_metrics(logits, np.ones(len(logits)))["auc"] is None


def test_the_error_of_an_auc_is_that_of_many_samples():
    rng = np.random.default_rng(1)
    aucs = []
    for _ in range(400):
        labels = np.repeat([0, 1], [150, 50])
        aucs.append(roc_auc_score(labels, rng.normal(labels, 1)))
    assert auc_error(float(np.mean(aucs)), np.repeat([0, 1], [150, 50])) == pytest.approx(np.std(aucs), rel=0.15)


def test_auc_within_groups_is_a_loop_over_groups():
    logits, labels = scores()
    groups = np.random.default_rng(2).integers(0, 300, len(logits))
    total, weight = 0.0, 0
    for group in np.unique(groups):
        mine = groups == group
        if 0 < labels[mine].mean() < 1:
            total, weight = total + mine.sum() * roc_auc_score(labels[mine], logits[mine]), weight + mine.sum()
    found = grouped_auc(logits, labels, pl.Series(groups))
    assert found["grouped_auc"] == pytest.approx(total / weight)
    assert found["groups"] == len(np.unique(groups))


def test_tenths_hold_all_rows_in_order(tmp_path: Path):
    logits, labels = scores(1003)
    table = calibration_table(logits, labels)
    assert sum(row["rows"] for row in table) == 1003 and len(table) == 10
    assert [row["predicted"] for row in table] == sorted(row["predicted"] for row in table)
    assert sum(row["observed"] * row["rows"] for row in table) == pytest.approx(labels.sum())
    calibration_picture(table, tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_platts_line_is_an_unpenalised_logistic_regression():
    logits, labels = scores()
    slope, intercept = fit_platt(0.5 * logits + 1, labels)
    peer = LogisticRegression(C=1e9, tol=1e-8, max_iter=1000).fit((0.5 * logits + 1)[:, None], labels)
    assert (slope, intercept) == pytest.approx((peer.coef_[0, 0], peer.intercept_[0]), abs=1e-3)


def test_weights_are_rows_that_come_again():
    draw = np.random.default_rng(1)
    logits_n, weights_n = draw.normal(0, 1, 300), draw.integers(1, 4, 300)
    labels_n = (draw.random(300) < 1 / (1 + np.exp(-logits_n))).astype(float)
    weighted = click_metrics(logits_n, labels_n, weights_n)
    again = click_metrics(np.repeat(logits_n, weights_n), np.repeat(labels_n, weights_n))
    for name in ("auc", "logloss", "relative_improvement", "rate", "predicted_rate"):
        assert weighted[name] == pytest.approx(again[name])
    fitted = fit_platt(np.repeat(logits_n, weights_n), np.repeat(labels_n, weights_n))
    assert fit_platt(logits_n, labels_n, weights_n) == pytest.approx(fitted, abs=1e-3)


def test_calibration_is_kept_only_where_it_helps():
    draw = np.random.default_rng(2)
    logits_n = draw.normal(0, 1.5, 4000)
    labels_n = (draw.random(4000) < 1 / (1 + np.exp(-logits_n))).astype(float)
    assert calibration_that_helps(logits_n, labels_n, None, "rows") == {}
    kept = calibration_that_helps(2 * logits_n - 1, labels_n, None, "rows")
    assert kept["slope"] == pytest.approx(0.5, abs=0.05) and kept["logloss_after"] < kept["logloss_before"]
    assert calibration_that_helps(2 * logits_n[:30] - 1, labels_n[:30], None, "rows") == {}


def test_the_calibration_error_is_the_mean_distance_of_the_tenths():
    labels_n = np.repeat([0.0, 1.0], 500)
    assert click_metrics(np.zeros(1000), labels_n)["ece"] == pytest.approx(0.5)
    assert click_metrics(40 * labels_n - 20, labels_n)["ece"] == pytest.approx(0, abs=1e-6)
