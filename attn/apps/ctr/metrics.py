"""Measures of predicted clicks: AUC, log loss, calibration, and AUC within groups.

Shapes: N rows.
"""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.special import expit, xlogy
from sklearn.metrics import roc_auc_score

from attn.core.files import replacing

DECILES = 10


def click_metrics(logits_n: np.ndarray, labels_n: np.ndarray, weights_n: np.ndarray | None = None) -> dict[str, Any]:
    """AUC, log loss, how much better the log loss is than that of a constant click rate, and the calibration error.

    `auc` is None if all labels are the same. `relative_improvement` is 1 - log loss / log loss of the mean label (He et
    al. 2014, "normalised entropy"). `ece` is the mean distance between predicted and observed rates of tenths of the
    rows, each of as many rows. With weights (N,), every row counts for its weight, but in `ece` and `rows`.
    """
    logits_n, labels_n = logits_n.astype(np.float64), labels_n.astype(np.float64)
    logloss = float(np.average(np.logaddexp(0, logits_n) - labels_n * logits_n, weights=weights_n))
    rate = float(np.average(labels_n, weights=weights_n))
    tenths = calibration_table(logits_n, labels_n)
    constant = float(-(xlogy(rate, rate) + xlogy(1 - rate, 1 - rate)))
    return {
        "auc": float(roc_auc_score(labels_n, logits_n, sample_weight=weights_n)) if 0 < rate < 1 else None,
        "logloss": logloss,
        "relative_improvement": 1 - logloss / constant if constant else None,
        "rate": rate,
        "predicted_rate": float(np.average(expit(logits_n), weights=weights_n)),
        "ece": sum(row["rows"] * abs(row["predicted"] - row["observed"]) for row in tenths) / len(labels_n),
        "rows": len(labels_n),
    }


def auc_error(auc: float, labels_n: np.ndarray) -> float:
    """Standard error of an AUC (Hanley and McNeil 1982, equation 1)."""
    positives = float(labels_n.sum())
    negatives = len(labels_n) - positives
    both_above, both_below = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    spread = (auc * (1 - auc) + (positives - 1) * (both_above - auc**2) + (negatives - 1) * (both_below - auc**2)) / (
        positives * negatives
    )
    return float(max(spread, 0.0) ** 0.5)


def grouped_auc(logits_n: np.ndarray, labels_n: np.ndarray, groups_n: pl.Series) -> dict[str, Any]:
    """The mean AUC within groups, weighted by their rows (Zhou et al. 2018, equation 7).

    A group counts if it has both labels. `grouped_auc` is None if no group has.
    """
    frame = pl.DataFrame({"group": groups_n.cast(pl.String), "label": labels_n, "logit": logits_n})
    ranked = frame.with_columns(rank=pl.col("logit").rank("average").over("group"))
    each = ranked.group_by("group").agg(
        rows=pl.len(), positives=pl.col("label").sum(), ranks=pl.col("rank").filter(pl.col("label") > 0).sum()
    )
    both = each.filter((pl.col("positives") > 0) & (pl.col("positives") < pl.col("rows")))
    # The rank sum of the positives (Mann and Whitney 1947) gives the AUC of a group.
    above = pl.col("ranks") - pl.col("positives") * (pl.col("positives") + 1) / 2
    both = both.with_columns(auc=above / (pl.col("positives") * (pl.col("rows") - pl.col("positives"))))
    value = float(np.average(both["auc"].to_numpy(), weights=both["rows"].to_numpy())) if len(both) else None
    return {"grouped_auc": value, "groups": len(each), "groups_with_both": len(both)}


def calibration_table(logits_n: np.ndarray, labels_n: np.ndarray) -> list[dict[str, Any]]:
    """The predicted and the observed click rate and their ratio, for each tenth of the rows, the least likely first."""
    order_n = np.argsort(logits_n, kind="stable")
    rows = []
    for number, chosen in enumerate(np.array_split(order_n, DECILES), 1):
        if len(chosen):
            predicted, observed = float(expit(logits_n[chosen]).mean()), float(labels_n[chosen].mean())
            ratio = predicted / observed if observed else None
            rows.append(
                {"decile": number, "rows": len(chosen), "predicted": predicted, "observed": observed, "ratio": ratio}
            )
    return rows


def calibration_picture(table: list[dict[str, Any]], path: Path) -> None:
    """Draw the observed rate of each decile, with its 95 % interval, against the predicted rate."""
    from matplotlib.figure import Figure

    predicted, observed, count = (np.array([row[key] for row in table]) for key in ("predicted", "observed", "rows"))
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    top = 1.05 * max(predicted.max(), observed.max())
    axes.plot((0, top), (0, top), color="grey", linestyle="--", label="perfectly calibrated")
    axes.errorbar(
        predicted,
        observed,
        1.96 * np.sqrt(observed * (1 - observed) / count),
        fmt="o",
        color="tab:blue",
        label="tenths of the rows, 95 % intervals",
    )
    axes.set(xlabel="predicted click rate", ylabel="observed click rate", xlim=(0, top), ylim=(0, None))
    axes.set_title(f"{int(count.sum())} rows")
    axes.legend(loc="upper left")
    with replacing(path) as part:
        figure.savefig(part, dpi=150)
