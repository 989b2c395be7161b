"""Slope and intercept of a click model's logits, fitted to labelled rows (Platt 1999).

Shapes: N rows.
"""

from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from attn.apps.ctr.metrics import click_metrics

FEWEST_CLICKS = 20  # and rows without a click, in each half of the rows


def fit_platt(logits_n: np.ndarray, labels_n: np.ndarray, weights_n: np.ndarray | None = None) -> tuple[float, float]:
    """The slope >= 0 and intercept for which slope · logit + intercept is likeliest."""
    z_n, y_n = logits_n.astype(np.float64), labels_n.astype(np.float64)
    w_n = np.ones(len(z_n)) if weights_n is None else weights_n.astype(np.float64)
    w_n = w_n / w_n.mean()

    def loss(ab: np.ndarray) -> tuple[float, np.ndarray]:
        x_n = ab[0] * z_n + ab[1]
        gap_n = w_n * (expit(x_n) - y_n)
        return float(np.mean(w_n * (np.logaddexp(0, x_n) - y_n * x_n))), np.array([np.mean(gap_n * z_n), gap_n.mean()])

    # Bounds keep a separable table from an infinite slope.
    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0, 20), (-50, 50)])
    return float(found.x[0]), float(found.x[1])


def calibration_that_helps(
    logits_n: np.ndarray, labels_n: np.ndarray, weights_n: np.ndarray | None, rows: str
) -> dict[str, Any]:
    """What a record keeps of a fit to `rows`; nothing if it does not help.

    It helps if a fit to either half of the rows lowers the log loss of the other half.
    """
    halves = np.random.default_rng(0).permutation(len(labels_n)) % 2 == 0
    for half_n in (halves, ~halves):
        if min(np.bincount(labels_n[half_n].astype(int), minlength=2)) < FEWEST_CLICKS:
            return {}
    for fitted_n in (halves, ~halves):
        own, other = (None if weights_n is None else weights_n[part_n] for part_n in (fitted_n, ~fitted_n))
        slope, intercept = fit_platt(logits_n[fitted_n], labels_n[fitted_n], own)
        z_n, y_n = logits_n[~fitted_n], labels_n[~fitted_n]
        after = click_metrics(slope * z_n + intercept, y_n, other)["logloss"]
        if slope == 0 or after >= click_metrics(z_n, y_n, other)["logloss"]:
            return {}
    slope, intercept = fit_platt(logits_n, labels_n, weights_n)
    before, after = (click_metrics(each_n, labels_n, weights_n) for each_n in (logits_n, slope * logits_n + intercept))
    return {
        "slope": slope,
        "intercept": intercept,
        "fitted_on": rows,
        "measured_on": "the rows that it was fitted on",
        **{f"{name}_before": before[name] for name in ("logloss", "predicted_rate")},
        **{f"{name}_after": after[name] for name in ("logloss", "predicted_rate")},
        "rate": after["rate"],
    }
