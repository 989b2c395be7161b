"""How many individuals are here: pictures in groups, by average linkage up to a distance.

The distance is one less the cosine or, where there are enough pictures for neighbourhoods, the re-ranked one. Pictures
that are never compared, as of two flanks, are never of one group. A picture without a partner is a group of its own.

Shapes: N pictures, C channels.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from sklearn.metrics import adjusted_rand_score

from attn.apps.reid.rerank import K1, rerank_all
from attn.core.errors import UsageError

MOST = 20_000  # pictures that are compared with one another: 1.6 GB of distances
FEWEST = 4 * K1  # pictures whose neighbourhoods say something: among fewer, everybody is a neighbour
CUTS = 200  # that are tried


def groups(
    vectors: Float[np.ndarray, "N C"], within: Sequence[str] | None, cut: float, *, reranked: bool = False
) -> Int[np.ndarray, " N"]:
    """A number for each picture, from 0, equal for those of one group; numbers come in the order of the pictures.

    vectors: of length 1. cut: the mean distance up to which groups become one. UsageError: more than MOST pictures.
    """
    found = _groups([*_trees(vectors, within, reranked)], cut)
    _, place, number = np.unique(found, return_index=True, return_inverse=True)
    order = np.empty(len(place), np.int64)
    order[np.argsort(place)] = np.arange(len(place))
    numbered: np.ndarray = order[number]
    return numbered


def best_cut(
    vectors: Float[np.ndarray, "N C"], within: Sequence[str] | None, truth: Int[np.ndarray, " N"], *, reranked: bool
) -> float:
    """The cut with the highest adjusted Rand index, halfway to the next merge; the lowest of equally good ones."""
    trees = [*_trees(vectors, within, reranked)]
    heights = np.unique(np.concatenate([[0.0], *(tree[:, 2] for _, tree in trees)]))
    cuts = (heights + np.append(heights[1:], heights[-1])) / 2
    cuts = np.unique(np.quantile(cuts, np.linspace(0, 1, CUTS), method="nearest"))
    scores = [round(adjusted_rand_score(truth, _groups(trees, float(cut))), 12) for cut in cuts]
    return float(cuts[int(np.argmax(scores))])


def _trees(
    vectors: np.ndarray, within: Sequence[str] | None, reranked: bool
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The rows of each value, and their merges; rows of which it is not known stay alone."""
    values = np.array(within if within is not None else ["all"] * len(vectors))
    for value in np.unique(values):
        rows = np.flatnonzero(values == value)
        if len(rows) > MOST:
            raise UsageError(
                f"{len(rows)} pictures are more than the {MOST} that can be grouped at once",
                hint="give fewer, or compare --within",
            )
        if value == "":
            yield from ((np.array([row]), np.empty((0, 4))) for row in rows)
        elif len(rows) == 1:
            yield rows, np.empty((0, 4))
        else:
            yield rows, linkage(squareform(_distances(vectors[rows], reranked), checks=False), "average")


def _distances(vectors: np.ndarray, reranked: bool) -> Float[np.ndarray, "N N"]:
    wide = vectors.astype(np.float64)
    d_nn = rerank_all(wide)(slice(None)) if reranked else 1 - wide @ wide.T
    d_nn = np.maximum((d_nn + d_nn.T) / 2, 0)  # a re-ranked distance is divided by the largest of its row
    np.fill_diagonal(d_nn, 0)
    return d_nn


def _groups(trees: Sequence[tuple[np.ndarray, np.ndarray]], cut: float) -> Int[np.ndarray, " N"]:
    found, first = np.empty(sum(len(rows) for rows, _ in trees), np.int64), 0
    for rows, tree in trees:
        found[rows] = first + (fcluster(tree, cut, "distance") - 1 if len(tree) else 0)
        first = int(found[rows].max()) + 1
    return found
