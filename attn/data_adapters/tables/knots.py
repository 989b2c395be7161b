"""Where the vectors of a number have their knots: between two knots a vector lies on the line between their rows.

That is a piecewise-linear encoding (Gorishniy et al. 2022, arXiv:2203.05556, section 3.1), whose bins are

- each frequent value, where there are few: the number is then what a category of it would be, and rare values lie
  between their neighbours;
- else quantiles of the values, so that each bin has as many rows; and
- the thresholds of a decision tree for the label (section 3.1.2 there), each as two knots side by side, so that a step
  may be one; and
- values that many rows have (a mass at zero), each with a knot of its own between its two neighbours: what the model
  makes of the value does not bend what it makes of those around it.

Shapes: N rows, K knots.
"""

import numpy as np
from sklearn.tree import DecisionTreeClassifier

QUANTILES = 32
FEW = 128  # distinct frequent values, each with a knot
RARE = 1e-4  # share of the rows
COVERED = 0.9  # share of the rows, those of a mass left out, that frequent values must have
LEAVES = 16  # of the tree
SMALLEST_LEAF = 100  # rows
FINEST = 1e-5  # of the distance between knots to their size: float32 tells them apart


def knots_of(x_n: np.ndarray, labels_n: np.ndarray) -> tuple[float, ...]:
    """Increasing knots (K,) for finite values of training rows and their labels of 0 and 1; (0,) for no values."""
    if not len(x_n):
        return (0.0,)
    values, counts = np.unique(x_n, return_counts=True)
    frequent = values[counts >= max(2, RARE * len(x_n))]
    many_n = counts > len(x_n) / QUANTILES
    rest_n = x_n[~np.isin(x_n, values[many_n])]
    if len(frequent) <= FEW and (not len(rest_n) or np.isin(rest_n, frequent).mean() > COVERED):
        return _apart(np.concatenate([frequent, values[[0, -1]]]))
    knots = [np.quantile(rest_n, np.linspace(0, 1, QUANTILES), method="closest_observation")] if len(rest_n) else []
    places = np.flatnonzero(many_n)
    knots += [values[np.clip(places + step, 0, len(values) - 1)] for step in (-1, 0, 1)]
    above = np.searchsorted(values, _thresholds(x_n, labels_n))
    knots += [values[np.clip(above - step, 0, len(values) - 1)] for step in (1, 0)]
    return _apart(np.concatenate(knots))


def _thresholds(x_n: np.ndarray, labels_n: np.ndarray) -> np.ndarray:
    tree = DecisionTreeClassifier(
        criterion="log_loss", max_leaf_nodes=LEAVES, min_samples_leaf=SMALLEST_LEAF, random_state=0
    )
    if len(x_n) < 2 * SMALLEST_LEAF:
        return np.zeros(0)
    tree.fit(x_n[:, None].astype(np.float32), labels_n)
    found: np.ndarray = tree.tree_.threshold[tree.tree_.feature >= 0]
    return found


def _apart(knots: np.ndarray) -> tuple[float, ...]:
    """The distinct knots, without those that float32 can hardly tell from the one before."""
    kept: list[float] = []
    for knot in np.unique(knots).tolist():
        if not kept or knot - kept[-1] > FINEST * max(abs(knot), abs(kept[-1])):
            kept.append(knot)
    return tuple(kept)
