"""Who is compared with whom: queries, gallery and rules of a measurement, and what the comparison gives.

Where a set has the splits query and gallery, those are the two; else each picture is a query among all others. Two
rules, not one: `within` restricts the gallery to the query's value; camera and encounter leave out pictures of the same
individual that share the value.

Shapes: N pictures, Q queries, G pictures of the gallery, I individuals, B queries of a block, C channels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from attn.apps.reid.rerank import K1, K2, WEIGHT, rerank, rerank_all
from attn.apps.reid.unseen import Unseen
from attn.core.measures.retrieval import (
    UNKNOWN,
    Distances,
    Retrieval,
    Rules,
    blocks,
    compared,
    cosine_distances,
    evaluate_retrieval,
)

ROLES = ("query", "gallery")


@dataclass(frozen=True)
class Comparison:
    """query, gallery: row numbers among the pictures. who: the number of the individual of each picture, -1 unknown."""

    names: list[str]
    who: Int[np.ndarray, " N"]
    query: Int[np.ndarray, " Q"]
    gallery: Int[np.ndarray, " G"]
    rules: Rules
    distances: Distances

    @classmethod
    def of(cls, found: Unseen, *, reranked: bool = False) -> "Comparison":
        """That of pictures with vectors; `reranked`: by k-reciprocal neighbours, within what is compared."""
        pictures = found.individuals
        names = pictures.individuals
        number = {name: i for i, name in enumerate(names)} | {"": UNKNOWN}
        query, gallery = _roles(pictures.splits, len(pictures))
        codes = {
            "within": pictures.within, "camera": pictures.cameras, "encounter": pictures.encounters,
            "copy": found.hashes,
        }  # fmt: skip
        pairs = {name: _pair(values, query, gallery) for name, values in codes.items() if values is not None}
        rules = Rules(
            within={name: pairs[name] for name in ("within",) if name in pairs},
            apart={name: pairs[name] for name in ("camera", "encounter") if name in pairs},
            copies={"itself": (query, gallery), "copy": pairs["copy"]},
        )
        if reranked:
            distances = _reranked(found.vectors, query, gallery, pairs.get("within"))
        else:
            distances = cosine_distances(found.vectors[query], found.vectors[gallery])
        return cls(names, np.array([number[name] for name in pictures.identities]), query, gallery, rules, distances)

    @cached_property
    def retrieval(self) -> Retrieval:
        """The measures of each query."""
        return evaluate_retrieval(self.distances, self.who[self.query], self.who[self.gallery], self.rules)

    def each(self) -> Iterator[tuple[int, Float[np.ndarray, " G"], np.ndarray]]:
        """Of each query that has a right picture: its place, similarities to the gallery (NaN: not compared), right."""
        who_g, dropped = self.who[self.gallery], dict.fromkeys(self._names_of_rules(), 0)
        for block in blocks(len(self.query), len(self.gallery)):
            for q, d_g in enumerate(self.distances(block), block.start):
                answer = compared(int(self.who[self.query[q]]), who_g, q, self.rules, dropped)
                if isinstance(answer, str):
                    continue
                kept, right = answer
                similar_g, right_g = np.full(len(d_g), np.nan), np.zeros(len(d_g), bool)
                where = slice(None) if kept is None else kept
                similar_g[where], right_g[where] = 1 - d_g[where], right
                yield q, similar_g, right_g

    @cached_property
    def individuals(self) -> tuple[Int[np.ndarray, " V"], Float[np.ndarray, "V I"]]:
        """The queries that count, and the best similarity of each to each individual, NaN for one not compared.

        The last columns are the gallery's pictures of nobody known, each by itself.
        """
        who_g = self.who[self.gallery].copy()
        nobody = who_g == UNKNOWN
        who_g[nobody] = len(self.names) + np.arange(int(nobody.sum()))
        columns = len(self.names) + int(nobody.sum())
        queries, rows = [], []
        for q, similar_g, _ in self.each():
            best = np.full(columns, -np.inf)
            np.maximum.at(best, who_g, np.where(np.isnan(similar_g), -np.inf, similar_g))
            queries.append(q)
            rows.append(np.where(np.isfinite(best), best, np.nan))
        return np.array(queries, np.int64), np.array(rows).reshape(len(rows), columns)

    def described(self) -> dict[str, Any]:
        """The rules, for people and programs."""
        return {
            "within": bool(self.rules.within),
            "apart": [*self.rules.apart],
            "queries_are": "the split query" if len(self.query) < len(self.who) else "each picture among the others",
        }

    def _names_of_rules(self) -> list[str]:
        return [name for kind in (self.rules.within, self.rules.apart, self.rules.copies) for name in kind]


def _roles(splits: Sequence[str] | None, count: int) -> tuple[np.ndarray, np.ndarray]:
    if splits is None or not {*ROLES} <= {*splits}:
        return np.arange(count), np.arange(count)
    of = np.array(splits)
    return np.flatnonzero(of == "query"), np.flatnonzero(of == "gallery")


def _pair(values: Sequence[str], query: np.ndarray, gallery: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Equal numbers for equal texts; "" is unknown."""
    number = {text: i for i, text in enumerate(sorted({*values} - {""}))} | {"": UNKNOWN}
    codes = np.array([number[text] for text in values])
    return codes[query], codes[gallery]


def _reranked(
    vectors: np.ndarray, query: np.ndarray, gallery: np.ndarray, within: tuple[np.ndarray, np.ndarray] | None
) -> Distances:
    """Re-ranked distances (B, G) within each value; 2 between two values, which are never compared."""
    of_q, of_g = within or (np.zeros(len(query), int), np.zeros(len(gallery), int))
    parts = []
    for value in np.intersect1d(of_q, of_g):
        mine, items = np.flatnonzero(of_q == value), np.flatnonzero(of_g == value)
        if np.array_equal(query[mine], gallery[items]):
            parts.append((mine, items, rerank_all(vectors[gallery[items]])))
        else:
            parts.append((mine, items, rerank(vectors[query[mine]], vectors[gallery[items]])))

    def distances(block: slice) -> Float[np.ndarray, "B G"]:
        rows = np.arange(len(query))[block]
        d_bg = np.full((len(rows), len(gallery)), 2.0, np.float32)
        for mine, items, of_part in parts:
            first, last = np.searchsorted(mine, (rows[0], rows[-1] + 1))
            if last > first:
                d_bg[np.ix_(mine[first:last] - rows[0], items)] = of_part(slice(int(first), int(last)))
        return d_bg

    return distances


RERANKING = {"k1": K1, "k2": K2, "weight": WEIGHT}
