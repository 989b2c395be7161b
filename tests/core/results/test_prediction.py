"""One prediction: its label, its uncertainty, its row."""

import math

import numpy as np
import pytest

from attn.core.errors import UsageError
from attn.core.results.prediction import Prediction

LABELS = ["elliptical", "spiral"]


def test_label_is_the_likeliest_and_entropy_is_normalised() -> None:
    sure = Prediction.from_probabilities("x", LABELS, [0.0, 1.0])
    torn = Prediction.from_probabilities("x", LABELS, [0.5, 0.5])
    between = Prediction.from_probabilities("x", LABELS, [0.25, 0.75])
    assert (sure.label, sure.uncertainty, torn.uncertainty) == ("spiral", 0.0, 1.0)
    by_hand = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))
    assert between.uncertainty == pytest.approx(by_hand, abs=1e-12)


def test_single_class_has_no_uncertainty() -> None:
    assert Prediction.from_probabilities("x", ["only"], [1.0]).uncertainty == 0.0


def test_output_that_is_not_finite_is_a_failure() -> None:
    prediction = Prediction.from_probabilities("x", LABELS, np.array([np.nan, 0.5]), model="m")
    assert prediction.label is None
    assert prediction.error is not None
    assert "not finite" in prediction.error


def test_wrong_number_of_probabilities_is_a_bug() -> None:
    with pytest.raises(ValueError, match="2 labels"):
        Prediction.from_probabilities("x", LABELS, [1.0])


def test_extra_column_cannot_hide_a_result() -> None:
    with pytest.raises(UsageError, match="'label'"):
        Prediction.failed("x", "why", values={"label": "mine"}).row(LABELS)


def test_extra_column_cannot_hide_the_embedding() -> None:
    embedded = Prediction.from_probabilities("x", LABELS, [0.5, 0.5], values={"embedding": 1}, embedding=np.zeros(2))
    with pytest.raises(UsageError, match="'embedding'"):
        embedded.row(LABELS)
