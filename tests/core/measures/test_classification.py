"""The report against hand computation and scikit-learn; its intervals against a plain bootstrap."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics as oracle
from PIL import Image

from attn.core.errors import InputError
from attn.core.measures.calibration import ece
from attn.core.measures.classification import classification_report, confusion_picture

NAMES = ["a", "b", "c"]


def rows(n: int = 300, seed: int = 0, shift: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y_n = rng.choice(3, n, p=[0.7, 0.2, 0.1])
    z_nk = rng.normal(size=(n, 3))
    z_nk[np.arange(n), y_n] += shift
    p_nk = np.exp(z_nk)
    return p_nk / p_nk.sum(axis=1, keepdims=True), y_n


def certain(predicted: list[int]) -> np.ndarray:
    return np.eye(3)[predicted]


def test_by_hand() -> None:
    report = classification_report(certain([0, 0, 1, 1, 2]), np.array([0, 0, 0, 1, 1]), NAMES, bootstrap=10)
    assert report["confusion"] == [[2, 1, 0], [0, 1, 1], [0, 0, 0]]
    assert report["accuracy"]["value"] == pytest.approx(3 / 5)
    assert report["balanced_accuracy"]["value"] == pytest.approx((2 / 3 + 1 / 2) / 2)  # class c does not occur
    assert report["macro_f1"]["value"] == pytest.approx((4 / 5 + 2 / 4 + 0) / 3)  # but was predicted
    assert report["per_class"][0] == {"label": "a", "n": 3, "precision": 1.0, "recall": 2 / 3, "f1": 0.8}
    assert report["per_class"][2] == {"label": "c", "n": 0, "precision": 0.0, "recall": None, "f1": 0.0}


@pytest.mark.parametrize("seed", range(3))
def test_points_are_those_of_sklearn(seed: int) -> None:
    p_nk, y_n = rows(seed=seed)
    guess = p_nk.argmax(axis=1)
    report = classification_report(p_nk, y_n, NAMES, bootstrap=10)
    assert report["n"] == 300
    assert report["accuracy"]["value"] == pytest.approx(oracle.accuracy_score(y_n, guess))
    assert report["balanced_accuracy"]["value"] == pytest.approx(oracle.balanced_accuracy_score(y_n, guess))
    assert report["macro_f1"]["value"] == pytest.approx(oracle.f1_score(y_n, guess, average="macro"))
    assert report["ece"]["value"] == ece(p_nk, y_n)


def test_class_nobody_has_or_predicts() -> None:
    report = classification_report(certain([0, 1]), np.array([0, 1]), NAMES, bootstrap=50)
    assert report["macro_f1"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert report["per_class"][2] == {"label": "c", "n": 0, "precision": None, "recall": None, "f1": None}


def test_intervals_are_those_of_a_plain_stratified_bootstrap() -> None:
    p_nk, y_n = rows(400)
    guess = p_nk.argmax(axis=1)
    report = classification_report(p_nk, y_n, NAMES, seed=1, bootstrap=2000)
    rng = np.random.default_rng(2)
    members = [np.flatnonzero(y_n == k) for k in range(3)]
    drawn = {"accuracy": [], "balanced_accuracy": [], "macro_f1": [], "ece": []}
    for _ in range(500):
        i = np.concatenate([rng.choice(m, len(m)) for m in members])
        drawn["accuracy"].append(oracle.accuracy_score(y_n[i], guess[i]))
        drawn["balanced_accuracy"].append(oracle.balanced_accuracy_score(y_n[i], guess[i]))
        drawn["macro_f1"].append(oracle.f1_score(y_n[i], guess[i], average="macro"))
        drawn["ece"].append(2 * report["ece"]["value"] - ece(p_nk[i], y_n[i]))
    for name, values in drawn.items():
        low, high = np.percentile(values, (2.5, 97.5))
        low, spread = max(0.0, low), np.std(values)
        assert report[name]["low"] == pytest.approx(low, abs=0.35 * spread), name
        assert report[name]["high"] == pytest.approx(high, abs=0.35 * spread), name


def test_interval_of_accuracy_covers_the_truth_about_as_often_as_it_says() -> None:
    truth = classification_report(*rows(200_000, seed=99), NAMES, bootstrap=1)["accuracy"]["value"]
    covered = 0
    for seed in range(100):
        interval = classification_report(*rows(150, seed=seed), NAMES, bootstrap=200)["accuracy"]
        covered += interval["low"] <= truth <= interval["high"]
    assert 85 <= covered <= 100


def test_one_seed_one_report() -> None:
    p_nk, y_n = rows()
    first, again, other = (classification_report(p_nk, y_n, NAMES, seed=s, bootstrap=100) for s in (3, 3, 4))
    assert first == again
    assert first["accuracy"] != other["accuracy"]


def test_report_is_plain_json() -> None:
    report = classification_report(*rows(), NAMES, bootstrap=10)
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_hundred_thousand_rows_take_seconds() -> None:
    p_nk, y_n = rows(100_000)
    start = time.process_time()
    classification_report(p_nk, y_n, NAMES)
    assert time.process_time() - start < 10


def test_no_rows() -> None:
    with pytest.raises(InputError, match="no labelled rows"):
        classification_report(np.zeros((0, 3)), np.zeros(0, dtype=int), NAMES)


@pytest.mark.parametrize("suffix", ["png", "pdf"])
def test_picture(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"confusion.{suffix}"
    confusion_picture(classification_report(*rows(), NAMES, bootstrap=10), path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    if suffix == "png":
        with Image.open(path) as picture:
            assert len(set(picture.convert("L").tobytes())) > 20
