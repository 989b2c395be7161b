"""One class against the rest, against scikit-learn, torchmetrics, Bayes by counting, and rows repeated by hand."""

import json
import time

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, confusion_matrix, roc_auc_score
from torchmetrics.functional.classification import binary_calibration_error

from attn.core.errors import InputError
from attn.core.measures.calibration import ece
from attn.core.measures.one_against_rest import FEWEST, measures, one_against_rest, predictive_values

NAMES = ["covid", "normal", "pneumonia"]


def rows(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities with ties, one-hot targets, patients with two rows in the mean."""
    rng = np.random.default_rng(seed)
    y_n = rng.choice(3, n, p=[0.15, 0.5, 0.35])
    z_nk = rng.normal(size=(n, 3)) + 1.5 * np.eye(3)[y_n]
    p_nk = np.exp(z_nk).round(1) + 0.1037  # no probability lies on the border of a bin
    return p_nk / p_nk.sum(1, keepdims=True), np.eye(3)[y_n], rng.integers(n // 2, size=n)


def findings(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels that exclude nothing, a fifth of them unknown."""
    rng = np.random.default_rng(seed)
    targets_nk = (rng.random((n, 3)) < (0.1, 0.3, 0.5)).astype(float)
    p_nk = 1 / (1 + np.exp(-rng.normal(size=(n, 3)) - 2 * targets_nk + 1))
    targets_nk[rng.random((n, 3)) < 0.2] = np.nan
    return p_nk, targets_nk, np.arange(n) // 2


@pytest.mark.parametrize("make", [rows, findings])
def test_values_of_a_class_are_those_of_the_libraries(make) -> None:
    p_nk, targets_nk, groups_n = make()
    thresholds = (0.2, 0.5, 0.4)
    report = one_against_rest(
        p_nk, targets_nk, NAMES, groups_n, exclusive=make is rows, thresholds=thresholds, resamples=5
    )
    for k, row in enumerate(report["per_class"]):
        known_n = ~np.isnan(targets_nk[:, k])
        p_n, truth_n = p_nk[known_n, k], targets_nk[known_n, k].astype(int)
        (tn, fp), (fn, tp) = confusion_matrix(truth_n, p_n >= thresholds[k])
        expected = {
            "auc": roc_auc_score(truth_n, p_n),
            "sensitivity": tp / (tp + fn),
            "specificity": tn / (tn + fp),
            "ppv": tp / (tp + fp),
            "npv": tn / (tn + fn),
            "brier": brier_score_loss(truth_n, p_n),
        }
        assert {key: row[key]["value"] for key in expected} == pytest.approx(expected)
        error = binary_calibration_error(torch.tensor(p_n), torch.tensor(truth_n), n_bins=15)
        assert row["ece"]["value"] == pytest.approx(float(error), abs=1e-6)
        assert (row["label"], row["n"], row["positive"]) == (NAMES[k], known_n.sum(), truth_n.sum())
        assert row["prevalence"] == pytest.approx(truth_n.mean())


def test_values_of_the_whole() -> None:
    p_nk, targets_nk, groups_n = rows()
    y_n = targets_nk.argmax(1)
    report = one_against_rest(
        p_nk, targets_nk, NAMES, groups_n, exclusive=True, thresholds=(0.5, 0.5, 0.5), resamples=5
    )
    assert report["auc"]["value"] == pytest.approx(roc_auc_score(y_n, p_nk, multi_class="ovr"))
    assert report["accuracy"]["value"] == pytest.approx((p_nk.argmax(1) == y_n).mean())
    assert report["balanced_accuracy"]["value"] == pytest.approx(balanced_accuracy_score(y_n, p_nk.argmax(1)))
    assert report["ece"]["value"] == pytest.approx(ece(p_nk, y_n))
    assert report["brier"]["value"] == pytest.approx(((p_nk - targets_nk) ** 2).sum(1).mean())
    assert report["confusion"] == confusion_matrix(y_n, p_nk.argmax(1)).tolist()
    assert report["n"] == 400 and report["groups"] == len(set(groups_n))


def test_labels_that_exclude_nothing_have_means_over_classes() -> None:
    p_nk, targets_nk, groups_n = findings()
    report = one_against_rest(p_nk, targets_nk, NAMES, groups_n, exclusive=False, thresholds=(0.5,) * 3, resamples=5)
    for key in ("auc", "ece", "brier"):
        assert report[key]["value"] == pytest.approx(np.mean([row[key]["value"] for row in report["per_class"]]))
    assert "confusion" not in report and "accuracy" not in report


@pytest.mark.parametrize("make", [rows, findings])
def test_weights_count_rows_as_if_they_were_repeated(make) -> None:
    p_nk, targets_nk, _ = make(120)
    w_rn = np.random.default_rng(1).integers(4, size=(6, 120)).astype(float)
    how = {"exclusive": make is rows, "thresholds": (0.3, 0.4, 0.5)}
    together = measures(p_nk, targets_nk, **how)(w_rn)
    for r, w_n in enumerate(w_rn.astype(int)):
        repeated = measures(np.repeat(p_nk, w_n, 0), np.repeat(targets_nk, w_n, 0), **how)(np.ones((1, w_n.sum())))
        assert {key: value[r] for key, value in together.items()} == pytest.approx(
            {key: value[0] for key, value in repeated.items()}
        )


def test_predictive_values_are_those_of_counting_people() -> None:
    """Of 10,000 people with a prevalence of 2 %, 200 are ill: 190 of them and 980 others are called positive."""
    ppv, npv = predictive_values(np.array([0.95]), np.array([0.9]), np.array([0.02]))
    assert (ppv[0], npv[0]) == pytest.approx((190 / (190 + 980), 8820 / (8820 + 10)))


def test_prevalence_moves_the_predictive_values_alone() -> None:
    p_nk, targets_nk, groups_n = rows()
    how = {"exclusive": True, "thresholds": (0.5, 0.5, 0.5), "resamples": 20}
    here = one_against_rest(p_nk, targets_nk, NAMES, groups_n, **how)
    rare = one_against_rest(p_nk, targets_nk, NAMES, groups_n, prevalence=0.01, **how)
    for before, after in zip(here["per_class"], rare["per_class"], strict=True):
        assert after["ppv"]["value"] < before["ppv"]["value"] and after["npv"]["value"] > before["npv"]["value"]
        assert after["prevalence"] == 0.01
        assert {**before, **dict.fromkeys(("ppv", "npv", "prevalence"))} == {
            **after,
            **dict.fromkeys(("ppv", "npv", "prevalence")),
        }


def test_a_class_that_does_not_occur_has_no_auc_and_does_not_count() -> None:
    p_nk, targets_nk, groups_n = rows()
    without = targets_nk[:, 0] == 0
    report = one_against_rest(
        p_nk[without], targets_nk[without], NAMES, groups_n[without], exclusive=True, thresholds=(0.5,) * 3
    )
    covid, normal, pneumonia = report["per_class"]
    nothing = {"value": None, "low": None, "high": None}
    assert covid["auc"] == covid["sensitivity"] == nothing and covid["specificity"]["value"] is not None
    assert report["auc"]["value"] == pytest.approx((normal["auc"]["value"] + pneumonia["auc"]["value"]) / 2)
    (_, *recalls) = confusion_matrix(
        targets_nk[without].argmax(1), p_nk[without].argmax(1), normalize="true"
    ).diagonal()
    assert report["balanced_accuracy"]["value"] == pytest.approx(np.mean(recalls))
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_intervals_enclose_their_value_and_a_perfect_model_has_none() -> None:
    p_nk, targets_nk, groups_n = rows()
    report = one_against_rest(p_nk, targets_nk, NAMES, groups_n, exclusive=True, thresholds=(0.5,) * 3)
    for key in ("auc", "accuracy", "balanced_accuracy", "brier"):
        assert report[key]["low"] < report[key]["value"] < report[key]["high"]
    perfect = one_against_rest(targets_nk, targets_nk, NAMES, groups_n, exclusive=True, thresholds=(0.5,) * 3)
    assert perfect["auc"] == perfect["accuracy"] == {"value": 1.0, "low": None, "high": None}
    assert perfect["ece"] == perfect["brier"] == {"value": 0.0, "low": None, "high": None}


def test_a_class_of_few_patients_has_no_auc_however_many_rows_it_has() -> None:
    """Twenty rows of one patient would have an AUC, and an interval, of that patient alone."""
    p_nk, targets_nk, groups_n = rows()
    covid = targets_nk[:, 0] == 1
    groups_n = np.where(covid, 1000 + groups_n % (FEWEST - 1), groups_n)
    how = {"exclusive": True, "thresholds": (0.5,) * 3, "resamples": 20}
    report = one_against_rest(p_nk, targets_nk, NAMES, groups_n, **how)
    few, *others = (row["auc"]["value"] for row in report["per_class"])
    assert few is None and report["auc"]["value"] == pytest.approx(np.mean(others))
    assert report["per_class"][0]["sensitivity"]["value"] is not None
    groups_n[covid] = 1000 + np.arange(covid.sum()) % FEWEST
    enough = one_against_rest(p_nk, targets_nk, NAMES, groups_n, **how)
    assert enough["auc"]["value"] == pytest.approx(roc_auc_score(targets_nk.argmax(1), p_nk, multi_class="ovr"))


def test_the_interval_of_an_auc_covers_the_truth_about_as_often_as_it_says() -> None:
    """Scores of both kinds are normal, one apart: the AUC is Phi(1 / sqrt 2)."""
    truth, covered = 0.76025, 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        target_n = np.arange(160) % 2
        score_n = rng.normal(size=160) + target_n
        found = one_against_rest(
            score_n[:, None], target_n[:, None].astype(float), ["a"], np.arange(160),
            exclusive=False, thresholds=(0.5,), resamples=200,
        )["auc"]  # fmt: skip
        covered += found["low"] <= truth <= found["high"]
    assert 87 <= covered <= 100


def test_no_rows() -> None:
    with pytest.raises(InputError, match="no labelled rows"):
        one_against_rest(np.zeros((0, 3)), np.zeros((0, 3)), NAMES, [], exclusive=True, thresholds=(0.5,) * 3)


def test_nine_thousand_rows_take_seconds() -> None:
    p_nk, targets_nk, groups_n = rows(9000)
    start = time.process_time()
    one_against_rest(p_nk, targets_nk, NAMES, groups_n, exclusive=True, thresholds=(0.5,) * 3)
    assert time.process_time() - start < 15
