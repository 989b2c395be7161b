"""Measures of recognition where a query may be of nobody known, and of grouping.

A query is answered by its best item, if their similarity reaches a threshold. Detection and identification rate at a
false alarm rate: Phillips, Grother and Micheals 2011, Handbook of Face Recognition, chapter 21.

Shapes: K queries of the known, U of the unknown, N items.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.cluster import pair_confusion_matrix

from attn.core.errors import InputError


def threshold_at(unknown: Float[np.ndarray, " U"], rate: float) -> float:
    """The lowest similarity that at most `rate` of the unknown reach: above the value that one more would let in."""
    if not len(unknown):
        raise InputError("no query of the unknown to measure false alarms on")
    allowed = int(np.floor(rate * len(unknown) + 1e-9))
    if allowed >= len(unknown):
        return float(unknown.min())
    return float(np.nextafter(np.sort(unknown)[::-1][allowed], np.inf))


def identification_rate(
    known: Float[np.ndarray, " K"], right: Bool[np.ndarray, " K"], unknown: Float[np.ndarray, " U"], rate: float
) -> float:
    """The share of the known that are found, and named right, where at most `rate` of the unknown raise an alarm.

    known, unknown: the similarity of each query to its best item. right: whether that item is the right one.
    InputError: no query of either.
    """
    if not len(known):
        raise InputError("no query of the known to identify")
    return float((right & (known >= threshold_at(unknown, rate))).mean())


def best_threshold(known: Float[np.ndarray, " K"], unknown: Float[np.ndarray, " U"]) -> float:
    """The similarity with the highest balanced accuracy, halfway to the next lower; for a validation set."""
    values = np.unique(np.concatenate([known, unknown]))
    candidates = np.concatenate([values[:1], (values[1:] + values[:-1]) / 2])
    return float(candidates[np.argmax([balanced_accuracy(known, unknown, float(each)) for each in candidates])])


def balanced_accuracy(known: Float[np.ndarray, " K"], unknown: Float[np.ndarray, " U"], threshold: float) -> float:
    """The mean of two shares: of the known that reach the threshold, and of the unknown that do not."""
    if not len(known) or not len(unknown):
        raise InputError("balanced accuracy needs queries of the known and of the unknown")
    return float(((known >= threshold).mean() + (unknown < threshold).mean()) / 2)


def open_set_report(
    known: Float[np.ndarray, " K"],
    right: Bool[np.ndarray, " K"],
    unknown: Float[np.ndarray, " U"],
    threshold: float,
    rates: Sequence[float] = (0.01, 0.1),
) -> dict[str, Any]:
    """`balanced_accuracy` at a threshold from elsewhere, and `identification_rate` by false alarm rate."""
    found = {f"{rate:g}": identification_rate(known, right, unknown, rate) for rate in rates}
    accuracy = balanced_accuracy(known, unknown, threshold)
    sizes = {"known": len(known), "unknown": len(unknown)}
    return {"balanced_accuracy": accuracy, "threshold": threshold, "identification_rate": found, **sizes}


def grouping_report(truth: Int[np.ndarray, " N"], found: Int[np.ndarray, " N"]) -> dict[str, float]:
    """How well groups agree with the truth: `ari`, and `precision` and `recall` of pairs in one group.

    Without any pair that is said to belong together, precision is 1; without any that does, recall is 1.
    """
    if not len(truth):
        raise InputError("no labelled items to measure groups on")
    (_, false), (missed, right) = pair_confusion_matrix(truth, found).tolist()
    return {
        "ari": float(adjusted_rand_score(truth, found)),
        "precision": right / (right + false) if right + false else 1.0,
        "recall": right / (right + missed) if right + missed else 1.0,
        "groups": len(np.unique(found)),
        "true_groups": len(np.unique(truth)),
    }
