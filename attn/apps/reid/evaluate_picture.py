"""The picture of a measurement: ranks, pairs, and the scores of the known and the unknown."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from attn.core.files import replacing
from attn.core.measures.retrieval import evaluate_retrieval

if TYPE_CHECKING:
    from attn.apps.reid.evaluate import Evaluation

MOST = 20  # ranks


def draw(evaluation: "Evaluation", path: Path) -> None:
    """Write a PNG: CMC to rank 20, the ROC of pairs, and best scores with half of the individuals unknown."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    ranks, pairs, scores = figure.subplots(1, 3)
    comparison, report = evaluation.comparison, evaluation.report()
    who, depths = comparison.who, range(1, MOST + 1)
    found = evaluate_retrieval(
        comparison.distances, who[comparison.query], who[comparison.gallery], comparison.rules, depths
    )
    ranks.plot(depths, found.cmc[found.valid].mean(axis=0), ".-", color="tab:blue")
    ranks.set(
        xlim=(1, MOST),
        xticks=(1, 5, 10, 15, 20),
        ylim=(0, 1),
        xlabel="rank",
        ylabel="queries with a right picture down to this rank",
    )
    ranks.set_title(
        f"{report['queries']} queries, mAP {report['mAP']['value']:.3f}, rank 1 {report['rank1']['value']:.3f}"
    )
    false_n, true_n = evaluation.roc.curve()
    pairs.plot((0, 1), (0, 1), color="grey", linestyle="--")
    pairs.plot(false_n, true_n, color="tab:blue")
    pairs.set(xlim=(0, 1), ylim=(0, 1), xlabel="pairs of different individuals", ylabel="pairs of the same individual")
    pairs.set_title(f"share of pairs above each similarity, AUC {report['auc']['value']:.3f}")
    opened = evaluation.open_set
    if opened is None:
        scores.set_axis_off()
    else:
        edges = np.histogram_bin_edges(np.concatenate([opened.known, opened.unknown]), 30)
        for values, name, colour in (
            (opened.known, "in the gallery", "tab:blue"),
            (opened.unknown, "not in the gallery", "tab:orange"),
        ):
            scores.hist(values, edges, density=True, alpha=0.5, color=colour, label=f"{name} ({len(values)})")
        if opened.threshold is not None:
            scores.axvline(opened.threshold, color="black", label="threshold")
        scores.set(xlabel="score of the best answer", yticks=[])
        scores.set_title("half of the individuals are unknown")
        scores.set_ylim(0, 1.35 * scores.get_ylim()[1])
        scores.legend(loc="upper center", fontsize=8, ncols=2)
    with replacing(path) as part:
        figure.savefig(part, dpi=110, format="png")
