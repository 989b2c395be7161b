"""Probabilities against Bayes' rule worked out for densities that are known, and fits of pairs that are odd."""

import numpy as np
import pytest
from scipy.stats import norm

from attn.apps.reid.probabilities import Calibration, fit_pairs
from attn.core.errors import InputError, ModelError
from attn.core.models.record import ModelRecord

SAME, DIFFERENT = norm(0.6, 0.15), norm(0.1, 0.15)
# Two normal densities of one deviation have a linear log ratio: ((x - m0)² - (x - m1)²) / 2 s²
SLOPE, INTERCEPT = (0.6 - 0.1) / 0.15**2, (0.1**2 - 0.6**2) / (2 * 0.15**2)
KNOWN = Calibration(slope=SLOPE, intercept=INTERCEPT, prior=0.7)


def test_a_pair_is_bayes_rule() -> None:
    cosine = np.linspace(-0.2, 0.9, 12)
    joint = 0.2 * SAME.pdf(cosine)
    np.testing.assert_allclose(KNOWN.pair(cosine, 0.2), joint / (joint + 0.8 * DIFFERENT.pdf(cosine)), rtol=1e-9)


def test_answers_are_bayes_rule_over_individuals_and_nobody() -> None:
    cosine = np.random.default_rng(0).uniform(-0.2, 0.9, (6, 4))
    found = KNOWN.answers(cosine)
    for scores, mine in zip(cosine, found, strict=True):
        joint = [
            0.7 / 4 * np.prod([(SAME if h == g else DIFFERENT).pdf(s) for h, s in enumerate(scores)]) for g in range(4)
        ]
        nobody = 0.3 * DIFFERENT.pdf(scores).prod()
        np.testing.assert_allclose(mine, np.array(joint) / (sum(joint) + nobody), rtol=1e-9)


def test_who_is_not_compared_does_not_count() -> None:
    found = KNOWN.answers(np.array([[0.5, np.nan, 0.2], [np.nan, np.nan, np.nan]]), prior=0.4)
    np.testing.assert_allclose(found[0, [0, 2]], KNOWN.answers(np.array([[0.5, 0.2]]), prior=0.4)[0])
    assert found[0, 1] == 0 and not found[1].any()
    np.testing.assert_allclose(KNOWN.answers(np.array([[0.33]]), 0.4), KNOWN.pair(np.array([[0.33]]), 0.4))


def test_the_fit_finds_a_known_ratio() -> None:
    generator = np.random.default_rng(1)
    same = np.repeat([True, False], (4000, 60_000))  # far from the prior, which is not to be seen in the ratio
    scores = np.where(same, generator.normal(0.6, 0.15, len(same)), generator.normal(0.1, 0.15, len(same)))
    assert fit_pairs(scores, same) == pytest.approx((SLOPE, INTERCEPT), rel=0.05)


@pytest.mark.parametrize("shift", [0.0, 1e3])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_pairs_that_are_told_apart_perfectly(scale: float, shift: float) -> None:
    scores, same = np.r_[np.linspace(-0.2, 0.1, 30), np.linspace(0.5, 0.9, 20)], np.repeat([False, True], (30, 20))
    fitted = Calibration(**dict(zip(("slope", "intercept"), fit_pairs(scores, same), strict=True)))
    slope, intercept = fit_pairs(scale * (scores + shift), same)
    assert slope * scale == pytest.approx(fitted.slope, rel=1e-3)
    assert intercept + slope * scale * shift == pytest.approx(fitted.intercept, rel=1e-3, abs=1e-2)
    p = fitted.pair(scores, 0.4)
    assert ((p > 0) & (p < 1)).all() and (np.diff(p) > 0).all()


@pytest.mark.parametrize(
    ("same", "says"),
    [
        (np.ones(50, bool), "50 of the same individual and 0 of different individuals"),
        (np.zeros(50, bool), "0 of the same individual and 50 of different individuals"),
        (np.array([True, False, False]), "1 of the same individual and 2 of different individuals"),
    ],
)
def test_too_few_pairs(same: np.ndarray, says: str) -> None:
    with pytest.raises(InputError, match=f"too few pairs to calibrate on: {says}"):
        fit_pairs(np.random.default_rng(0).random(len(same)), same)


def test_a_falling_curve_is_refused() -> None:
    generator, same = np.random.default_rng(0), np.repeat([True, False], 40)
    for scores in (np.where(same, 0.1, 0.8) + generator.normal(0, 0.1, 80), np.full(80, 0.3)):
        with pytest.raises(InputError, match="no more alike than those of different ones"):
            fit_pairs(scores, same)
    with pytest.raises(InputError, match="not finite"):
        fit_pairs(np.where(same, np.nan, 0.3), same)


def test_of_a_record() -> None:
    record = ModelRecord(app="reid", name="m", architecture={}, labels=[])
    assert Calibration.of(record) is None
    kept = record.model_copy(update={"calibration": {**KNOWN.model_dump(), "used": ["ab"], "fitted_on": "something"}})
    assert Calibration.of(kept) == KNOWN
    with pytest.raises(ModelError, match="slope must be greater than 0"):
        Calibration.of(record.model_copy(update={"calibration": {"slope": -3, "intercept": 0}}))
