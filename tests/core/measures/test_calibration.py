"""Calibration against closed forms, brute force and torchmetrics."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchmetrics.functional.classification import multiclass_calibration_error

from attn.core.errors import InputError
from attn.core.measures.calibration import (
    OperatingPoint,
    ece,
    fit_temperature,
    reliability_picture,
    thresholds,
)


def rows(n: int = 400, classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are somewhat right, and labels."""
    rng = np.random.default_rng(seed)
    y_n = rng.integers(0, classes, n)
    z_nk = rng.normal(size=(n, classes))
    z_nk[np.arange(n), y_n] += 1
    p_nk = np.exp(z_nk)
    return p_nk / p_nk.sum(axis=1, keepdims=True), y_n


def exact_counts() -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax is exactly the share of each label, for two kinds of row, ten of each."""
    shares = np.array([[0.1, 0.2, 0.7], [0.6, 0.3, 0.1]])
    z_nk = np.repeat(np.log(shares), 10, axis=0)
    y_n = np.repeat([0, 1, 2, 0, 1, 2], [1, 2, 7, 6, 3, 1])
    return z_nk, y_n


@pytest.mark.parametrize("factor", [0.25, 1.0, 1.7, 10.0])
def test_temperature_undoes_a_known_factor(factor: float) -> None:
    z_nk, y_n = exact_counts()
    assert fit_temperature(z_nk * factor, y_n) == pytest.approx(factor, rel=1e-5)


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_temperature_undoes_a_known_factor_beside_a_known_shift(factor: float) -> None:
    z_nk, y_n = exact_counts()
    shift = (0.3, -1.0, 2.0)
    assert fit_temperature((z_nk - shift) * factor, y_n, shift) == pytest.approx(factor, rel=1e-5)


def test_temperature_of_labels_that_exclude_nothing_leaves_out_unknown_ones() -> None:
    """Of ten rows each, one in ten and seven in ten have the label; the second column is known for two rows only."""
    logit_n = np.repeat(np.log([1 / 9, 7 / 3]), 10)
    y_nk = np.full((20, 2), np.nan)
    y_nk[:, 0] = np.repeat([1, 0, 1, 0], [1, 9, 7, 3])
    z_nk = 2.5 * np.stack([logit_n, np.full(20, 50.0)], axis=1)
    assert fit_temperature(z_nk, y_nk) == pytest.approx(2.5, rel=1e-5)
    y_nk[:2, 1] = 0
    assert fit_temperature(z_nk, y_nk) > 2.6  # sure and wrong twice
    with pytest.raises(InputError, match="no labelled rows"):
        fit_temperature(z_nk, np.full((20, 2), np.nan))


def test_separable_rows_stop_at_the_lowest_temperature() -> None:
    z_nk = np.eye(3)[[0, 1, 2, 0]]
    assert fit_temperature(z_nk, np.array([0, 1, 2, 0])) == pytest.approx(0.05)


def test_worse_than_chance_stops_at_the_highest_temperature() -> None:
    z_nk = np.eye(3)[[0, 1, 2, 0]] * 5
    assert fit_temperature(z_nk, np.array([1, 2, 0, 2])) == pytest.approx(20)


def test_tensors_of_any_float_type_do() -> None:
    z_nk, y_n = exact_counts()
    z = torch.tensor(z_nk * 3, dtype=torch.float32, requires_grad=True)
    assert fit_temperature(z, torch.tensor(y_n)) == pytest.approx(3, rel=1e-4)
    assert z.grad is None


def test_nothing_to_calibrate_on() -> None:
    with pytest.raises(InputError, match="no labelled rows"):
        fit_temperature(np.zeros((0, 3)), np.zeros(0, dtype=int))
    with pytest.raises(InputError, match="not finite"):
        fit_temperature(np.array([[np.nan, 0.0]]), np.array([0]))


def brute_force_ece(p_nk: np.ndarray, y_n: np.ndarray, bins: int) -> float:
    total = 0.0
    for b in range(bins):
        inside = [i for i in range(len(y_n)) if b / bins < max(p_nk[i]) <= (b + 1) / bins]
        if inside:
            confidence = sum(max(p_nk[i]) for i in inside) / len(inside)
            accuracy = sum(int(np.argmax(p_nk[i])) == y_n[i] for i in inside) / len(inside)
            total += len(inside) / len(y_n) * abs(confidence - accuracy)
    return total


@pytest.mark.parametrize("bins", [1, 10, 15])
@pytest.mark.parametrize("seed", range(3))
def test_ece_is_the_definition(bins: int, seed: int) -> None:
    p_nk, y_n = rows(seed=seed)
    assert ece(p_nk, y_n, bins) == pytest.approx(brute_force_ece(p_nk, y_n, bins), abs=1e-12)


def test_ece_is_that_of_torchmetrics() -> None:
    p_nk, y_n = rows(2000)
    theirs = multiclass_calibration_error(torch.tensor(p_nk), torch.tensor(y_n), num_classes=4, n_bins=15)
    assert ece(p_nk, y_n) == pytest.approx(float(theirs), abs=1e-6)


def test_ece_by_hand() -> None:
    p_nk = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [1.0, 0.0]])
    y_n = np.array([0, 1, 1, 0])
    assert ece(p_nk, y_n) == pytest.approx((2 * 0.4 + 0.4 + 0) / 4)


def test_thresholds_by_hand() -> None:
    p_n = np.array([0.1, 0.2, 0.3, 0.6, 0.7, 0.9])
    positive = np.array([0, 0, 1, 0, 1, 1])
    p_nk = np.stack([1 - p_n, p_n], axis=1)
    third = 1 / 3
    cases = {
        ("youden", 0.0): OperatingPoint(0.7, 2 * third, 1.0),
        ("sensitivity", 0.9): OperatingPoint(0.3, 1.0, 2 * third),
        ("sensitivity", 0.5): OperatingPoint(0.7, 2 * third, 1.0),
        ("specificity", 1.0): OperatingPoint(0.7, 2 * third, 1.0),
        ("specificity", 0.5): OperatingPoint(0.3, 1.0, 2 * third),
    }
    for (rule, target), expected in cases.items():
        point = thresholds(p_nk, positive, rule=rule, target=target)[1]  # type: ignore[arg-type]
        assert point is not None
        assert vars(point) == pytest.approx(vars(expected))


@pytest.mark.parametrize("rule", ["youden", "sensitivity", "specificity"])
def test_points_deliver_what_they_claim_and_nothing_beats_them(rule: str) -> None:
    p_nk, y_n = rows(200)
    p_nk = p_nk.round(2)  # ties
    for k, point in enumerate(thresholds(p_nk, y_n, rule=rule, target=0.8)):  # type: ignore[arg-type]
        assert point is not None

        def rates(threshold: float, k: int = k) -> tuple[float, float]:
            called, true = p_nk[:, k] >= threshold, y_n == k
            return float(called[true].mean()), float((~called[~true]).mean())

        assert rates(point.threshold) == pytest.approx((point.sensitivity, point.specificity))
        others = [rates(t) for t in [*np.unique(p_nk[:, k]), 1.01]]
        if rule == "youden":
            assert point.sensitivity + point.specificity == pytest.approx(max(a + b for a, b in others))
        elif rule == "sensitivity":
            assert point.specificity == pytest.approx(max(b for a, b in others if a >= 0.8))
        else:
            assert point.sensitivity == pytest.approx(max(a for a, b in others if b >= 0.8))


def test_labels_that_exclude_nothing() -> None:
    p_nk = np.array([[0.9, 0.8], [0.2, 0.7], [0.1, 0.6]])
    first, second = thresholds(p_nk, np.array([[True, True], [False, False], [False, True]]))
    assert (first, second) == (OperatingPoint(0.9, 1.0, 1.0), OperatingPoint(0.8, 0.5, 1.0))


def test_class_without_positive_or_negative_rows_has_no_point() -> None:
    p_nk, _ = rows(20, classes=2)
    assert thresholds(p_nk, np.zeros(20, dtype=int)) == [None, None]


def test_specificity_that_no_score_reaches_calls_nothing() -> None:
    p_nk = np.array([[0.1, 0.9], [0.5, 0.5]])
    point = thresholds(p_nk, np.array([0, 1]), rule="specificity", target=1.0)[1]
    assert point is not None
    assert 0.9 < point.threshold < 0.9001
    assert (point.sensitivity, point.specificity) == (0.0, 1.0)


def test_picture(tmp_path: Path) -> None:
    p_nk, y_n = rows()
    reliability_picture(p_nk, y_n, tmp_path / "reliability.png")
    with Image.open(tmp_path / "reliability.png") as picture:
        assert picture.size == (750, 900)
        assert len(set(picture.convert("L").tobytes())) > 10
    assert len(list(tmp_path.iterdir())) == 1
