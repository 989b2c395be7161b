"""Knots: a value of its own where there are few, quantiles, thresholds of the label, and a mass at one value."""

import numpy as np
import pytest

from attn.data_adapters.tables.knots import FEW, QUANTILES, knots_of


def test_few_values_are_knots_of_their_own() -> None:
    x_n = np.random.default_rng(0).integers(18, 90, 5000).astype(float)
    assert knots_of(x_n, x_n > 50) == tuple(np.unique(x_n))


def test_many_values_have_quantiles_and_the_ends() -> None:
    draw = np.random.default_rng(0)
    x_n = draw.lognormal(0, 1, 20_000)
    knots = knots_of(x_n, draw.integers(0, 2, len(x_n)))
    assert knots[0] == x_n.min() and knots[-1] == x_n.max()
    assert QUANTILES <= len(knots) <= QUANTILES + 2 * 15 and np.all(np.diff(knots) > 0)


def test_a_mass_stands_alone() -> None:
    draw = np.random.default_rng(0)
    x_n = np.where(draw.random(20_000) < 0.9, 0.0, draw.lognormal(8, 1, 20_000))
    knots = knots_of(x_n, draw.integers(0, 2, len(x_n)))
    assert knots[0] == 0 and knots[1] == x_n[x_n > 0].min()  # nothing lies between the mass and what is next to it
    assert len(knots) >= QUANTILES


@pytest.mark.parametrize("threshold", [0.13, 0.37, 0.81])
def test_a_step_of_the_label_lies_between_two_knots(threshold: float) -> None:
    draw = np.random.default_rng(0)
    x_n = draw.random(20_000)
    knots = np.array(knots_of(x_n, draw.random(len(x_n)) < np.where(x_n > threshold, 0.9, 0.1)))
    above = np.searchsorted(knots, threshold)
    assert np.ptp(knots[above - 1 : above + 1]) < 0.005 < 1 / QUANTILES


def test_knots_of_almost_nothing() -> None:
    assert knots_of(np.zeros(0), np.zeros(0)) == (0.0,)
    assert knots_of(np.array([5.0]), np.array([1])) == (5.0,)
    assert knots_of(np.array([1.0, 1.0 + 1e-9, 2.0]), np.zeros(3)) == (1.0, 2.0)
    assert len(knots_of(np.arange(FEW + 1.0).repeat(2), np.zeros(2 * FEW + 2))) >= QUANTILES
