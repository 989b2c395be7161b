"""Recognition with unknown queries, and grouping, against counting by hand."""

from itertools import combinations

import numpy as np
import pytest

from attn.core.errors import InputError
from attn.core.measures.open_set import (
    balanced_accuracy,
    best_threshold,
    grouping_report,
    identification_rate,
    open_set_report,
    threshold_at,
)


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.1, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_threshold_keeps_false_alarms_at_the_rate_and_is_the_lowest(seed: int, rate: float) -> None:
    unknown = np.random.default_rng(seed).integers(0, 12, 40) / 12  # with ties
    found = threshold_at(unknown, rate)
    assert (unknown >= found).mean() <= rate
    lower = unknown[unknown < found]
    assert not len(lower) or (unknown >= lower.max()).mean() > rate


def test_identification_by_hand() -> None:
    known, right = np.array([0.9, 0.8, 0.7, 0.2]), np.array([True, False, True, True])
    unknown = np.array([0.75, 0.5, 0.4, 0.3])
    assert identification_rate(known, right, unknown, 0.0) == 1 / 4
    assert identification_rate(known, right, unknown, 0.25) == 2 / 4
    assert identification_rate(known, right, unknown, 1.0) == 2 / 4  # 0.2 is below every unknown
    assert balanced_accuracy(known, unknown, 0.6) == pytest.approx((3 / 4 + 3 / 4) / 2)
    report = open_set_report(known, right, unknown, 0.6)
    assert report["identification_rate"] == {"0.01": 0.25, "0.1": 0.25}
    assert (report["known"], report["unknown"]) == (4, 4)


def test_a_constant_score_identifies_nobody_and_is_right_half_of_the_time() -> None:
    known, unknown = np.full(6, 0.5), np.full(4, 0.5)
    assert identification_rate(known, np.ones(6, bool), unknown, 0.1) == 0
    assert balanced_accuracy(known, unknown, best_threshold(known, unknown)) == 0.5


@pytest.mark.parametrize("seed", range(4))
def test_no_threshold_is_better_than_the_best(seed: int) -> None:
    rng = np.random.default_rng(seed)
    known, unknown = rng.normal(1, 1, 30), rng.normal(0, 1, 20)
    best = balanced_accuracy(known, unknown, best_threshold(known, unknown))
    assert all(balanced_accuracy(known, unknown, t) <= best for t in np.linspace(-4, 5, 400))


def test_nothing_to_measure_on() -> None:
    none, some = np.array([]), np.array([0.5])
    with pytest.raises(InputError, match="no query of the unknown"):
        threshold_at(none, 0.1)
    with pytest.raises(InputError, match="no query of the known"):
        identification_rate(none, np.array([], bool), some, 0.1)
    with pytest.raises(InputError, match="needs queries of the known and of the unknown"):
        balanced_accuracy(some, none, 0.5)
    with pytest.raises(InputError, match="no labelled items"):
        grouping_report(np.array([], int), np.array([], int))


@pytest.mark.parametrize("seed", range(4))
def test_pairs_counted_one_by_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, found = rng.integers(0, 4, 25), rng.integers(0, 5, 25)
    pairs = [(truth[i] == truth[j], found[i] == found[j]) for i, j in combinations(range(25), 2)]
    right = sum(a and b for a, b in pairs)
    report = grouping_report(truth, found)
    assert report["precision"] == right / sum(b for _, b in pairs)
    assert report["recall"] == right / sum(a for a, _ in pairs)


def test_all_alone_and_all_right() -> None:
    alone = np.arange(5)
    assert grouping_report(alone, alone) == {"ari": 1, "precision": 1, "recall": 1, "groups": 5, "true_groups": 5}
