"""The nearest vectors of a gallery by cosine: exact, in blocks, and the same for every block size and thread number.

A matrix product in float32 finds the candidates; its last bits depend on the shapes of the blocks. The candidates'
cosines are then summed in float64, one pair at a time, and those decide, so that equal vectors have equal cosines.

Shapes: Q queries, G vectors of the gallery, C channels, K answers.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

BLOCK_BYTES = 1 << 26
NOTHING = -1  # the answer where there are fewer usable vectors than K
_ROWS = 4096  # that are summed at a time
MARGIN = 1e-4  # how far the cosine of a candidate in float32 may be from the exact one


def unit(vectors: Float[np.ndarray, "N C"]) -> tuple[Float[np.ndarray, "N C"], Bool[np.ndarray, " N"]]:
    """Vectors of length 1 in float32, and which are usable: a zero, NaN or infinite vector has no direction.

    Unusable ones are 0. The largest channel is divided out first, so that very long and very short ones survive.
    """
    wide = np.asarray(vectors, np.float64)
    largest = np.abs(wide).max(axis=1, initial=0)
    usable = np.isfinite(wide).all(axis=1) & (largest > 0)
    scaled = np.where(usable[:, None], wide / np.where(usable, largest, 1)[:, None], 0)
    length = np.sqrt((scaled**2).sum(axis=1))
    return (scaled / np.where(usable, length, 1)[:, None]).astype(np.float32), usable


def nearest(
    query: Float[np.ndarray, "Q C"],
    gallery: Float[np.ndarray, "G C"],
    k: int,
    usable: Bool[np.ndarray, " G"] | None = None,
) -> tuple[Int[np.ndarray, "Q K"], Float[np.ndarray, "Q K"]]:
    """The rows of the k vectors with the largest cosine, and those cosines, the largest first.

    Both are unit vectors, unusable ones 0 (see `unit`). Rows with equal cosines come by number. Unusable vectors are no
    answer to anything; where answers are lacking the row is -1 and the cosine NaN.
    """
    unusable_g = ~(np.asarray(gallery.any(axis=1)) if usable is None else usable)
    rows = np.full((len(query), k), NOTHING, np.int64)
    cosines = np.full((len(query), k), np.nan, np.float32)
    step = max(1, BLOCK_BYTES // (4 * max(1, len(gallery))))
    for first in range(0, len(query), step):
        product = query[first : first + step] @ gallery.T
        for q, cosine_g in enumerate(product, first):
            if not query[q].any():
                continue
            cosine_g[unusable_g] = -np.inf
            near = _candidates(cosine_g, k)
            exact = exact_cosines(query[q], gallery, near)
            order = np.argsort(-exact, kind="stable")[:k]
            rows[q, : len(order)], cosines[q, : len(order)] = near[order], np.minimum(exact[order], 1)
    return rows, cosines


def _candidates(cosine_g: np.ndarray, k: int) -> np.ndarray:
    """Rows that may be among the k largest, by number."""
    count = len(cosine_g)
    limit = np.partition(cosine_g, count - k)[count - k] if k < count else -np.inf
    near: np.ndarray = np.flatnonzero(cosine_g >= max(limit - MARGIN, -2))
    return near


def exact_cosines(query: np.ndarray, gallery: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Sums in float64, some rows at a time."""
    parts = [rows[first : first + _ROWS] for first in range(0, len(rows), _ROWS)]
    sums = [(gallery[part].astype(np.float64) * query).sum(axis=1) for part in parts]
    return np.concatenate(sums) if sums else np.empty(0)
