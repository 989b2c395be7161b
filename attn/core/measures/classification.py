"""Measures of a classifier: accuracy, balanced accuracy, macro-F1 and ECE, with intervals.

Shapes: N rows, K classes, R resamples. Probabilities (N, K) sum to 1 along K; labels (N,) are class indices.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from torch import Tensor

from attn.core.errors import InputError
from attn.core.files import replacing
from attn.core.measures.calibration import BINS, ece, gaps

HEADLINES = ("accuracy", "balanced_accuracy", "macro_f1")


def classification_report(
    probabilities: Float[np.ndarray | Tensor, "N K"],
    labels: Int[np.ndarray | Tensor, " N"],
    names: Sequence[str],
    seed: int = 0,
    bootstrap: int = 1000,
) -> dict[str, Any]:
    """Accuracy, balanced accuracy, macro-F1 and ECE with 95 % intervals, measures of each class, and the confusions.

    The report has plain JSON values: `n`; `accuracy`, `balanced_accuracy`, `macro_f1` and `ece` as {value, low, high};
    `per_class` rows (label, n, precision, recall, f1); `confusion` (K lists of K counts, truth by prediction);
    `labels`; `bootstrap`.

    Balanced accuracy is a mean over the classes that occur, macro-F1 over the classes that occur or were predicted. A
    ratio with the denominator 0 is None. Intervals are percentiles of `bootstrap` resamples. Each resample has as many
    rows of each true class as the data: the sizes of classes belong to the choice of the test set, and no rare class is
    missing from a resample. Resampling noise biases the ECE of a resample upward, so the interval of the ECE is the
    reflected one (2 x value - percentile), cut at 0.

    Raises InputError when there are no rows.
    """
    p_nk = np.asarray(probabilities, dtype=np.float64)
    y_n = np.asarray(labels)
    if len(y_n) == 0:
        raise InputError("no labelled rows to measure on")
    classes = range(len(names))
    predicted_n = p_nk.argmax(axis=1)
    confusion_kk = confusion_matrix(y_n, predicted_n, labels=classes)

    rng = np.random.default_rng(seed)
    values = _headlines(confusion_kk[None])
    resampled = _headlines(_resample_confusion(confusion_kk, bootstrap, rng))
    report: dict[str, Any] = {"n": len(y_n)}
    for name in HEADLINES:
        low, high = np.percentile(resampled[name], (2.5, 97.5))
        report[name] = {"value": float(values[name][0]), "low": float(low), "high": float(high)}
    error = ece(p_nk, y_n)
    low, high = np.percentile(_resample_ece(p_nk, y_n, bootstrap, rng), (2.5, 97.5))
    report["ece"] = {
        "value": error,
        "low": max(0.0, 2 * error - float(high)),
        "high": max(0.0, 2 * error - float(low)),
    }
    report["per_class"] = _per_class(y_n, predicted_n, names)
    report["confusion"] = confusion_kk.tolist()
    report["labels"] = list(names)
    report["bootstrap"] = {"resamples": bootstrap, "seed": seed, "stratified": True}
    return report


def confusion_picture(report: dict[str, Any], path: str | Path) -> None:
    """Draw the confusion matrix: counts and row percentages, shaded by the share of the true class."""
    counts_kk = np.array(report["confusion"])
    share_kk = counts_kk / np.maximum(counts_kk.sum(axis=1, keepdims=True), 1)
    size = max(4.0, 1.8 + 0.75 * len(counts_kk))
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(share_kk, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(share_kk):
        text = f"{counts_kk[row, column]}\n{share:.0%}"
        axes.text(column, row, text, ha="center", va="center", size=8, color="white" if share > 0.5 else "black")
    ticks = range(len(counts_kk))
    axes.set_xticks(ticks, report["labels"], rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(ticks, report["labels"])
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(f"{report['n']} rows, balanced accuracy {report['balanced_accuracy']['value']:.3f}")
    figure.colorbar(image, ax=axes, label="share of the true class")
    with replacing(Path(path)) as part:
        figure.savefig(part, dpi=150)


def _headlines(confusion_rkk: Int[np.ndarray, "R K K"]) -> dict[str, Float[np.ndarray, " R"]]:
    """The headline measures of R confusion matrices, truth by prediction."""
    hits_rk = np.diagonal(confusion_rkk, axis1=1, axis2=2)
    true_rk = confusion_rkk.sum(axis=2)
    claimed_rk = confusion_rkk.sum(axis=1)
    recall_rk = hits_rk / np.maximum(true_rk, 1)
    f1_rk = 2 * hits_rk / np.maximum(true_rk + claimed_rk, 1)
    return {
        "accuracy": hits_rk.sum(axis=1) / true_rk.sum(axis=1),
        "balanced_accuracy": recall_rk.sum(axis=1) / (true_rk > 0).sum(axis=1),
        "macro_f1": f1_rk.sum(axis=1) / (true_rk + claimed_rk > 0).sum(axis=1),
    }


def _resample_confusion(
    confusion_kk: Int[np.ndarray, "K K"], resamples: int, rng: np.random.Generator
) -> Int[np.ndarray, "R K K"]:
    """Confusion matrices of resamples: n_k rows of class k with replacement are a multinomial draw of matrix row k."""
    sizes_k = confusion_kk.sum(axis=1)
    share_kk = confusion_kk / np.maximum(sizes_k, 1)[:, None]
    # The shares of a class without rows do not sum to 1. numpy gives the missing share to the last cell: 0 draws.
    return rng.multinomial(sizes_k, share_kk, size=(resamples, len(sizes_k)) if resamples else None)


def _resample_ece(
    p_nk: Float[np.ndarray, "N K"], y_n: Int[np.ndarray, " N"], resamples: int, rng: np.random.Generator
) -> Float[np.ndarray, " R"]:
    """The ECE of stratified resamples. Rows are sorted by class, so that a drawn row is an offset within its class."""
    order_n = np.argsort(y_n, kind="stable")
    bin_n, gap_n = gaps(p_nk[order_n], y_n[order_n], BINS)
    _, start_k, size_k = np.unique(y_n[order_n], return_index=True, return_counts=True)
    start_n, size_n = np.repeat(start_k, size_k), np.repeat(size_k, size_k)
    eces_r = np.empty(resamples)
    for r in range(resamples):
        drawn_n = start_n + (rng.random(len(y_n)) * size_n).astype(np.int64)
        eces_r[r] = np.abs(np.bincount(bin_n[drawn_n], gap_n[drawn_n], BINS)).sum() / len(y_n)
    return eces_r


def _per_class(
    y_n: Int[np.ndarray, " N"], predicted_n: Int[np.ndarray, " N"], names: Sequence[str]
) -> list[dict[str, Any]]:
    columns = precision_recall_fscore_support(y_n, predicted_n, labels=range(len(names)), zero_division=np.nan)
    rows = zip(names, *(column.tolist() for column in columns), strict=True)
    return [
        {"label": name, "n": n, "precision": _known(precision), "recall": _known(recall), "f1": _known(f1)}
        for name, precision, recall, f1, n in rows
    ]


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value
