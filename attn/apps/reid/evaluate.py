"""Measure a model on individuals that it has not seen: rankings, pairs, and queries of nobody known.

Shapes: Q queries, V queries that count, G pictures of the gallery, I individuals, R resamples, N bins.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from attn.apps.reid.comparison import RERANKING, Comparison
from attn.apps.reid.evaluate_picture import draw
from attn.apps.reid.predict import ReIDPredictor
from attn.apps.reid.probabilities import Calibration
from attn.apps.reid.unseen import Unseen, rows_of, unseen
from attn.apps.reid.verified import VERIFYING, verified
from attn.apps.reid.verify import looks_again
from attn.core.errors import InputError, UsageError
from attn.core.files import claim
from attn.core.measures.bootstrap import Estimate, bootstrap
from attn.core.measures.open_set import best_threshold, open_set_report
from attn.core.measures.retrieval import DEPTHS, REASONS
from attn.data_adapters.images.identities import LabelledIndividuals

RATES = (0.01, 0.1)  # of false alarms
BINS = 4096  # of similarities, with equally many pairs each
SAMPLE = 2**20  # pairs that the bins are chosen by
HEADLINES = ("mAP", *(f"rank{k}" for k in DEPTHS), "mINP", "auc")


@dataclass(frozen=True)
class OpenSet:
    """Half of the individuals are not in the gallery. Scores of the best answers, and whether those of known are right.

    score: the probability of the answer where a calibration gives one, else its similarity. threshold: below it a query
    is of nobody known; None where nothing says which.
    """

    known: Float[np.ndarray, " K"]
    right: Bool[np.ndarray, " K"]
    unknown: Float[np.ndarray, " U"]
    threshold: float | None = None
    threshold_from: str = "nothing: calibrate the model, or give the individuals that chose its best epoch as well"

    def report(self) -> dict[str, Any]:
        """`open_set_report`, and where the threshold is from. Without one there is no balanced accuracy."""
        found = open_set_report(self.known, self.right, self.unknown, self.threshold or 0.0, RATES)
        if self.threshold is None:
            found |= {"balanced_accuracy": None, "threshold": None}
        return found | {"threshold_from": self.threshold_from}


@dataclass(frozen=True)
class Evaluation:
    """What was measured; `report` and `pictures` say it."""

    found: Unseen
    comparison: Comparison
    roc: "Roc"
    open_set: OpenSet | None
    reranked: bool = False
    verified: bool = False

    def report(self) -> dict[str, Any]:
        """`mAP`, `rank1`, `rank5`, `rank10`, `mINP` and `auc` with intervals that resample individuals; counts.

        left_out: how many queries, by reason. dropped: how many pairs each rule left out. true_positives: the share of
        pairs of the same individual that is found at a rate of pairs of different ones.
        """
        measured = self.comparison.retrieval
        summary, valid = measured.summary(), measured.valid
        who_q = self.comparison.who[self.comparison.query][valid]
        values = {"mAP": measured.ap, "mINP": measured.inp} | {
            f"rank{k}": measured.cmc[:, i] for i, k in enumerate(measured.depths)
        }

        def means(w_rq: Float[np.ndarray, "R Q"]) -> dict[str, Float[np.ndarray, " R"]]:
            return {name: w_rq @ value[valid] / w_rq.sum(axis=1) for name, value in values.items()}

        estimates = bootstrap(means, who_q) | {"auc": self.roc.estimate()}
        return {
            **{name: estimates[name] for name in HEADLINES},
            "true_positives": {f"{rate:g}": self.roc.true_positives(rate) for rate in RATES},
            "open_set": None if self.open_set is None else self.open_set.report(),
            "queries": summary["queries"],
            "gallery": len(self.comparison.gallery),
            "individuals": len({*who_q.tolist()}),
            "rules": self.comparison.described(),
            "left_out": summary["left_out"],
            "dropped": summary["dropped"],
            "ap": summary["ap"],
            "ties": summary["ties"],
            "rerank": RERANKING if self.reranked else None,
            "verify": VERIFYING if self.verified else None,
            "label_conflicts": self.found.conflicts(),
            "failed": self.found.failed,
        }

    def sentences(self, within: str | None = None) -> list[str]:
        """The rules, and what each left out, for people; `within` is the name of its column."""
        report = self.report()
        left = [f"{n} {REASONS[reason]}" for reason, n in report["left_out"].items() if n]
        rules = [f"within {within or 'the same value'}"] * report["rules"]["within"]
        rules += [f"not of one individual from the same {name}" for name in report["rules"]["apart"]]
        drops = {"itself": "the query itself", "copy": "copies of it", "within": f"another {within or 'value'}"}
        dropped = [f"{drops.get(rule, f'the same {rule}')} {n:,}" for rule, n in report["dropped"].items()]
        said = [
            f"{report['queries']} queries ({report['rules']['queries_are']}), {report['gallery']} in the gallery",
            f"queries left out: {', '.join(left) or 'none'}",
            f"compared {'; '.join(rules) or 'with everything but the query itself'}; "
            f"pairs left out: {', '.join(dropped)}",
            "average precision is the plain one, ties are in their expected order",
            *[f"local features: looked at in the best {VERIFYING['best']} images of each query"] * self.verified,
        ]
        conflicts = [f"the same picture under two individuals: {a} and {b}" for a, b in report["label_conflicts"]]
        return said + conflicts

    def open_rows(self) -> list[dict[str, Any]]:
        """The open set as a table of one row."""
        found = {} if self.open_set is None else self.open_set.report()
        rates = found.pop("identification_rate", {})
        named = {f"found_at_{float(rate):.0%}_false_alarms".replace("%", "_percent"): rates[rate] for rate in rates}
        return [named | found] if found else []

    def pictures(self, folder: Path) -> list[Path]:
        """Write measures.png to `folder`."""
        claim(folder)
        draw(self, folder / "measures.png")
        return [folder / "measures.png"]


@dataclass(frozen=True)
class Roc:
    """Histograms of similarities, of pairs of the same individual and of different ones, by the query's individual."""

    same_in: Int[np.ndarray, "I N"]
    different_in: Int[np.ndarray, "I N"]

    @classmethod
    def of(cls, comparison: Comparison) -> "Roc":
        """Of all pairs of a query that counts and a labelled picture that it is compared with."""
        labelled_g = comparison.who[comparison.gallery] >= 0
        every = 1 + len(comparison.query) * len(comparison.gallery) // SAMPLE
        sample = [similar_g for n, (_, similar_g, _) in enumerate(comparison.each()) if n % every == 0]
        edges = np.concatenate(sample)
        edges = np.unique(np.nanquantile(edges, np.linspace(0, 1, BINS - 1), method="nearest"))
        found = np.zeros((2, len(comparison.names), BINS), np.int64)
        for q, similar_g, right_g in comparison.each():
            kept_g = ~np.isnan(similar_g) & labelled_g
            bin_g = np.searchsorted(edges, similar_g[kept_g], "right")
            who = comparison.who[comparison.query[q]]
            for kind, chosen in enumerate((right_g[kept_g], ~right_g[kept_g])):
                found[kind, who] += np.bincount(bin_g[chosen], minlength=BINS)
        there = found.any(axis=(0, 2))
        return cls(found[0, there], found[1, there])

    def estimate(self) -> Estimate:
        """Area under the curve; similarities in one bin count as tied."""

        def area(w_ri: Float[np.ndarray, "R I"]) -> dict[str, Float[np.ndarray, " R"]]:
            same_rn, different_rn = w_ri @ self.same_in, w_ri @ self.different_in
            below_rn = different_rn.cumsum(axis=1) - different_rn / 2
            pairs_r = same_rn.sum(axis=1) * different_rn.sum(axis=1)
            return {"auc": np.where(pairs_r > 0, (same_rn * below_rn).sum(axis=1) / np.maximum(pairs_r, 1), np.nan)}

        return bootstrap(area, np.arange(len(self.same_in)))["auc"]

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """The shares of different and of same pairs (N + 1,) from each similarity up, the highest first."""
        shares = []
        for counts_in in (self.different_in, self.same_in):
            count_n = counts_in.sum(axis=0)[::-1]
            shares.append(np.concatenate([[0.0], count_n.cumsum() / max(int(count_n.sum()), 1)]))
        return shares[0], shares[1]

    def true_positives(self, rate: float) -> float:
        """The largest share of same pairs where at most `rate` of the different ones pass."""
        false_n, true_n = self.curve()
        return float(true_n[false_n <= rate].max())


def evaluate(
    predictor: ReIDPredictor,
    source: LabelledIndividuals,
    *,
    split: str | None = None,
    rerank: bool = False,
    verify: bool | None = None,
    seed: int = 0,
    advance: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Measure on the pictures of `source`, or of its `split`, whose individuals the model has not seen.

    Pictures and individuals of the training and of the calibration are left out. verify: as in a search, see
    `looks_again`. The threshold of the open set is that which the calibration has for such a search; without one, or
    with `rerank`, it is chosen on the individuals of `source` that chose the best epoch. Raises InputError when no
    query can be measured, UsageError for both orders at once.
    """
    if rerank and verify:
        raise UsageError("answers are re-ranked or verified, not both", hint="leave --rerank or --verify out")
    again, calibration = not rerank and looks_again(verify, predictor.calibration), predictor.calibration
    if rerank:
        calibration = None
    elif again and calibration is not None:
        calibration = calibration.of_verified()

    def compare(found: Unseen) -> Comparison:
        comparison = Comparison.of(found, reranked=rerank)
        return verified(comparison, found.individuals, predictor.calibration) if again else comparison

    found = unseen(predictor, source if split is None else source.select(split), advance=advance)
    comparison = compare(found)
    comparison.retrieval.summary()  # says why, where no query counts
    opened = open_set(comparison, calibration, seed)
    if opened is not None and calibration is None:
        opened = _with_threshold(opened, predictor, source, compare, seed)
    return Evaluation(found, comparison, Roc.of(comparison), opened, rerank, again)


def open_set(comparison: Comparison, calibration: Calibration | None, seed: int = 0) -> OpenSet | None:
    """Answers where half of the individuals, drawn by `seed`, are not in the gallery; None for fewer than two.

    At equal similarity a wrong individual counts as the answer.
    """
    queries, best_vi = comparison.individuals
    who_v = comparison.who[comparison.query[queries]]
    there = np.unique(who_v)
    if len(there) < 2:
        return None
    removed = np.random.default_rng(seed).permutation(there)[: len(there) // 2]
    best_vi = best_vi.copy()
    best_vi[:, removed] = np.nan
    known_v = ~np.isin(who_v, removed)
    own_v = best_vi[np.arange(len(who_v)), who_v]
    answered_v = ~np.isnan(best_vi).all(axis=1)
    others_vi = np.where(np.isnan(best_vi), -np.inf, best_vi)
    others_vi[np.arange(len(who_v)), who_v] = -np.inf
    right_v = known_v & (own_v > others_vi.max(axis=1))
    if calibration is None:
        score_v = np.where(np.isnan(best_vi), -1.0, best_vi).max(axis=1)
    else:
        score_v = calibration.answers(best_vi).max(axis=1)
    score_v = np.where(answered_v, score_v, -1.0)  # with nobody to compare with, the answer is nobody
    opened = OpenSet(score_v[known_v], right_v[known_v], score_v[~known_v])
    if calibration is None:
        return opened
    said = f"the model's calibration: a probability, with a prior of {calibration.prior:g}"
    return OpenSet(opened.known, opened.right, opened.unknown, calibration.threshold, said)


def _with_threshold(
    opened: OpenSet,
    predictor: ReIDPredictor,
    source: LabelledIndividuals,
    compare: Callable[[Unseen], Comparison],
    seed: int,
) -> OpenSet:
    rows = rows_of(predictor.record, source, "validation")
    if not rows:
        return opened
    try:
        found = unseen(predictor, source.take(rows), parts=("train", "start", "calibration"))
    except InputError:  # the names are those of other individuals
        return opened
    chosen_on = open_set(compare(found), None, seed)
    if chosen_on is None:
        return opened
    said = f"the {len(found.individuals.individuals)} individuals that chose the model's best epoch: a similarity"
    return OpenSet(opened.known, opened.right, opened.unknown, best_threshold(chosen_on.known, chosen_on.unknown), said)
