"""Fit probabilities to pictures of individuals that a model was not trained on, and keep them in the model.

Shapes: V queries that count, I individuals, P pairs, A answers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.model_selection import GroupKFold

from attn.apps.reid.comparison import Comparison
from attn.apps.reid.groups import FEWEST, best_cut
from attn.apps.reid.local_features import installed, require
from attn.apps.reid.predict import BUNDLED_MODEL, ReIDPredictor
from attn.apps.reid.probabilities import LEAST, Calibration, fit_pairs
from attn.apps.reid.train import name_hashes
from attn.apps.reid.unseen import unseen
from attn.apps.reid.verified import verified
from attn.core.errors import InputError
from attn.core.files import claim
from attn.core.measures.calibration import ece, reliability_picture
from attn.core.measures.open_set import balanced_accuracy, best_threshold
from attn.core.models import folder as model_folder
from attn.core.models.record import CARD, WEIGHTS
from attn.data_adapters.images.identities import LabelledIndividuals

FOLDS = 5
HALF = 0.5
PICTURES = {"cosine": "reliability.png", "verified": "reliability_verified.png"}


@dataclass(frozen=True)
class Pairs:
    """The best similarity of each query to each individual, NaN where they are not compared, and who it is."""

    best_vi: Float[np.ndarray, "V I"]
    who_v: Int[np.ndarray, " V"]

    def fit(self, rows: np.ndarray, least: int = LEAST) -> tuple[float, float]:
        """Slope and intercept from the pairs of these queries; see `fit_pairs`."""
        scores_vi = self.best_vi[rows]
        same_vi = self.who_v[rows, None] == np.arange(scores_vi.shape[1])
        compared_vi = ~np.isnan(scores_vi)
        return fit_pairs(scores_vi[compared_vi], same_vi[compared_vi], least)

    def without_own(self) -> Float[np.ndarray, "V I"]:
        """The same where the individual of each query is not in the gallery."""
        others_vi = self.best_vi.copy()
        others_vi[np.arange(len(self.who_v)), self.who_v] = np.nan
        return others_vi

    def answers(self, calibration: Calibration, prior: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The probability of the best answer, and whether it is right, with the own individual; and without it."""
        p_vi = calibration.answers(self.best_vi, prior)
        right_v = p_vi.argmax(axis=1) == self.who_v
        return p_vi.max(axis=1), right_v, calibration.answers(self.without_own(), prior).max(axis=1)


def calibrate(
    model: str | Path | None,
    source: LabelledIndividuals,
    folder: Path,
    *,
    prior: float = HALF,
    verify: bool | None = None,
    device: str | torch.device | None = None,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Fit the probabilities of `model` to individuals that it was not trained on, and write it to `folder`.

    prior: that the individual of a query is in the gallery. Individuals that chose the best epoch may serve: their
    pictures changed no weight. The threshold for nobody known has the highest balanced accuracy where each query is
    asked with its individual in the gallery and without it. How good the probabilities are is measured on folds of
    individuals, each with what the others gave, and drawn to reliability.png.

    verify: fit those of a verified search as well, which become `verified`, and find out whether it ranks these
    individuals better; None does it where OpenCV is installed.

    What is kept in the record's `calibration` has the hashes of pictures and names, so that `evaluate` does not call
    them held out. Raises InputError where there are too few pairs of a kind or similarity tells nothing.
    """
    if verify:
        require()
    claim(folder)
    predictor = ReIDPredictor.load(model, device)
    found = unseen(predictor, source, parts=("train", "start"), advance=advance)
    comparison = Comparison.of(found)
    fits = {"cosine": _fitted(comparison, prior)}
    numbers, pairs = fits["cosine"].numbers, fits["cosine"].pairs
    pictures, identities = found.individuals, found.individuals.identities
    labelled = [row for row, name in enumerate(identities) if name]
    truth = np.array([comparison.names.index(identities[row]) for row in labelled])
    within = None if pictures.within is None else [pictures.within[row] for row in labelled]
    if within is not None:
        truth = np.unique(np.stack([truth, np.unique(within, return_inverse=True)[1]]), axis=1, return_inverse=True)[1]
    smallest = min(np.unique(within or ["all"] * len(labelled), return_counts=True)[1])
    vectors = found.vectors[labelled]
    cuts = {"cut": best_cut(vectors, within, truth, reranked=False)}
    if smallest >= FEWEST:
        cuts["cut_reranked"] = best_cut(vectors, within, truth, reranked=True)
    if installed() if verify is None else verify:
        alone = Calibration(slope=numbers["slope"], intercept=numbers["intercept"])
        fits["verified"] = _fitted(verified(comparison, pictures, alone), prior)
    compared_vi = ~np.isnan(pairs.best_vi)
    same = int(compared_vi[np.arange(len(pairs.who_v)), pairs.who_v].sum())
    answer: dict[str, Any] = {
        **numbers,
        "prior": prior,
        **cuts,
        "pairs": {"same": same, "different": int(compared_vi.sum()) - same},
        "individuals": len({*pairs.who_v.tolist()}),
        "fitted_on": found.measured_on,
        "measured_on": f"the same pictures, in folds of individuals, each with what the others gave; prior {HALF:g}",
    }
    if "verified" in fits:
        again = fits["verified"].numbers
        answer["verified"] = again | {"helps": again["mAP"] > numbers["mAP"]}
    resolved = model_folder.resolve(model, "reid", BUNDLED_MODEL)
    used = {"used": found.hashes, "used_individuals": name_hashes(identities, labelled)}
    record = predictor.record.model_copy(update={"calibration": answer | used})
    others = [name for name in record.files if name not in (WEIGHTS, CARD, *PICTURES.values())]
    files: dict[str, Callable[[Path], object]] = {name: partial(copyfile, resolved / name) for name in others}
    files |= {PICTURES[kind]: each.draw for kind, each in fits.items()}
    model_folder.save(folder, model_folder.load_state(resolved), record, files)
    return answer


@dataclass(frozen=True)
class _Fitted:
    """numbers: slope, intercept and threshold, and how good they are. Of answers: their probability, whether right."""

    pairs: Pairs
    numbers: dict[str, float]
    confidence_a: Float[np.ndarray, " A"]
    right_a: Int[np.ndarray, " A"]

    def draw(self, path: Path) -> None:
        reliability_picture(_two(self.confidence_a), self.right_a, path)


def _fitted(comparison: Comparison, prior: float) -> _Fitted:
    queries, best_vi = comparison.individuals
    pairs = Pairs(best_vi, comparison.who[comparison.query[queries]])
    slope, intercept = pairs.fit(np.arange(len(queries)))
    known_v, _, unknown_v = pairs.answers(Calibration(slope=slope, intercept=intercept, prior=prior), prior)
    threshold = best_threshold(known_v, unknown_v)
    confidence_p, is_p, confidence_a, right_a = _out_of_fold(pairs)
    numbers = {
        "slope": slope,
        "intercept": intercept,
        "threshold": threshold,
        "balanced_accuracy": balanced_accuracy(known_v, unknown_v, threshold),
        "ece_pairs": ece(_two(confidence_p), is_p),
        "ece_answers": ece(_two(confidence_a), right_a),
        "mAP": float(comparison.retrieval.summary()["mAP"]),
    }
    return _Fitted(pairs, numbers, confidence_a, right_a)


def _out_of_fold(pairs: Pairs) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities of pairs and whether they are the same; of best answers and whether they are right.

    Each query has what the pairs of the other individuals gave; each is asked with its individual in the gallery and
    without it, a prior of one half.
    """
    there = len({*pairs.who_v.tolist()})
    if there < 2:
        raise InputError("the pictures are of one individual", hint="give labelled pictures of more individuals")
    confidence_p, is_p, confidence_a, right_a = [], [], [], []
    for others, mine in GroupKFold(min(FOLDS, there)).split(pairs.best_vi, groups=pairs.who_v):
        slope, intercept = pairs.fit(others, least=1)
        fitted = Calibration(slope=slope, intercept=intercept)
        part = Pairs(pairs.best_vi[mine], pairs.who_v[mine])
        compared = ~np.isnan(part.best_vi)
        same = part.who_v[:, None] == np.arange(part.best_vi.shape[1])
        share = same[compared].mean()  # of the pairs that there are, as the pairs are measured as they come
        confidence_p.append(fitted.pair(part.best_vi[compared], float(np.clip(share, 1e-6, 1 - 1e-6))))
        is_p.append(same[compared])
        known, right, unknown = part.answers(fitted, HALF)
        confidence_a.append(np.concatenate([known, unknown]))
        right_a.append(np.concatenate([right, np.zeros(len(unknown), bool)]))
    parts = (confidence_p, is_p, confidence_a, right_a)
    found = tuple(np.concatenate(part) for part in parts)
    return found[0], found[1].astype(np.int64), found[2], found[3].astype(np.int64)


def _two(p: np.ndarray) -> Float[np.ndarray, "P 2"]:
    return np.stack([1 - p, p], axis=1)
