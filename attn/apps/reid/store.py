"""A vector store for galleries beyond a million pictures: faiss (Johnson et al. 2017, arXiv:1702.08734), an extra.

Vectors lie in the cells of k-means, eight bits a channel, and a query looks at the nearest cells only. What is found
are candidates: their cosines are computed from the gallery's own vectors, so that the answers differ from an exact
search only where a picture was not found. The store is made in memory when the first query comes.

Shapes: G vectors of the gallery, C channels.
"""

from functools import cache
from importlib.util import find_spec

import numpy as np
from jaxtyping import Bool, Float

MOST_EXACT = 1_000_000  # pictures up to which a search looks at all of them
CELLS = 4.0  # times the root of G, as faiss advises
SEEN = 0.2  # of the cells, by a query
FOUND = 4096  # candidates of a query
LEAST = -1.0  # the least cosine there is, in the place of that of a picture that was not found


@cache
def installed() -> bool:
    """Whether faiss is there."""
    return find_spec("faiss") is not None


def wanted(pictures: int) -> bool:
    """Whether a gallery has so many pictures that a store is of use."""
    return pictures > MOST_EXACT


def said(pictures: int) -> list[str]:
    """How a gallery of so many pictures is searched, in sentences; of the usual way there is none."""
    if not wanted(pictures):
        return []
    if installed():
        return [f"{pictures:,} pictures: candidates are found by faiss, which may miss some"]
    return [f"{pictures:,} pictures: all are looked at for each query; pip install attn[store] looks at fewer"]


class Store:
    """Finds candidates among unit vectors (G, C) in float32. The same vectors give the same store."""

    def __init__(self, vectors: Float[np.ndarray, "G C"], cells: int | None = None) -> None:
        import faiss

        count, channels = vectors.shape
        cells = cells or max(1, round(CELLS * count**0.5))
        self.vectors, self.faiss = vectors, faiss
        self.index = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatIP(channels), channels, cells, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
        )
        self.index.cp.min_points_per_centroid = 1  # a small store has no need of a warning
        self.index.train(vectors)
        self.index.add(vectors)
        self.probes = max(1, round(SEEN * cells))

    def cosines(self, vector_c: Float[np.ndarray, " C"], kept_g: Bool[np.ndarray, " G"]) -> Float[np.ndarray, " G"]:
        """The cosine of each candidate among those that are kept, and LEAST for all others."""
        bits = np.packbits(kept_g, bitorder="little")
        only = self.faiss.IDSelectorBitmap(bits.size, self.faiss.swig_ptr(bits))
        how = self.faiss.SearchParametersIVF()
        how.sel, how.nprobe = only, self.probes
        _, rows = self.index.search(vector_c[None].astype(np.float32), min(FOUND, len(self.vectors)), params=how)
        rows = rows[0][rows[0] >= 0]
        found = np.full(len(self.vectors), LEAST, np.float32)
        found[rows] = self.vectors[rows] @ vector_c
        return found
