"""Calibration of probabilities: temperature scaling, expected calibration error, operating points.

Shapes: N rows, K classes. Logits and probabilities (N, K), labels (N,) class indices.

Guo et al. 2017, "On Calibration of Modern Neural Networks" (arXiv:1706.04599).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve
from torch import Tensor
from torch.nn import functional as F

from attn.core.errors import InputError
from attn.core.files import replacing

BINS = 15
TEMPERATURES = (0.05, 20.0)  # if all rows are right, the likelihood alone would drive the temperature to 0


def fit_temperature(
    logits: Float[np.ndarray | Tensor, "N K"],
    labels: Int[np.ndarray | Tensor, " N"] | Float[np.ndarray | Tensor, "N K"],
    shift: Sequence[float] = (),
) -> float:
    """The T in TEMPERATURES that maximises the likelihood of softmax(logits / T + shift) (section 4.2).

    Labels (N, K) are those of classes that do not exclude each other: 1, 0, or NaN where unknown. For them the model is
    sigmoid(logits / T + shift). Raises InputError if there are no labels or if a logit is not finite.
    """
    z_nk = torch.as_tensor(logits).detach().double()
    y = torch.as_tensor(labels, device=z_nk.device)
    if len(y) == 0 or (y.ndim == 2 and not (~y.isnan()).any()):
        raise InputError("no labelled rows to calibrate on")
    if not z_nk.isfinite().all():
        raise InputError("the logits to calibrate on are not finite")
    shift_k = z_nk.new_tensor(shift or 0.0)
    known_nk = ~y.isnan()
    # The loss is convex in the inverse temperature, so any descent ends at the one optimum.
    inverse = torch.ones((), dtype=z_nk.dtype, device=z_nk.device, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [inverse], max_iter=200, tolerance_grad=1e-9, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        shifted_nk = z_nk * inverse + shift_k
        if y.ndim == 1:
            nll = F.cross_entropy(shifted_nk, y.long())
        else:
            nll = F.binary_cross_entropy_with_logits(shifted_nk[known_nk], y[known_nk].double())
        nll.backward()  # type: ignore[no-untyped-call]
        return nll

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    # A model that is worse than chance has its optimum at a negative inverse. It gets the highest temperature.
    steepest, flattest = 1 / TEMPERATURES[0], 1 / TEMPERATURES[1]
    return 1 / min(max(inverse.item(), flattest), steepest)


def ece(
    probabilities: Float[np.ndarray | Tensor, "N K"], labels: Int[np.ndarray | Tensor, " N"], bins: int = BINS
) -> float:
    """Expected calibration error (equation 3): the mean over rows of |confidence - accuracy| of the row's bin.

    Confidence is the largest probability of a row. Bins have equal width and are closed above, (0, 1/bins], ..., as in
    the paper.
    """
    bin_n, gap_n = gaps(np.asarray(probabilities, dtype=np.float64), np.asarray(labels), bins)
    return float(np.abs(np.bincount(bin_n, gap_n, bins)).sum() / len(gap_n))


def gaps(
    p_nk: Float[np.ndarray, "N K"], y_n: Int[np.ndarray, " N"], bins: int
) -> tuple[Int[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """The bin of each row, and its gap: confidence minus 1 for a right row, minus 0 for a wrong one.

    ECE is the sum over bins of |sum of gaps| / N.
    """
    confidence_n = p_nk.max(axis=1)
    bin_n = np.clip(np.ceil(confidence_n * bins).astype(np.int64) - 1, 0, bins - 1)
    return bin_n, confidence_n - (p_nk.argmax(axis=1) == y_n)


@dataclass(frozen=True)
class OperatingPoint:
    """A row is positive if its probability is at least `threshold`.

    Sensitivity and specificity are those on the rows that the threshold was chosen on.
    """

    threshold: float
    sensitivity: float
    specificity: float


def thresholds(
    probabilities: Float[np.ndarray | Tensor, "N K"],
    labels: Int[np.ndarray | Tensor, " N"] | Bool[np.ndarray | Tensor, "N K"],
    *,
    rule: Literal["youden", "sensitivity", "specificity"] = "youden",
    target: float = 0.9,
) -> list[OperatingPoint | None]:
    """An operating point for each class: against the other classes (labels (N,)), or by itself (bool labels (N, K)).

    "youden" maximises sensitivity + specificity, and so the balanced accuracy of the two-way decision. "sensitivity"
    is the most specific point whose sensitivity reaches `target`. "specificity" is the most sensitive point whose
    specificity reaches `target`. Of equally good points, the one with the highest threshold is chosen. A class without
    positive or without negative rows has no operating point: None.
    """
    p_nk, y = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    truth_nk = y if y.ndim == 2 else y[:, None] == np.arange(p_nk.shape[1])
    return [_operating_point(p_n, truth_n, rule, target) for p_n, truth_n in zip(p_nk.T, truth_nk.T, strict=True)]


def reliability_picture(
    probabilities: Float[np.ndarray | Tensor, "N K"],
    labels: Int[np.ndarray | Tensor, " N"],
    path: str | Path,
    bins: int = BINS,
) -> None:
    """Draw the accuracy of each bin against its confidence, and below it the number of rows in each bin."""
    p_nk, y_n = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    bin_n, gap_n = gaps(p_nk, y_n, bins)
    count_b = np.bincount(bin_n, minlength=bins)
    filled_b = count_b > 0
    confidence_b = np.bincount(bin_n, p_nk.max(axis=1), bins)[filled_b] / count_b[filled_b]
    accuracy_b = confidence_b - np.bincount(bin_n, gap_n, bins)[filled_b] / count_b[filled_b]
    left_b = np.arange(bins) / bins

    figure = Figure(figsize=(5, 6), layout="constrained")
    curve, histogram = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    curve.plot((0, 1), (0, 1), color="grey", linestyle="--", label="perfectly calibrated")
    curve.bar(
        left_b[filled_b],
        accuracy_b,
        1 / bins,
        align="edge",
        color="tab:blue",
        alpha=0.4,
        edgecolor="tab:blue",
    )
    curve.plot(confidence_b, accuracy_b, "o", color="tab:blue", label="accuracy at mean confidence")
    curve.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    curve.set_title(f"{len(y_n)} rows, ECE {ece(p_nk, y_n, bins):.3f}")
    figure.legend(loc="outside lower center", ncols=2)
    histogram.bar(left_b, count_b, 1 / bins, align="edge", color="tab:grey")
    histogram.set(xlabel="confidence (largest probability)", ylabel="rows")
    with replacing(Path(path)) as part:
        figure.savefig(part, dpi=150)


def _operating_point(
    p_n: Float[np.ndarray, " N"], truth_n: Bool[np.ndarray, " N"], rule: str, target: float
) -> OperatingPoint | None:
    if truth_n.all() or not truth_n.any():
        return None
    # Thresholds fall from infinity, so that sensitivity rises and specificity falls.
    false_positive_t, sensitivity_t, threshold_t = roc_curve(truth_n, p_n, drop_intermediate=False)
    # Rates are ratios of counts. Rounding removes errors of the last digits: equal rates are equal, a target is met.
    specificity_t, sensitivity_t = (1 - false_positive_t).round(12), sensitivity_t.round(12)
    threshold_t[0] = np.nextafter(p_n.max(), np.inf)
    if rule == "youden":
        best = int(np.argmax((sensitivity_t + specificity_t).round(12)))
    elif rule == "sensitivity":
        best = int(np.argmax(sensitivity_t >= target))
    else:
        reached_t = np.flatnonzero(specificity_t >= target)
        best = int(reached_t[np.argmax(sensitivity_t[reached_t])])
    return OperatingPoint(float(threshold_t[best]), float(sensitivity_t[best]), float(specificity_t[best]))
