"""A comparison in which the best pictures of each query are looked at again, as a verified search looks at them.

Shapes: Q queries, G pictures of the gallery, B queries of a block, N pictures that are looked at.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

from attn.apps.reid.comparison import Comparison
from attn.apps.reid.local_features import LocalFeatures, local_features
from attn.apps.reid.probabilities import Calibration
from attn.apps.reid.verify import BEST, KEPT, MOST, gain, match
from attn.data_adapters.images.identities import LabelledIndividuals

VERIFYING = {"best": BEST, "inliers_at_most": MOST}


def verified(comparison: Comparison, pictures: LabelledIndividuals, calibration: Calibration | None) -> Comparison:
    """`comparison` with what inliers add to its cosines. pictures: those that its row numbers are of.

    Only queries that count are looked at again, each in the pictures that its rules leave.
    """

    def features_of(row: int) -> LocalFeatures:
        return local_features(pictures.read(row))

    features = lru_cache(KEPT)(features_of)
    none = float(gain(np.zeros(1, np.int64), calibration)[0])
    looked: dict[int, tuple[Int[np.ndarray, " N"], Float[np.ndarray, " N"]]] = {}
    for q, similar_g, _ in comparison.each():
        best = np.argsort(-np.where(np.isnan(similar_g), -np.inf, similar_g), kind="stable")[:BEST]
        best = best[~np.isnan(similar_g[best])]
        own = features(int(comparison.query[q]))
        inliers = np.array([match(own, features(int(row))).count for row in comparison.gallery[best]], np.int64)
        looked[q] = best, gain(inliers, calibration) - none

    def distances(block: slice) -> Float[np.ndarray, "B G"]:
        d_bg = comparison.distances(block) - none
        for q in range(*block.indices(len(comparison.query))):
            if q in looked:
                best, more = looked[q]
                d_bg[q - block.start, best] -= more
        return d_bg

    return replace(comparison, distances=distances)
