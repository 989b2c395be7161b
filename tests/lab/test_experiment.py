"""Predictions hold or fail as they say, and the table has the mean, the spread and the verdict over all seeds."""

import math

import pytest

from attn.lab.experiment import EXPERIMENTS, Outcome, Prediction, load, table


@pytest.mark.parametrize(
    ("prediction", "holding", "failing"),
    [
        (Prediction("a", 1.0, "section 1", 0.25), (0.75, 1.0, 1.25), (0.74, 1.26, -1.0)),
        (Prediction("a", 1.0, "section 1"), (1.01, math.nextafter(1, 2)), (1.0, 0.0)),
        (Prediction("a", 1.0, "section 1", most=True), (1.0, -5.0), (1.01,)),
    ],
)
def test_a_prediction_holds_within_its_tolerance_or_its_bound(prediction, holding, failing):
    assert all(map(prediction.holds, holding))
    assert not any(map(prediction.holds, (*failing, math.nan, math.inf, -math.inf)))


def test_the_table_has_the_mean_and_the_spread_and_one_failing_seed_fails():
    predictions = (Prediction("a", 2.0, "table 1", 1.0), Prediction("b", 0.0, "theorem 2", most=True))
    first, second = table(predictions, [Outcome({"a": 1.0, "b": -1.0}), Outcome({"a": 3.0, "b": 0.5})])
    assert first == {
        "quantity": "a", "predicted": "2", "tolerance": 1.0, "measured": 2.0, "spread": pytest.approx(math.sqrt(2)),
        "holds": True, "source": "table 1",
    }  # fmt: skip
    assert (second["predicted"], second["measured"], second["holds"]) == ("at most 0", -0.25, False)
    assert table(predictions, [Outcome({"a": 1.0, "b": -1.0})])[0]["spread"] is None


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_can_be_loaded(name):
    experiment = load(name)
    quantities = [each.quantity for each in experiment.predictions]
    assert quantities and len(set(quantities)) == len(quantities)
    assert experiment.steps >= 1 and "arXiv:" in experiment.paper
