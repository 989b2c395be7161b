"""Resampling by groups against closed forms, a plain loop over drawn rows, and what grouping must not change."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from attn.core.errors import InputError
from attn.core.measures.bootstrap import bootstrap, paired_bootstrap, resampled_weights
from attn.core.measures.one_against_rest import paired_auc


def mean_of(values_n: np.ndarray):
    return lambda w_rn: {"mean": w_rn @ values_n / w_rn.sum(1)}


def scored(n: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Two models' scores, the second a little better, labels and groups of one to four rows."""
    rng = np.random.default_rng(seed)
    groups_n = np.sort(rng.integers(n // 2, size=n))
    truth_n = rng.integers(2, size=n)
    shared_n = rng.normal(size=n) + truth_n
    first_n, second_n = shared_n + 0.5 * rng.normal(size=n), shared_n + 0.3 * truth_n
    return first_n.round(1), second_n.round(1), truth_n, groups_n


def test_every_draw_has_as_many_groups_as_there_are_and_keeps_rows_of_a_group_together() -> None:
    groups_n = np.array([5, 5, 9, 2, 9, 7])
    (w_rn,) = resampled_weights(groups_n, resamples=400, seed=0)
    assert w_rn.shape == (400, 6)
    np.testing.assert_array_equal(w_rn[:, 0], w_rn[:, 1])
    np.testing.assert_array_equal(w_rn[:, 2], w_rn[:, 4])
    np.testing.assert_array_equal(w_rn[:, [0, 2, 3, 5]].sum(1), 4)
    assert w_rn[:, 3].mean() == pytest.approx(1, abs=0.15) and w_rn[:, 3].var() == pytest.approx(3 / 4, abs=0.15)


def test_the_interval_of_a_mean_is_the_one_of_the_textbook() -> None:
    """One row a group: the standard error is that of the mean."""
    values_n = np.random.default_rng(1).normal(3, 2, 500)
    found = bootstrap(mean_of(values_n), np.arange(500), resamples=4000)["mean"]
    half = 1.96 * values_n.std() / 500**0.5
    assert found["value"] == pytest.approx(values_n.mean())
    assert found["low"] == pytest.approx(values_n.mean() - half, abs=0.1 * half)
    assert found["high"] == pytest.approx(values_n.mean() + half, abs=0.1 * half)


def test_copies_of_a_row_in_its_group_make_no_interval_narrower() -> None:
    values_n = np.random.default_rng(2).normal(size=200)
    once = bootstrap(mean_of(values_n), np.arange(200))
    often = bootstrap(mean_of(np.repeat(values_n, 5)), np.repeat(np.arange(200), 5))
    assert often["mean"] == pytest.approx(once["mean"])
    alone = bootstrap(mean_of(np.repeat(values_n, 5)), np.arange(1000))["mean"]
    width = once["mean"]["high"] - once["mean"]["low"]
    assert alone["high"] - alone["low"] == pytest.approx(width / 5**0.5, rel=0.15)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values_n, groups_n = np.random.default_rng(3).normal(size=50), np.arange(50) // 2
    whole = bootstrap(mean_of(values_n), groups_n, seed=4)
    monkeypatch.setattr("attn.core.measures.bootstrap.BLOCK", 350)
    assert bootstrap(mean_of(values_n), groups_n, seed=4)["mean"] == pytest.approx(whole["mean"])
    assert bootstrap(mean_of(values_n), groups_n, seed=5)["mean"] != pytest.approx(whole["mean"])


def test_a_value_that_does_not_exist_is_none_and_resamples_without_it_do_not_count() -> None:
    def only_with_the_first_row(w_rn: np.ndarray) -> dict[str, np.ndarray]:
        return {"some": np.where(w_rn[:, 0] > 0, 0.5, np.nan), "none": np.full(len(w_rn), np.nan)}

    found = bootstrap(only_with_the_first_row, np.arange(4))
    assert found == {
        "some": {"value": 0.5, "low": 0.5, "high": 0.5},
        "none": {"value": None, "low": None, "high": None},
    }


def test_no_rows() -> None:
    with pytest.raises(InputError, match="no labelled rows"):
        bootstrap(mean_of(np.zeros(0)), [])


def test_a_model_does_not_differ_from_itself() -> None:
    first_n, _, truth_n, groups_n = scored()
    targets_nk = np.stack([1 - truth_n, truth_n], axis=1).astype(float)
    same = paired_auc(np.stack([-first_n, first_n], 1), np.stack([-first_n, first_n], 1), targets_nk, groups_n)
    assert same == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_paired_differences_are_those_of_a_plain_loop_over_drawn_patients() -> None:
    first_n, second_n, truth_n, groups_n = scored()
    found = paired_auc(first_n[:, None], second_n[:, None], truth_n[:, None].astype(float), groups_n, resamples=200)
    names = np.unique(groups_n)
    (w_rn,) = resampled_weights(groups_n, resamples=200, seed=0)
    differences = []
    for w_n in w_rn:
        drawn = np.repeat(names, [int(w_n[groups_n == name][0]) for name in names])
        rows = np.concatenate([np.flatnonzero(groups_n == name) for name in drawn])
        one, other = (roc_auc_score(truth_n[rows], scores[rows]) for scores in (first_n, second_n))
        differences.append(other - one)
    low, high = np.percentile(differences, (2.5, 97.5))
    value = roc_auc_score(truth_n, second_n) - roc_auc_score(truth_n, first_n)
    assert found == pytest.approx({"value": value, "low": low, "high": high}, abs=1e-9)


def test_pairing_makes_the_interval_narrower_by_what_the_models_share() -> None:
    """Var(a - b) = Var(a) + Var(b) - 2 Cov(a, b), where separate samples have no covariance."""
    rng = np.random.default_rng(6)
    shared_n = rng.normal(size=400)
    one_n, other_n = shared_n + 0.2 * rng.normal(size=400), shared_n + 0.2 * rng.normal(size=400) + 0.1
    found = paired_bootstrap(mean_of(one_n), mean_of(other_n), np.arange(400), resamples=4000)["mean"]
    half = 1.96 * (other_n - one_n).std() / 400**0.5
    assert found["high"] - found["low"] == pytest.approx(2 * half, rel=0.1)
    assert found["value"] == pytest.approx((other_n - one_n).mean())
