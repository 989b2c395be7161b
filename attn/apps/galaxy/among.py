"""Galaxies among others: those that look most like one, and those that look like none of the others.

    similarity = cosine of two feature vectors whose mean over the pictures is 0
    distance   = from a feature vector to its NEAREST-th neighbour among the pictures, in deviations

Both compare pictures of one set with each other. What a survey has in common, such as its seeing, falls out of both.

Shapes: N pictures, F embedding width.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from attn.core.errors import InputError
from attn.core.results.prediction import Prediction

NEAREST = 5
"""A few odd pictures of one kind are no neighbours enough to be usual."""
_BLOCK = 1024  # rows that are compared with all others at once


def similar(query: Prediction, others: Sequence[Prediction]) -> list[Prediction]:
    """`others` with their `rank` and `similarity` to `query`, the most similar first; those without a vector last.

    All have embeddings but the failed ones. Raises InputError for a query that failed.
    """
    if query.embedding is None:
        raise InputError(f"cannot be compared: {query.error}", where=query.id)
    read, failed = _parted(others)
    if not read:
        return failed
    x_nf = _stacked(read)
    mean_f = x_nf.mean(0) if len(read) > 1 else np.zeros(x_nf.shape[1])
    q_f, u_nf = query.embedding - mean_f, x_nf - mean_f
    norms_n = np.linalg.norm(u_nf, axis=1) * np.linalg.norm(q_f)
    similarity_n = (u_nf @ q_f) / np.maximum(norms_n, 1e-12)
    return _ranked(read, similarity_n, "similarity") + failed


def unusual(pictures: Sequence[Prediction]) -> list[Prediction]:
    """`pictures` with their `rank` and `distance`, the furthest from the others first; those without a vector last.

    Raises InputError where there are fewer than two pictures to compare.
    """
    read, failed = _parted(pictures)
    if len(read) < 2:
        raise InputError(
            f"{len(read)} pictures are too few to say what is unusual among them",
            hint=failed[0].error if failed else "give a folder of galaxies",
        )
    return _ranked(read, distances(_stacked(read)), "distance") + failed


def distances(x_nf: Float[np.ndarray, "N F"]) -> Float[np.ndarray, " N"]:
    """From each vector to its NEAREST-th neighbour, or the furthest of fewer; features have a deviation of 1."""
    z_nf = (x_nf - x_nf.mean(0)) / (x_nf.std(0) + 1e-6) / np.sqrt(x_nf.shape[1])
    square_n = (z_nf**2).sum(1)
    nearest = min(NEAREST, len(z_nf) - 1)
    found = []
    for start in range(0, len(z_nf), _BLOCK):
        rows = slice(start, start + _BLOCK)
        square_bn = square_n[rows, None] + square_n - 2 * z_nf[rows] @ z_nf.T
        square_bn[np.arange(len(square_bn)), np.arange(start, start + len(square_bn))] = -1.0  # itself comes first
        found.append(np.partition(square_bn, nearest, axis=1)[:, nearest])
    distance_n: np.ndarray = np.sqrt(np.maximum(np.concatenate(found), 0))
    return distance_n


def _parted(pictures: Sequence[Prediction]) -> tuple[list[Prediction], list[Prediction]]:
    read = [each for each in pictures if each.embedding is not None]
    return read, [each for each in pictures if each.embedding is None]


def _stacked(pictures: Sequence[Prediction]) -> Float[np.ndarray, "N F"]:
    return np.stack([each.embedding for each in pictures if each.embedding is not None]).astype(np.float64)


def _ranked(pictures: Sequence[Prediction], score_n: Float[np.ndarray, " N"], name: str) -> list[Prediction]:
    """In the order of falling scores; equal ones stay in theirs."""
    order = np.argsort(-score_n, kind="stable")
    return [
        replace(pictures[row], values={"rank": rank, name: float(score_n[row])} | dict(pictures[row].values))
        for rank, row in enumerate(order.tolist(), 1)
    ]
