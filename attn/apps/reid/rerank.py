"""Re-ranking by k-reciprocal neighbours (Zhong, Zheng, Cao, Li 2017, arXiv:1701.08398), on sparse neighbourhoods.

Distances are squared Euclidean ones divided by the largest of the row. The convention is that of the published code: a
point's k1 + 1 nearest points, itself among them. What the published code keeps as N x N matrices is here the neighbours
alone: k1 + 1 indices and some tens of weights of each point.

Shapes: Q queries, G items of the gallery, N = Q + G points, C channels, B points of a block, K = k1 + 1 neighbours.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix

from attn.core.measures.retrieval import Distances

K1, K2, WEIGHT = 20, 6, 0.3  # of the paper, for Market-1501
BLOCK_BYTES = 1 << 25


def rerank(
    query: Float[np.ndarray, "Q C"],
    gallery: Float[np.ndarray, "G C"],
    k1: int = K1,
    k2: int = K2,
    weight: float = WEIGHT,
) -> Distances:
    """The re-ranked distances of a block of queries to the gallery: `weight` of the old, the rest the Jaccard distance.

    The points are all kept in the dtype of the vectors; a gallery smaller than k1 has fewer neighbours.
    """
    return _reranked(np.concatenate([query, gallery]), slice(len(query)), slice(len(query), None), k1, k2, weight)


def rerank_all(points: Float[np.ndarray, "N C"], k1: int = K1, k2: int = K2, weight: float = WEIGHT) -> Distances:
    """The same among points that are queries and gallery at once, where each counts once; to itself it is at 0."""
    return _reranked(points, slice(None), slice(None), k1, k2, weight)


def _reranked(points: np.ndarray, of_query: slice, of_gallery: slice, k1: int, k2: int, weight: float) -> Distances:
    neighbours, largest = _neighbours(points, min(k1, len(points) - 1) + 1)
    codes = _expanded(_codes(points, neighbours, largest, k1), neighbours[:, :k2])
    having = csr_matrix(codes[of_gallery].T)  # a row per point: which items have it among their neighbours
    numbers = np.arange(len(points))[of_query]

    def distances(block: slice) -> Float[np.ndarray, "B G"]:
        rows = numbers[block]
        old = _squared(points, points[rows], rows)[:, of_gallery] / largest[rows, None]
        jaccard = np.stack([1 - _jaccard(codes, int(row), having) for row in rows])
        mixed: np.ndarray = (weight * old + (1 - weight) * jaccard).astype(points.dtype)
        return mixed

    return distances


def _squared(points: np.ndarray, some: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Squared distances of some of the points to all (B, N); a point is at 0 from itself."""
    square: np.ndarray = (some**2).sum(1)[:, None] + (points**2).sum(1) - 2 * some @ points.T
    np.maximum(square, 0, out=square)
    square[np.arange(len(some)), numbers] = 0
    return square


def _blocks(count: int) -> Iterator[np.ndarray]:
    step = max(1, BLOCK_BYTES // (8 * count))
    for first in range(0, count, step):
        yield np.arange(first, min(first + step, count))


def _neighbours(points: np.ndarray, count: int) -> tuple[Int[np.ndarray, "N K"], Float[np.ndarray, " N"]]:
    """The nearest points of each, at equal distance those with lower numbers, and the largest distance of its row.

    A point comes first among its own, also where others are equal to it.
    """
    found = np.empty((len(points), count), np.int64)
    largest = np.empty(len(points), points.dtype)
    for rows in _blocks(len(points)):
        square = _squared(points, points[rows], rows)
        largest[rows] = square.max(axis=1)
        square[np.arange(len(rows)), rows] = -1
        limit = np.partition(square, count - 1, axis=1)[:, count - 1]
        for row, d_n, most in zip(rows, square, limit, strict=True):
            near = np.flatnonzero(d_n <= most)
            found[row] = near[np.argsort(d_n[near], kind="stable")[:count]]
    largest[largest == 0] = 1  # all points are equal
    return found, largest


def _codes(points: np.ndarray, neighbours: np.ndarray, largest: np.ndarray, k1: int) -> csr_matrix:
    """The weights of the expanded k-reciprocal neighbours of each point (N, N), equations 5 and 7; rows sum to 1."""
    half = round(k1 / 2) + 1
    reciprocal = [_reciprocal(neighbours, row, k1 + 1) for row in range(len(points))]
    of_half = [_reciprocal(neighbours, row, half) for row in range(len(points))]
    columns, weights, ends = [], [], [0]
    for row, near in enumerate(reciprocal):
        more = [of_half[one] for one in near]
        kept = [each for each in more if 3 * np.isin(each, near).sum() > 2 * len(each)]
        members = np.unique(np.concatenate([near, *kept]))
        square = ((points[members] - points[row]) ** 2).sum(1) / largest[row]
        weight = np.exp(-square.astype(np.float64))
        columns.append(members)
        weights.append(weight / weight.sum())
        ends.append(ends[-1] + len(members))
    size = (len(points), len(points))
    return csr_matrix((np.concatenate(weights), np.concatenate(columns), ends), shape=size)


def _reciprocal(neighbours: np.ndarray, row: int, k: int) -> np.ndarray:
    """Those of the k nearest of a point that have it among their k nearest, equation 2."""
    forward = neighbours[row, :k]
    mutual: np.ndarray = forward[(neighbours[forward, :k] == row).any(axis=1)]
    return mutual


def _expanded(codes: csr_matrix, neighbours: Int[np.ndarray, "N K"]) -> csr_matrix:
    """The mean of the codes of the k2 nearest points of each, equation 11."""
    count, k2 = neighbours.shape
    ends = np.arange(0, count * k2 + 1, k2)
    mean = csr_matrix((np.full(count * k2, 1 / k2), neighbours.ravel(), ends), shape=(count, count))
    return csr_matrix(mean @ codes)


def _jaccard(codes: csr_matrix, row: int, of_gallery: csr_matrix) -> np.ndarray:
    """The overlap of the neighbourhood of a point with those of the gallery (G,), equation 10.

    Weights sum to 1, so that the union is 2 minus the intersection, and items that share no neighbour have 0.
    """
    inside = slice(codes.indptr[row], codes.indptr[row + 1])
    shared = np.zeros(of_gallery.shape[1])
    for point, weight in zip(codes.indices[inside], codes.data[inside], strict=True):
        items = slice(of_gallery.indptr[point], of_gallery.indptr[point + 1])
        shared[of_gallery.indices[items]] += np.minimum(weight, of_gallery.data[items])
    overlap: np.ndarray = shared / (2 - shared)
    return overlap
