"""Search a gallery: its individuals in the order of their similarity to a query, each once.

An individual is as similar as its best picture is to the best of the query's, and that pair is the evidence. The search
is exact: a matrix product in float32 finds the candidates, and sums in float64 decide (see `nearest`). Beyond a million
pictures a vector store may find them (see `store`).

Shapes: P pictures of the query, G pictures of the gallery, C channels.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from attn.apps.reid.gallery import Gallery
from attn.apps.reid.nearest import MARGIN, exact_cosines
from attn.apps.reid.probabilities import Calibration
from attn.apps.reid.verify import BEST, NOT_LOOKED_AT, gain
from attn.data_adapters.images.photographs import Flag


@dataclass(frozen=True)
class Query:
    """One picture, or those of one encounter.

    vectors: (P, C) of length 1. within, cameras, encounters: a value for each picture, "" where it is not known; None
    where the rule is not asked for. identity: "" where nobody knows. itself: for each picture, the rows of the gallery
    that are this very picture. flags: what is odd about its pictures.
    """

    id: str
    vectors: Float[np.ndarray, "P C"]
    identity: str = ""
    within: tuple[str, ...] | None = None
    cameras: tuple[str, ...] | None = None
    encounters: tuple[str, ...] | None = None
    itself: tuple[tuple[int, ...], ...] = ()
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ranked:
    """An individual of a gallery, "" for a picture of nobody known, and the pair of pictures that speaks for it.

    similarity: the cosine of that pair. row: the gallery's picture by its place among the rows, and `picture` its id.
    of_query: the query's picture by its place. margin: how far the next one's score lies below; None for the last
    of the gallery. probability: that the query is this individual; None where the model is not calibrated for such a
    search, and where the query or that picture is blank. inliers: of the pair, where it was verified. score: what
    ranks, the similarity and, in a verified search, what the inliers add to it; margin and probability are those of
    the score.
    """

    rank: int
    individual: str
    similarity: float
    score: float
    probability: float | None
    picture: str
    row: int
    of_query: int
    margin: float | None
    inliers: int | None = None


Again = Callable[[Int[np.ndarray, " R"], Int[np.ndarray, " R"]], Int[np.ndarray, " R"]]
"""Rows of a gallery and, for each, the place of the query's picture that it is most similar to: the inliers of both."""


@dataclass(frozen=True)
class Answer:
    """What a search found. left_out: pairs of pictures that each rule left out.

    known: whether the first probability reaches the threshold; both are None without probabilities.
    """

    query: Query
    ranked: list[Ranked]
    known: bool | None
    left_out: dict[str, int] = field(default_factory=dict)
    threshold: float | None = None


def search(
    query: Query,
    gallery: Gallery,
    k: int,
    calibration: Calibration | None = None,
    *,
    pictures: bool = False,
    again: Again | None = None,
) -> Answer:
    """The k most similar individuals; with `pictures` the k most similar pictures. At equal cosines the first id wins.

    Pictures of nobody known each stand for themselves. The gallery may have fewer than k. With `again` the pictures
    with the highest cosines are verified (see `verify`); the others count as if they had no inliers. Probabilities are
    those of the score that ranks: a model that is calibrated for cosines alone has none for a verified search.
    """
    who = np.arange(len(gallery)) if pictures else gallery.codes
    best_g, left_out = np.full(len(gallery), -np.inf, np.float32), dict[str, int]()
    kept = [_kept(query, p, gallery, left_out) for p in range(len(query.vectors))]
    for vector_c, kept_g in zip(query.vectors, kept, strict=True):
        np.maximum(best_g, gallery.cosines(vector_c, kept_g), out=best_g)
    inliers_g = _verified(query, gallery, kept, best_g, again)
    more_g = np.zeros(1) if again is None else gain(inliers_g, calibration)
    score_g = (best_g + more_g).astype(np.float32)
    near = _near(score_g, _best(score_g, who), k + 1)
    exact_pn = np.stack([exact_cosines(vector_c, gallery.vectors, near) for vector_c in query.vectors])
    exact_pn[~np.stack([kept_g[near] for kept_g in kept])] = -np.inf
    exact_n = np.minimum(exact_pn.max(axis=0), 1)
    score_n = exact_n + np.broadcast_to(more_g, len(gallery))[near]
    order = np.argsort(-score_n, kind="stable")
    first = order[np.sort(np.unique(who[near[order]], return_index=True)[1])][: k + 1]
    similar, score = exact_n[first].tolist(), score_n[first].tolist()
    fitted = calibration if again is None or calibration is None else calibration.of_verified()
    probability = _probabilities(_best(score_g, gallery.codes), fitted)
    rows = gallery.rows.select(pl.col("id", "identity", "flags").gather(near[first])).rows()
    ranked = [
        Ranked(
            rank=i + 1,
            individual=identity,
            similarity=similar[i],
            score=score[i],
            probability=None if _is_blank(query, flags) else probability[gallery.codes[near[first[i]]]],
            picture=id,
            row=int(near[first[i]]),
            of_query=int(exact_pn[:, first[i]].argmax()),
            margin=score[i] - score[i + 1] if i + 1 < len(score) else None,
            inliers=int(inliers_g[near[first[i]]]) if inliers_g[near[first[i]]] != NOT_LOOKED_AT else None,
        )
        for i, (id, identity, flags) in enumerate(rows[:k])
    ]
    return Answer(query, ranked, _known(ranked, fitted), left_out, fitted.threshold if fitted else None)


def _verified(
    query: Query, gallery: Gallery, kept: list[np.ndarray], best_g: np.ndarray, again: Again | None
) -> Int[np.ndarray, " G"]:
    """The inliers of each row of the gallery."""
    inliers_g = np.full(len(gallery), NOT_LOOKED_AT, np.int64)
    if again is not None:
        rows = np.sort(np.argsort(-best_g, kind="stable")[:BEST])
        rows = rows[best_g[rows] > -np.inf]
        cosine_pr = np.stack([exact_cosines(vector_c, gallery.vectors, rows) for vector_c in query.vectors])
        cosine_pr[~np.stack([kept_g[rows] for kept_g in kept])] = -np.inf
        inliers_g[rows] = again(rows, cosine_pr.argmax(axis=0))
    return inliers_g


def _is_blank(query: Query, flags: str) -> bool:
    """Whether a picture shows nothing: two such pictures are alike, whoever was there. flags: of the gallery's."""
    return Flag.BLANK in (*query.flags, *flags.split(" "))


def _known(ranked: list[Ranked], calibration: Calibration | None) -> bool | None:
    if calibration is None:
        return None
    return bool(ranked) and (ranked[0].probability or 0) >= calibration.threshold


def _kept(query: Query, p: int, gallery: Gallery, left_out: dict[str, int]) -> np.ndarray:
    """Which rows of the gallery the query's picture `p` is compared with (G,)."""
    out = np.zeros(len(gallery), bool)

    def leave(rule: str, more: np.ndarray) -> None:
        left_out[rule] = left_out.get(rule, 0) + int((more & ~out).sum())
        out[more] = True

    if query.itself:
        mine = np.zeros(len(gallery), bool)
        mine[list(query.itself[p])] = True
        leave("itself", mine)
    if query.within is not None and query.within[p]:
        leave("within", (gallery.rows["within"] != query.within[p]).to_numpy())
    for rule, values in (("camera", query.cameras), ("encounter", query.encounters)):
        if values is not None and values[p]:
            same = (gallery.rows[rule] == values[p]) & (gallery.rows["identity"] == query.identity)
            leave(rule, same.to_numpy() & bool(query.identity))
    return ~out


def _best(best_g: np.ndarray, who: np.ndarray) -> np.ndarray:
    """The largest of the similarities of each individual, by its number; -inf for a number that nobody has."""
    found = np.full(who.max(initial=0) + 1, -np.inf, np.float32)
    np.maximum.at(found, who, best_g)
    return found


def _near(best_g: np.ndarray, of_each: np.ndarray, k: int) -> np.ndarray:
    """Rows that may be the best of the k most similar individuals, by number."""
    limit = np.partition(of_each, len(of_each) - k)[len(of_each) - k] if k < len(of_each) else -np.inf
    near: np.ndarray = np.flatnonzero((best_g >= limit - MARGIN) & (best_g > -np.inf))
    return near


def _probabilities(of_each: np.ndarray, calibration: Calibration | None) -> list[float | None]:
    """Of each individual, by its number."""
    if calibration is None:
        return [None] * len(of_each)
    compared = np.where(np.isfinite(of_each), of_each, np.nan)
    found: list[float | None] = calibration.answers(compared[None])[0].tolist()
    return found
