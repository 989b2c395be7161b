"""Measures of predicted numbers, with bootstrap intervals.

Shapes: N rows, R resamples. A weight says how often a row is drawn.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from attn.core.files import replacing
from attn.core.measures.bootstrap import bootstrap


def regression_report(predicted_n: Float[np.ndarray, " N"], true_n: Float[np.ndarray, " N"]) -> dict[str, Any]:
    """`n`, and `r2`, `mae` and `rank_correlation` (Spearman's), each with value, low and high (95 %).

    R2 is 1 minus the squared errors over those of the mean of the true numbers. Where all numbers are the same there
    is no R2 and no correlation: None. Raises InputError when there are no rows.
    """
    predicted_n, true_n = np.asarray(predicted_n, np.float64), np.asarray(true_n, np.float64)

    def statistic(w_rn: Float[np.ndarray, "R N"]) -> dict[str, Float[np.ndarray, " R"]]:
        count_r = w_rn.sum(1)
        middle_r = w_rn @ true_n / count_r
        spread_r = (w_rn * (true_n - middle_r[:, None]) ** 2).sum(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            r2_r = np.where(spread_r > 0, 1 - w_rn @ (predicted_n - true_n) ** 2 / spread_r, np.nan)
        return {
            "r2": r2_r,
            "mae": w_rn @ np.abs(predicted_n - true_n) / count_r,
            "rank_correlation": _correlation(_ranks(predicted_n, w_rn), _ranks(true_n, w_rn), w_rn),
        }

    return {"n": len(true_n), **bootstrap(statistic, np.arange(len(true_n)))}


def scatter_picture(
    predicted_n: Float[np.ndarray, " N"], true_n: Float[np.ndarray, " N"], name: str, path: str | Path
) -> None:
    """Draw the predicted numbers over the true ones."""
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot()
    low, high = min(predicted_n.min(), true_n.min()), max(predicted_n.max(), true_n.max())
    axes.plot([low, high], [low, high], color="0.7", linewidth=1)
    axes.plot(true_n, predicted_n, ".", markersize=4, alpha=0.6)
    axes.set_xlabel(f"{name}, true")
    axes.set_ylabel(f"{name}, predicted")
    axes.set_title(f"{len(true_n)} rows")
    with replacing(Path(path)) as part:
        figure.savefig(part, dpi=150)


def _ranks(values_n: Float[np.ndarray, " N"], w_rn: Float[np.ndarray, "R N"]) -> Float[np.ndarray, "R N"]:
    """The rank of each row in each resample, equal values at the middle of theirs."""
    _, place_n = np.unique(values_n, return_inverse=True)
    order = np.argsort(place_n, kind="stable")
    firsts = np.flatnonzero(np.diff(place_n[order], prepend=-1))
    count_rv = np.add.reduceat(w_rn[:, order], firsts, axis=1)
    return np.asarray((np.cumsum(count_rv, axis=1) - (count_rv - 1) / 2)[:, place_n])


def _correlation(
    a_rn: Float[np.ndarray, "R N"], b_rn: Float[np.ndarray, "R N"], w_rn: Float[np.ndarray, "R N"]
) -> Float[np.ndarray, " R"]:
    """Pearson's correlation with weights; NaN where one of the two does not vary."""
    count_r = w_rn.sum(1, keepdims=True)
    a_rn = a_rn - (w_rn * a_rn).sum(1, keepdims=True) / count_r
    b_rn = b_rn - (w_rn * b_rn).sum(1, keepdims=True) / count_r
    scale_r = np.sqrt((w_rn * a_rn**2).sum(1) * (w_rn * b_rn**2).sum(1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(scale_r > 0, (w_rn * a_rn * b_rn).sum(1) / scale_r, np.nan)
