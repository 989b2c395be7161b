"""R2, mean error and rank correlation against scikit-learn and scipy."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import spearmanr
from sklearn.metrics import mean_absolute_error, r2_score

from attn.core.errors import InputError
from attn.core.measures.regression import _correlation, _ranks, regression_report, scatter_picture


@pytest.fixture
def numbers() -> tuple[np.ndarray, np.ndarray]:
    """Predicted and true numbers, rounded so that some are equal."""
    rng = np.random.default_rng(0)
    true = rng.uniform(size=80).round(1)
    return (true + rng.normal(0, 0.2, 80)).round(1), true


def test_values_are_those_of_the_libraries(numbers: tuple[np.ndarray, np.ndarray]) -> None:
    predicted, true = numbers
    report = regression_report(predicted, true)
    assert report["n"] == 80
    assert report["r2"]["value"] == pytest.approx(r2_score(true, predicted))
    assert report["mae"]["value"] == pytest.approx(mean_absolute_error(true, predicted))
    assert report["rank_correlation"]["value"] == pytest.approx(spearmanr(true, predicted).statistic)
    for name in ("r2", "mae", "rank_correlation"):
        assert report[name]["low"] < report[name]["value"] < report[name]["high"]


def test_a_weight_counts_as_so_many_rows(numbers: tuple[np.ndarray, np.ndarray]) -> None:
    predicted, true = numbers
    w = np.random.default_rng(1).integers(0, 4, 80)
    ranks = [_ranks(values, w[None].astype(float)) for values in (predicted, true)]
    expected = spearmanr(np.repeat(predicted, w), np.repeat(true, w)).statistic
    assert _correlation(*ranks, w[None].astype(float))[0] == pytest.approx(expected)


def test_numbers_that_do_not_vary_have_no_correlation() -> None:
    report = regression_report(np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.5, 0.5]))
    assert report["r2"]["value"] is None and report["rank_correlation"]["value"] is None
    assert report["mae"]["value"] == pytest.approx(0.3)


def test_no_rows() -> None:
    with pytest.raises(InputError, match="no labelled rows"):
        regression_report(np.zeros(0), np.zeros(0))


def test_the_picture_is_drawn(tmp_path: Path, numbers: tuple[np.ndarray, np.ndarray]) -> None:
    scatter_picture(*numbers, "smooth_frac", tmp_path / "scatter.png")
    with Image.open(tmp_path / "scatter.png") as picture:
        assert picture.size == (750, 750)
