"""Measures of retrieval: average precision, CMC and mINP, each item of a gallery in its place among ties.

Average precision is the plain one: the mean, over the right items, of the precision down to each. CMC-k is the share of
queries with a right item among the first k (Moon and Phillips 2001), mINP the mean of R / (rank of the last of R right
items) (Ye et al. 2021, arXiv:2001.04193). Items at one distance have no order: each measure is its mean over all orders
of them, in closed form, so that neither the order of files nor a constant model gains anything.

Shapes: Q queries, G items of the gallery, C channels, B queries of a block, K depths of CMC.
Codes are numbers (Q,) and (G,) that are equal where two things are the same; -1 is not known, and equals nothing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from attn.core.errors import InputError

UNKNOWN = -1
DEPTHS = (1, 5, 10)
BLOCK_BYTES = 1 << 25  # of the distances of one block of queries

Codes = tuple[Int[np.ndarray, " Q"], Int[np.ndarray, " G"]]
Distances = Callable[[slice], Float[np.ndarray, "B G"]]
"""Distances of some queries to the whole gallery."""


@dataclass(frozen=True)
class Rules:
    """Which items a query is compared with.

    within: the gallery is restricted to the items that share the query's value; an unknown value shares nothing. apart:
    right items that share a value with the query are left out, as they show too little. copies: items that share a
    value are left out, right or wrong; the query itself in the gallery is one.
    """

    within: Mapping[str, Codes] = field(default_factory=dict)
    apart: Mapping[str, Codes] = field(default_factory=dict)
    copies: Mapping[str, Codes] = field(default_factory=dict)


@dataclass(frozen=True)
class Retrieval:
    """Measures of each query, NaN for one that is left out, and why.

    ap, inp (Q,); cmc (Q, K), the probability of a right item among the first `depths`. left_out: how many queries, by
    reason: `unlabelled`; `absent`, no right item at all; `within`, none under these rules; `apart`, all right items
    left out. dropped: how many pairs of a query and an item each rule left out.
    """

    ap: Float[np.ndarray, " Q"]
    inp: Float[np.ndarray, " Q"]
    cmc: Float[np.ndarray, "Q K"]
    depths: Sequence[int]
    left_out: dict[str, int]
    dropped: dict[str, int]

    @property
    def valid(self) -> np.ndarray:
        """Which queries count (Q,)."""
        valid: np.ndarray = ~np.isnan(self.ap)
        return valid

    def summary(self) -> dict[str, Any]:
        """`mAP`, `mINP`, `rank1` and the like, `queries`, `left_out`. InputError when no query counts."""
        count = int(self.valid.sum())
        if not count:
            why = "; ".join(f"{number} {REASONS[reason]}" for reason, number in self.left_out.items() if number)
            raise InputError(f"no query has a right item in the gallery: 0 of {len(self.ap)}; {why or 'no queries'}")
        ranks = {f"rank{k}": float(self.cmc[self.valid, i].mean()) for i, k in enumerate(self.depths)}
        return {
            "mAP": float(self.ap[self.valid].mean()),
            **ranks,
            "mINP": float(self.inp[self.valid].mean()),
            "queries": count,
            "left_out": dict(self.left_out),
            "dropped": dict(self.dropped),
            "ap": "plain",
            "ties": "expected",
        }


REASONS = {
    "unlabelled": "are unlabelled",
    "absent": "have none in the gallery",
    "within": "have none that shares the value they are compared by",
    "apart": "have only such as are left out",
}


def evaluate_retrieval(
    distances: Float[np.ndarray, "Q G"] | Distances,
    query: Int[np.ndarray, " Q"],
    gallery: Int[np.ndarray, " G"],
    rules: Rules | None = None,
    depths: Sequence[int] = DEPTHS,
) -> Retrieval:
    """Measure rankings of a gallery by distance.

    distances: small is similar; a matrix, or a function that gives the rows of a block of queries. query, gallery:
    codes of what is right; an item of code -1 is right for nobody and stays in the gallery. InputError: NaN among the
    distances.
    """
    rules = rules or Rules()
    rows = distances.__getitem__ if isinstance(distances, np.ndarray) else distances
    ap, inp, cmc = np.full(len(query), np.nan), np.full(len(query), np.nan), np.full((len(query), len(depths)), np.nan)
    left_out = dict.fromkeys(REASONS, 0)
    dropped = {name: 0 for kind in (rules.within, rules.apart, rules.copies) for name in kind}
    for block in blocks(len(query), len(gallery)):
        d_bg = rows(block)
        if np.isnan(d_bg).any():
            raise InputError("there are NaN among the distances", hint="leave out what has no usable vector")
        for q, d_g in enumerate(d_bg, block.start):
            right = compared(int(query[q]), gallery, q, rules, dropped)
            if isinstance(right, str):
                left_out[right] += 1
                continue
            kept, is_right = right
            ap[q], inp[q], cmc[q] = _measures(d_g[kept] if kept is not None else d_g, is_right, depths)
    return Retrieval(ap, inp, cmc, tuple(depths), left_out, dropped)


def blocks(queries: int, gallery: int) -> Iterator[slice]:
    """Slices of queries whose distances to the gallery fit BLOCK_BYTES in float32."""
    step = max(1, BLOCK_BYTES // (4 * max(1, gallery)))
    for first in range(0, queries, step):
        yield slice(first, min(first + step, queries))


def cosine_distances(query: Float[np.ndarray, "Q C"], gallery: Float[np.ndarray, "G C"]) -> Distances:
    """1 - cosine of unit vectors, a block of queries at a time."""
    return lambda block: 1 - query[block] @ gallery.T


def compared(
    code: int, gallery: np.ndarray, q: int, rules: Rules, dropped: dict[str, int]
) -> str | tuple[np.ndarray | None, np.ndarray]:
    """Which items query `q` of this code keeps (None: all), and which of those are right; or why it is left out.

    `dropped` counts on: how many items each rule left out.
    """
    if code == UNKNOWN:
        return "unlabelled"
    is_right = gallery == code
    out = np.zeros(len(gallery), bool)
    for name, codes in rules.copies.items():
        _drop(out, _shared(codes, q), name, dropped)
    if not (is_right & ~out).any():
        return "absent"
    for name, codes in rules.within.items():
        _drop(out, ~_shared(codes, q), name, dropped)
    if not (is_right & ~out).any():
        return "within"
    for name, codes in rules.apart.items():
        _drop(out, is_right & _shared(codes, q), name, dropped)
    if not (is_right & ~out).any():
        return "apart"
    if not out.any():
        return None, is_right
    return ~out, is_right[~out]


def _drop(out: np.ndarray, more: np.ndarray, name: str, dropped: dict[str, int]) -> None:
    dropped[name] += int((more & ~out).sum())
    out |= more


def _shared(codes: Codes, q: int) -> np.ndarray:
    of_query, of_gallery = codes
    shared: np.ndarray = (of_gallery == of_query[q]) & (of_gallery != UNKNOWN)
    return shared


def _measures(d_g: np.ndarray, is_right: np.ndarray, depths: Sequence[int]) -> tuple[float, float, Sequence[float]]:
    """AP, INP and CMC of one query. Sorting the distances alone is ten times as fast as sorting their indices."""
    ordered = np.sort(d_g)
    values, right = np.unique(d_g[is_right], return_counts=True)
    before = np.searchsorted(ordered, values, "left")  # items that are surely nearer
    size = np.searchsorted(ordered, values, "right") - before  # items at this distance, of which `right` are right
    right_before = np.cumsum(right) - right
    alone = size == 1
    ap = float(((right_before + 1) / (before + 1))[alone].sum())
    for n, r, above, above_right in zip(*(x[~alone] for x in (size, right, before, right_before)), strict=True):
        ap += _tied_precision(int(n), int(r), int(above), int(above_right))
    total = int(right.sum())
    inp = total * _last(int(size[-1]), int(right[-1]), int(before[-1]))
    return ap / total, inp, [_first_within(k, int(size[0]), int(right[0]), int(before[0])) for k in depths]


def _tied_precision(n: int, r: int, above: int, above_right: int) -> float:
    """The sum of the precisions at the r right ones of n tied items, in the mean over their orders.

    At each place the item is right with probability r / n, and of the p items before it in the tie p (r-1) / (n-1) are.
    """
    p = np.arange(n)
    right = above_right + 1 + p * (r - 1) / max(n - 1, 1)
    return float((right / (above + p + 1)).sum() * r / n)


def _last(n: int, r: int, above: int) -> float:
    """The mean of 1 / rank of the last of r right ones among n tied items: it is at l with C(l-1, r-1) / C(n, r)."""
    lasts = np.arange(n, r - 1, -1)
    steps = (lasts[:-1] - r) / np.maximum(lasts[:-1] - 1, 1)
    probability = r / n * np.concatenate([[1.0], np.cumprod(steps)])
    return float((probability / (above + lasts)).sum())


def _first_within(k: int, n: int, r: int, above: int) -> float:
    """The probability that one of r right ones among n tied items, after `above` wrong ones, is among the first k."""
    places = min(k - above, n)
    if places <= 0:
        return 0.0
    if places > n - r:
        return 1.0
    i = np.arange(places)
    return float(1 - np.prod((n - r - i) / (n - i)))
