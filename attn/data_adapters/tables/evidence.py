"""What a column tells of the label as a category and as a number, on rows held out from the rates that tell it.

Each half of the rows gets the click rates of the other half: of its values, or of its quantile bins. A rate is drawn
towards the overall rate as if some rows of that rate had been seen, so that rare values tell little; how many such
rows is chosen by the loss, for the category and for the number.

Shapes: N rows.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from sklearn.metrics import roc_auc_score

HALVES = 2
PRIOR = 1.0
PRIORS = (2.0, 8.0, 32.0, 128.0, 1024.0)
BINS = 32
FEWEST = 200  # rows, below which nothing can be told
SURE = 2.0  # standard errors
DEAL = 0x9E3779B97F4A7C15  # seeds the halves: a table drawn with a seed of 0 has halves of its own


@dataclass(frozen=True)
class Evidence:
    """AUC of the column alone as a category and as a number, and how much better (in standard errors) each is.

    margin: the gain in log loss of the category over the number; category, number: of each over the constant rate.
    """

    auc_as_category: float
    auc_as_number: float
    margin: float
    category: float
    number: float


def weigh(cells: pl.Series, labels_n: np.ndarray) -> Evidence | None:
    """Weigh a column of numbers; None where the labels or the rows are too few to say anything."""
    if len(cells) < FEWEST or not 0 < labels_n.mean() < 1:
        return None
    x_n = cells.cast(pl.Float64).fill_null(np.nan).to_numpy()
    as_category_n = _best_rates(cells, labels_n)
    known_n = x_n[np.isfinite(x_n)]
    edges = np.unique(np.quantile(known_n, np.linspace(0, 1, BINS + 1)[1:-1])) if len(known_n) else np.zeros(1)
    bins_n = np.where(np.isfinite(x_n), np.searchsorted(edges, np.nan_to_num(x_n), side="right"), -1)
    as_number_n = _best_rates(pl.Series(bins_n), labels_n)
    constant_n = np.full(len(labels_n), labels_n.mean())
    return Evidence(
        auc_as_category=float(roc_auc_score(labels_n, as_category_n)),
        auc_as_number=float(roc_auc_score(labels_n, as_number_n)),
        margin=_better(as_category_n, as_number_n, labels_n),
        category=_better(as_category_n, constant_n, labels_n),
        number=_better(as_number_n, constant_n, labels_n),
    )


def held_out_rates(values: pl.Series, labels_n: np.ndarray, prior: float = PRIOR) -> np.ndarray:
    """For each row the click rate of its value in the other half of the rows, drawn towards the overall rate."""
    clicks_n, rows_n = _other_half(values, labels_n)
    return _rates(clicks_n, rows_n, labels_n, prior)


def _other_half(values: pl.Series, labels_n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each row the clicks and the rows (N,) of its value in the other half of the rows."""
    half = np.random.default_rng(DEAL).integers(0, HALVES, len(values))
    frame = pl.DataFrame({"value": values, "label": labels_n, "half": half})
    counted = frame.group_by("value", "half").agg(clicks=pl.col("label").sum(), rows=pl.len())
    counted = counted.with_columns(half=1 - pl.col("half"))
    joined = frame.join(counted, on=["value", "half"], how="left", nulls_equal=True, maintain_order="left")
    clicks, rows = (joined[name].cast(pl.Float64).fill_null(0).to_numpy() for name in ("clicks", "rows"))
    return clicks, rows


def _rates(clicks_n: np.ndarray, rows_n: np.ndarray, labels_n: np.ndarray, prior: float) -> np.ndarray:
    found: np.ndarray = (clicks_n + prior * labels_n.mean()) / (rows_n + prior)
    return found


def _best_rates(values: pl.Series, labels_n: np.ndarray) -> np.ndarray:
    counted = _other_half(values, labels_n)
    return max((_rates(*counted, labels_n, prior) for prior in PRIORS), key=lambda p_n: _gain(p_n, labels_n).mean())


def _gain(p_n: np.ndarray, labels_n: np.ndarray) -> np.ndarray:
    return np.log(np.where(labels_n == 1, p_n, 1 - p_n))


def _better(p_n: np.ndarray, q_n: np.ndarray, labels_n: np.ndarray) -> float:
    """By how many standard errors the mean log loss of p is below that of q."""
    gain_n = _gain(p_n, labels_n) - _gain(q_n, labels_n)
    error = gain_n.std() / np.sqrt(len(gain_n))
    return float(gain_n.mean() / error) if error else 0.0
