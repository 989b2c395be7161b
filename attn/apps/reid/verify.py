"""Verification: do the local features of two pictures lie in the same arrangement, and what does that say?

Keypoints are matched where each is the other's nearest and clearly nearer than the second (Lowe 2004, section 7.1). A
similarity (turn, scale, shift; no mirror image) is fitted to the matches by RANSAC (Fischler and Bolles 1981); the
matches that it explains are the inliers. Evidence adds up:

    log p(s, n | same) / p(s, n | different) = a s + b + e(n)        s cosine, n inliers

with a and b of the model's calibration (`probabilities`) and e the log likelihood ratio of the inliers. It knows
nothing of the model, so that one fit serves every model; `calibrate` fits the sum again, and finds out whether it ranks
better than the cosine alone.

Shapes: M matches, N and K keypoints of two pictures, R pictures of a gallery.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int

from attn.apps.reid.gallery import Gallery
from attn.apps.reid.local_features import LocalFeatures, installed, local_features, require
from attn.apps.reid.probabilities import Calibration
from attn.core.errors import InputError

BEST = 50  # pictures of a gallery that are looked at again
RATIO = 0.85  # of the distances to the nearest and to the second nearest keypoint
TOLERANCE = 0.02  # of the longer side: how far a match may lie from where the similarity puts it
TRIALS = 500
LARGEST = 4.0  # scale of one animal in two pictures; a larger or smaller one is an accident
LEAST = 4  # inliers, fewer are none: any two matches agree on a similarity, and a third is often there by chance
MOST = 12  # inliers, beyond which more say no more
KEPT = 1024  # pictures of a gallery, half a megabyte each: the queries of a run meet the same ones again
NOT_LOOKED_AT = -1  # in place of a number of inliers
USUAL = 15.0  # a of a model that is not calibrated, a guess: its answers are ranked and have no probability
SLOPE, INTERCEPT = 0.38, -0.39  # of e(n); `benchmarks/reid_verify.py` fits them


@dataclass(frozen=True)
class Matches:
    """Points of two pictures in pixels, which of the pairs are inliers, and the similarity from a to b as a matrix."""

    a: Float[np.ndarray, "M 2"]
    b: Float[np.ndarray, "M 2"]
    inliers: Bool[np.ndarray, " M"]
    transform: Float[np.ndarray, "2 3"] | None = None

    @property
    def count(self) -> int:
        """How many inliers; several at one place count once, and fewer than LEAST are none."""
        places = (np.unique(points[self.inliers].round(), axis=0) for points in (self.a, self.b))
        number = min(len(each) for each in places)
        return number if number >= LEAST else 0


def match(a: LocalFeatures, b: LocalFeatures) -> Matches:
    """The matches of two pictures, and which of them agree on a similarity."""
    i, j = _pairs(a.descriptors, b.descriptors)
    points_a, points_b, nothing = a.points[i], b.points[j], np.zeros(len(i), bool)
    if len(i) < LEAST:
        return Matches(points_a, points_b, nothing)
    import cv2

    transform, found = cv2.estimateAffinePartial2D(
        points_a, points_b, method=cv2.RANSAC, ransacReprojThreshold=TOLERANCE * b.side, maxIters=TRIALS
    )
    if transform is None or not _plausible(transform, b.side / a.side):
        return Matches(points_a, points_b, nothing)
    return Matches(points_a, points_b, found.ravel().astype(bool), transform)


def evidence(inliers: Int[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """e(n), the log of how many times likelier so many inliers are if both pictures show one individual."""
    found: np.ndarray = SLOPE * np.minimum(inliers, MOST) + INTERCEPT
    return found


def gain(inliers: Int[np.ndarray, " G"], calibration: Calibration | None) -> Float[np.ndarray, " G"]:
    """e(n) / a: what the inliers add to a cosine. What was not looked at counts as if it had none."""
    found: np.ndarray = evidence(np.maximum(inliers, 0)) / (USUAL if calibration is None else calibration.slope)
    return found


def looks_again(asked: bool | None, calibration: Calibration | None) -> bool:
    """Whether to verify: as asked or, where nothing is, if the calibration found that it helps and OpenCV is there.

    UsageError: asked for, and OpenCV is not installed.
    """
    if asked:
        require()
    if asked is None and calibration is not None and calibration.verified is not None:
        return calibration.verified.helps and installed()
    return bool(asked)


class Verifier:
    """Looks again at pictures of a gallery. `gone`: ids of those that cannot be read any more; they have no inliers."""

    def __init__(self, gallery: Gallery) -> None:
        self.gallery = gallery
        self.gone: set[str] = set()
        self.features = lru_cache(KEPT)(self._features)

    def counts(
        self, own: Sequence[LocalFeatures], rows: Int[np.ndarray, " R"], of_query: Int[np.ndarray, " R"]
    ) -> Int[np.ndarray, " R"]:
        """Inliers between rows of the gallery and, for each, one of the query's pictures by its place in `own`."""
        pairs = zip(rows.tolist(), of_query.tolist(), strict=True)
        return np.array([match(own[p], self.features(row)).count for row, p in pairs], np.int64)

    def _features(self, row: int) -> LocalFeatures:
        try:
            return local_features(self.gallery.photograph(row).pixels)
        except InputError:
            self.gone.add(self.gallery.rows["id"][row])
            return local_features(np.zeros((1, 1, 3), np.uint8))


def _pairs(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which keypoints are matched, by number in a and in b."""
    if min(len(a), len(b)) < 2:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    cosine_nk = a @ b.T  # of unit vectors: d^2 = 2 - 2 cos
    nearest = cosine_nk.argmax(axis=1)
    two = -np.partition(-cosine_nk, 1, axis=1)[:, :2]
    first, second = np.maximum(2 - 2 * two, 0).T
    good = (cosine_nk.argmax(axis=0)[nearest] == np.arange(len(a))) & (first < RATIO**2 * second)
    return np.flatnonzero(good), nearest[good]


def _plausible(transform: np.ndarray, sides: float) -> bool:
    """Whether the scale, beyond that of the pictures' sizes, may be that of one animal."""
    scale = float(np.sqrt(abs(np.linalg.det(transform[:, :2])))) / sides
    return 1 / LARGEST <= scale <= LARGEST
