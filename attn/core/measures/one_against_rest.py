"""How well each class is told from the rest: AUC, sensitivity and specificity, predictive values, calibration.

For classes that exclude each other and for labels of their own, of which some may be unknown (NaN). Intervals resample
groups of rows (`bootstrap`).

Shapes: N rows, K classes, R resamples, T different scores, F features. Probabilities and targets (N, K): 1 is there,
0 is not, NaN nobody knows. Weights (R, N).
"""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from attn.core.measures.bootstrap import RESAMPLES, Estimate, Statistic, bootstrap, paired_bootstrap
from attn.core.measures.calibration import BINS, gaps

FEWEST = 5
"""Groups with a class, and without it, that its AUC needs: the interval of one patient's rank would hardly vary."""
PER_CLASS = ("auc", "sensitivity", "specificity", "ppv", "npv", "ece", "brier")


def one_against_rest(
    p_nk: Float[np.ndarray, "N K"],
    targets_nk: Float[np.ndarray, "N K"],
    names: Sequence[str],
    groups_n: Sequence[int] | Int[np.ndarray, " N"],
    *,
    exclusive: bool,
    thresholds: Sequence[float],
    prevalence: float | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """All measures with 95 % intervals, as plain JSON values: `n`, `groups`, `auc`, `ece`, `brier`, `per_class`.

    A row is called positive for class k from `thresholds[k]` up. `ppv` and `npv` hold where a share `prevalence` has
    the class; where None, that of these rows. `auc` is the mean over the classes that have one. With `exclusive`
    classes there are also `accuracy`, `balanced_accuracy` and `confusion` (truth by prediction, likeliest class), `ece`
    is about the likeliest class (Guo et al. 2017, equation 3), and `brier` is the sum over classes (Brier 1950,
    from 0 to 2). Otherwise both are means over classes of the class's own, which `per_class` has in either case.

    Raises InputError when there are no rows.
    """
    group_n = np.asarray(groups_n, dtype=np.int64)
    few = [k for k, target_n in enumerate(targets_nk.T) if _fewest_groups(target_n, group_n) < FEWEST]
    how: dict[str, Any] = {"exclusive": exclusive, "thresholds": thresholds, "prevalence": prevalence}
    statistic = measures(p_nk, targets_nk, **how, without_auc=few)
    errors = ["ece", *(f"ece {k}" for k in range(len(names)))]
    found = bootstrap(statistic, group_n, resamples=resamples, seed=seed, reflected=errors)
    for estimate in found.values():
        # All rows are right, or all wrong, in every resample: that says nothing of how other patients would vary.
        if estimate["value"] in (0, 1) and estimate["low"] == estimate["high"]:
            estimate |= {"low": None, "high": None}
    heads = ("auc", *(("accuracy", "balanced_accuracy") if exclusive else ()), "ece", "brier")
    report: dict[str, Any] = {"n": len(p_nk), "groups": len(np.unique(groups_n)), **{key: found[key] for key in heads}}
    report["per_class"] = [
        {
            "label": name,
            "n": int((~np.isnan(target_n)).sum()),
            "positive": int(np.nansum(target_n)),
            "threshold": float(thresholds[k]),
            **{key: found[f"{key} {k}"] for key in PER_CLASS},
            "prevalence": found[f"prevalence {k}"]["value"],
        }
        for k, (name, target_n) in enumerate(zip(names, targets_nk.T, strict=True))
    ]
    if exclusive:
        cells = targets_nk.argmax(1) * len(names) + p_nk.argmax(1)
        report["confusion"] = np.bincount(cells, minlength=len(names) ** 2).reshape(len(names), -1).tolist()
    report["labels"] = list(names)
    report["bootstrap"] = {"resamples": resamples, "seed": seed}
    return report


def paired_auc(
    first_nk: Float[np.ndarray, "N K"],
    second_nk: Float[np.ndarray, "N K"],
    targets_nk: Float[np.ndarray, "N K"],
    groups_n: Sequence[int] | Int[np.ndarray, " N"],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """The macro AUC of the second model's scores minus that of the first, on the same rows, with a 95 % interval."""
    one, other = (_Aucs(scores_nk, targets_nk) for scores_nk in (first_nk, second_nk))
    found = paired_bootstrap(
        lambda w_rn: {"auc": one.macro(one(w_rn))},
        lambda w_rn: {"auc": other.macro(other(w_rn))},
        groups_n,
        resamples=resamples,
        seed=seed,
    )
    return found["auc"]


def measures(
    p_nk: Float[np.ndarray, "N K"],
    targets_nk: Float[np.ndarray, "N K"],
    *,
    exclusive: bool,
    thresholds: Sequence[float],
    prevalence: float | None = None,
    without_auc: Collection[int] = (),
) -> Statistic:
    """The statistic of `one_against_rest`. The names of the values of class k end in ` k`.

    Apart from the AUC, each is a ratio of weighted sums over rows: one matrix product gives them for all resamples.
    """
    p_nk, targets_nk = np.asarray(p_nk, np.float64), np.asarray(targets_nk, np.float64)
    known_nk, positive_nk = ~np.isnan(targets_nk), targets_nk == 1
    called_nk = p_nk >= np.asarray(thresholds)
    square_nk = np.where(known_nk, (p_nk - np.nan_to_num(targets_nk)) ** 2, 0)
    classes, aucs = range(p_nk.shape[1]), _Aucs(p_nk, targets_nk, without_auc)
    sums = _Sums()
    for k in classes:
        sums.add(f"known {k}", known_nk[:, k])
        sums.add(f"positive {k}", positive_nk[:, k])
        sums.add(f"hit {k}", positive_nk[:, k] & called_nk[:, k])
        sums.add(f"passed {k}", known_nk[:, k] & ~positive_nk[:, k] & ~called_nk[:, k])
        sums.add(f"square {k}", square_nk[:, k])
        gap_n = np.where(known_nk[:, k], p_nk[:, k] - np.nan_to_num(targets_nk[:, k]), 0)
        sums.add(f"gap {k}", _in_bins(_bins(p_nk[:, k]), gap_n))
    if exclusive:
        truth_n = targets_nk.argmax(1)
        right_n = p_nk.argmax(1) == truth_n
        for k in classes:
            sums.add(f"right {k}", right_n & (truth_n == k))
        sums.add("gap", _in_bins(*gaps(p_nk, truth_n, BINS)))

    def statistic(w_rn: Float[np.ndarray, "R N"]) -> dict[str, Float[np.ndarray, " R"]]:
        sum_of = sums(w_rn)
        rows_r = w_rn.sum(1)
        auc_rk = aucs(w_rn)
        found: dict[str, Float[np.ndarray, " R"]] = {}
        for k in classes:
            known_r, positive_r = sum_of[f"known {k}"], sum_of[f"positive {k}"]
            sensitivity_r = _ratio(sum_of[f"hit {k}"], positive_r)
            specificity_r = _ratio(sum_of[f"passed {k}"], known_r - positive_r)
            prior_r = _ratio(positive_r, known_r) if prevalence is None else np.full(len(rows_r), prevalence)
            found[f"auc {k}"], found[f"prevalence {k}"] = auc_rk[:, k], prior_r
            found[f"sensitivity {k}"], found[f"specificity {k}"] = sensitivity_r, specificity_r
            found[f"ppv {k}"], found[f"npv {k}"] = predictive_values(sensitivity_r, specificity_r, prior_r)
            found[f"ece {k}"] = _ratio(np.abs(sum_of[f"gap {k}"]).sum(1), known_r)
            found[f"brier {k}"] = _ratio(sum_of[f"square {k}"], known_r)
        found["auc"] = aucs.macro(auc_rk)
        if exclusive:
            right_rk = np.stack([sum_of[f"right {k}"] for k in classes], axis=1)
            there_rk = np.stack([sum_of[f"positive {k}"] for k in classes], axis=1)
            found["accuracy"] = right_rk.sum(1) / rows_r
            found["balanced_accuracy"] = _ratio(right_rk, np.maximum(there_rk, 1)).sum(1) / (there_rk > 0).sum(1)
            found["ece"] = np.abs(sum_of["gap"]).sum(1) / rows_r
            found["brier"] = sum((sum_of[f"square {k}"] for k in classes), np.zeros_like(rows_r)) / rows_r
        else:
            for key in ("ece", "brier"):
                found[key] = _mean_known(np.stack([found[f"{key} {k}"] for k in classes], axis=1))
        return found

    return statistic


def predictive_values(
    sensitivity: Float[np.ndarray, " R"], specificity: Float[np.ndarray, " R"], prevalence: Float[np.ndarray, " R"]
) -> tuple[Float[np.ndarray, " R"], Float[np.ndarray, " R"]]:
    """PPV and NPV by Bayes' rule: how often a positive and a negative answer are right; NaN where none is given."""
    true_positive, false_positive = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    true_negative, false_negative = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
    return (
        _ratio(true_positive, true_positive + false_positive),
        _ratio(true_negative, true_negative + false_negative),
    )


class _Aucs:
    """The AUC of each class, weighted: the share of pairs of a positive and a negative row in the right order.

    Ties count half (Mann and Whitney 1947). Rows are sorted once for all resamples. Classes in `without` have none.
    """

    def __init__(
        self, p_nk: Float[np.ndarray, "N K"], targets_nk: Float[np.ndarray, "N K"], without: Collection[int] = ()
    ) -> None:
        self.sorted = []
        for k, (p_n, target_n) in enumerate(zip(p_nk.T, np.asarray(targets_nk).T, strict=True)):
            known = np.flatnonzero(~np.isnan(target_n) & (k not in without))
            order = known[np.argsort(p_n[known], kind="stable")]
            starts_t = np.flatnonzero(np.diff(p_n[order], prepend=-np.inf) > 0)
            self.sorted.append((order, starts_t, target_n[order] == 1))
        self.both_k = np.array([positive.any() and not positive.all() for _, _, positive in self.sorted])

    def __call__(self, w_rn: Float[np.ndarray, "R N"]) -> Float[np.ndarray, "R K"]:
        """AUC of each class under each row of weights; NaN without positive or without negative rows."""
        return np.stack([self._one(w_rn, *each) for each in self.sorted], axis=1)

    def macro(self, auc_rk: Float[np.ndarray, "R K"]) -> Float[np.ndarray, " R"]:
        """The mean over the classes that have an AUC on all rows; NaN where a resample lost one of them."""
        return auc_rk[:, self.both_k].mean(1) if self.both_k.any() else np.full(len(auc_rk), np.nan)

    @staticmethod
    def _one(
        w_rn: Float[np.ndarray, "R N"],
        order: Int[np.ndarray, " N1"],
        starts_t: Int[np.ndarray, " T"],
        positive: np.ndarray,
    ) -> Float[np.ndarray, " R"]:
        if not positive.any() or positive.all():
            return np.full(len(w_rn), np.nan)
        sorted_rn = w_rn[:, order]
        all_rt = np.add.reduceat(sorted_rn, starts_t, axis=1)
        positive_rt = np.add.reduceat(sorted_rn * positive, starts_t, axis=1)
        negative_rt = all_rt - positive_rt
        below_rt = np.cumsum(negative_rt, axis=1) - negative_rt / 2
        return _ratio((positive_rt * below_rt).sum(1), positive_rt.sum(1) * negative_rt.sum(1))


class _Sums:
    """Weighted sums of many features of rows at once."""

    def __init__(self) -> None:
        self.features: dict[str, np.ndarray] = {}

    def add(self, name: str, feature: np.ndarray) -> None:
        """A feature (N,) or several (N, F)."""
        self.features[name] = feature.astype(np.float64)

    def __call__(self, w_rn: Float[np.ndarray, "R N"]) -> dict[str, np.ndarray]:
        """By name (R,), or (R, F) for several."""
        widths = [1 if feature.ndim == 1 else feature.shape[1] for feature in self.features.values()]
        sums_rf = w_rn @ np.column_stack([*self.features.values()])
        parts = np.split(sums_rf, np.cumsum(widths)[:-1], axis=1)
        named = zip(self.features.items(), parts, strict=True)
        return {name: part[:, 0] if feature.ndim == 1 else part for (name, feature), part in named}


def _bins(p_n: Float[np.ndarray, " N"]) -> Int[np.ndarray, " N"]:
    """Bins of equal width, closed above, as in `calibration.gaps`."""
    bin_n: np.ndarray = np.clip(np.ceil(p_n * BINS).astype(np.int64) - 1, 0, BINS - 1)
    return bin_n


def _in_bins(bin_n: Int[np.ndarray, " N"], gap_n: Float[np.ndarray, " N"]) -> Float[np.ndarray, "N F"]:
    """Each row's gap in the column of its bin."""
    gap_nf = np.zeros((len(bin_n), BINS))
    gap_nf[np.arange(len(bin_n)), bin_n] = gap_n
    return gap_nf


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """NaN where there is nothing to divide by."""
    ratio: np.ndarray = np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)
    return ratio


def _mean_known(values_rk: Float[np.ndarray, "R K"]) -> Float[np.ndarray, " R"]:
    known_rk = ~np.isnan(values_rk)
    return _ratio(np.where(known_rk, values_rk, 0).sum(1), known_rk.sum(1))


def _fewest_groups(target_n: Float[np.ndarray, " N"], group_n: Int[np.ndarray, " N"]) -> int:
    """Groups with the class or without it, whichever are fewer."""
    return min(len(np.unique(group_n[target_n == there])) for there in (0, 1))
