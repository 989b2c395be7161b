"""From cosines to probabilities, the same in a search, in measuring and in groups.

    log p(s | same) / p(s | different) = a s + b        the ratio of two pictures, or of a picture and an individual
    p(g | s_1 ... s_G) = r_g π / G / (1 - π + Σ r_h π / G)        r_g = exp(a s_g + b), π the prior

Bayes' rule for a query that is one of G individuals with the probability π, each as likely as the others, or else
nobody known; 1 - Σ p(g) is the probability of nobody. One individual is the case of a pair. The ratio holds no prior,
so that one fit serves every prior and every size of gallery.

Shapes: Q queries, G individuals, P pairs.
"""

from typing import Annotated, Self

import numpy as np
from jaxtyping import Bool, Float
from pydantic import BaseModel, ConfigDict, Field
from scipy.optimize import minimize
from scipy.special import expit, logit, softmax

from attn.core.errors import InputError
from attn.core.models.record import ModelRecord
from attn.core.settings import stored

LEAST = 10  # pairs of each kind

Share = Annotated[float, Field(gt=0, lt=1)]


class Verified(BaseModel):
    """The fit to similarities with the evidence of local features in them (see `verify`), as in `Calibration`.

    helps: whether they ranked the individuals of the calibration better than cosines alone.
    """

    model_config = ConfigDict(frozen=True)

    slope: float = Field(gt=0, le=1e6)
    intercept: float = Field(ge=-1e6, le=1e6)
    threshold: float = Field(default=0.5, ge=0, le=1)
    helps: bool


class Calibration(BaseModel):
    """What a search reads of a record's calibration.

    slope, intercept: a and b. prior: π, that the individual of a query is in the gallery. threshold: an answer that is
    less probable is "nobody known". cut: the cosine distance down to which pictures are one group, and `cut_reranked`
    the re-ranked one. All are those of cosines; `verified` is the fit for a verified search, where there is one.
    """

    model_config = ConfigDict(frozen=True)

    slope: float = Field(gt=0, le=1e6)
    intercept: float = Field(ge=-1e6, le=1e6)
    prior: Share = 0.5
    threshold: float = Field(default=0.5, ge=0, le=1)
    cut: float | None = Field(default=None, ge=0, le=2)
    cut_reranked: float | None = Field(default=None, ge=0, le=2)
    verified: Verified | None = None

    @classmethod
    def of(cls, record: ModelRecord) -> Self | None:
        """That of a model; None where it is not calibrated. ModelError: its record holds something else."""
        return stored(cls, record.calibration, record.name) if record.calibration else None

    def of_verified(self) -> Self | None:
        """The calibration of a verified search; None where only cosines were calibrated."""
        return None if self.verified is None else self.model_copy(update=self.verified.model_dump(exclude={"helps"}))

    def pair(self, cosine: Float[np.ndarray, "..."], prior: float = 0.5) -> Float[np.ndarray, "..."]:
        """The probability that two pictures show the same individual; `prior` is that before they are seen."""
        found: np.ndarray = expit(self.slope * np.asarray(cosine, np.float64) + self.intercept + logit(prior))
        return found

    def answers(self, cosine_qg: Float[np.ndarray, "Q G"], prior: float | None = None) -> Float[np.ndarray, "Q G"]:
        """The probability of each individual of a gallery, from the best cosine that it has with the query.

        NaN is an individual that the query is not compared with: it has the probability 0, and is not counted.
        `prior` is the calibration's unless it is given.
        """
        prior = self.prior if prior is None else prior
        compared_qg = ~np.isnan(cosine_qg)
        among_q1 = np.maximum(compared_qg.sum(axis=1, keepdims=True), 1)
        ratio_qg = self.slope * np.asarray(cosine_qg, np.float64) + self.intercept + logit(prior) - np.log(among_q1)
        ratio_qg = np.where(compared_qg, ratio_qg, -np.inf)
        found: np.ndarray = softmax(np.pad(ratio_qg, ((0, 0), (0, 1))), axis=1)[:, :-1]  # the last is nobody, ratio 1
        return found


def fit_pairs(
    scores_p: Float[np.ndarray, " P"], same_p: Bool[np.ndarray, " P"], least: int = LEAST
) -> tuple[float, float]:
    """Slope and intercept of the log likelihood ratio, by logistic regression.

    Targets are those of Platt (1999, Probabilistic outputs for support vector machines), 1 - 1 / (n + 2) and
    1 / (n + 2) for n pairs of a kind, so that pairs that are told apart perfectly have a finite slope.
    InputError: fewer than `least` pairs of a kind, scores that are not finite, or that do not rise from different to
    same.
    """
    same_p, scores_p = np.asarray(same_p, bool), np.asarray(scores_p, np.float64)
    n, m = int(same_p.sum()), int((~same_p).sum())
    if min(n, m) < least:
        raise InputError(
            f"too few pairs to calibrate on: {n} of the same individual and {m} of different individuals",
            hint=f"give labelled pictures with {least} pairs or more of each kind",
        )
    if not np.isfinite(scores_p).all():
        raise InputError("there are scores that are not finite", hint="leave out what has no usable vector")
    middle, spread = scores_p.mean(), max(float(scores_p.std()), 1e-12)
    z_p = (scores_p - middle) / spread
    target_p = np.where(same_p, (n + 1) / (n + 2), 1 / (m + 2))

    def loss(ab: np.ndarray) -> tuple[float, np.ndarray]:
        logit_p = ab[0] * z_p + ab[1]
        gap_p = expit(logit_p) - target_p
        return float((np.logaddexp(0, logit_p) - target_p * logit_p).mean()), np.array([gap_p @ z_p, gap_p.sum()]) / (
            n + m
        )

    slope, intercept = minimize(loss, np.array([0.0, np.log(n / m)]), jac=True, method="BFGS", options={"gtol": 1e-8}).x
    if slope <= 1e-6:
        raise InputError(
            "pictures of the same individual are no more alike than those of different ones",
            hint="the model does not tell these individuals apart; check the labels, or train it on such pictures",
        )
    return float(slope / spread), float(intercept - slope * middle / spread - np.log(n / m))
