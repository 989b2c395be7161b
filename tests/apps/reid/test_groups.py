"""Groups of pictures: drawn ones that have an answer, and average linkage by its definition."""

import numpy as np
import pytest

from attn.apps.reid import groups as module
from attn.apps.reid.groups import best_cut, groups
from attn.apps.reid.nearest import unit
from attn.core.errors import UsageError


def by_hand(d: np.ndarray, cut: float) -> set[frozenset[int]]:
    """Average linkage: the two groups of the smallest mean distance become one, as long as that is no more than cut."""
    found = [frozenset([i]) for i in range(len(d))]
    while len(found) > 1:
        pairs = [(d[np.ix_([*a], [*b])].mean(), i, j) for i, a in enumerate(found) for j, b in enumerate(found[:i])]
        height, i, j = min(pairs)
        if height > cut:
            break
        merged = found[i] | found[j]
        found = [each for k, each in enumerate(found) if k not in (i, j)] + [merged]
    return {*found}


def as_sets(group: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(group == each).tolist()) for each in np.unique(group)}


@pytest.mark.parametrize("cut", [0.0, 0.3, 0.8, 1.2, 2.0])
def test_it_is_average_linkage(cut: float) -> None:
    vectors = unit(np.random.default_rng(0).normal(size=(14, 3)))[0]
    wide = vectors.astype(np.float64)
    assert as_sets(groups(vectors, None, cut)) == by_hand(1 - wide @ wide.T, cut)


def test_numbers_come_in_the_order_of_the_pictures() -> None:
    vectors = unit(np.array([[0, 1], [1, 0], [0, 1.0], [1, 0.01], [-1, 0]]))[0]
    assert groups(vectors, None, 0.1).tolist() == [0, 1, 0, 1, 2]


def test_what_is_not_compared_is_not_grouped() -> None:
    vectors = unit(np.ones((6, 4)))[0]
    assert groups(vectors, ["L", "R", "L", "R", "", ""], 1.0).tolist() == [0, 1, 0, 1, 2, 3]


def test_the_best_cut_finds_the_truth_and_lies_between_merges() -> None:
    generator = np.random.default_rng(2)
    truth = np.repeat(np.arange(8), 5)
    centres = np.linalg.qr(generator.normal(size=(16, 16)))[0][:8]
    vectors = unit(centres[truth] + generator.normal(0, 0.05, (40, 16)))[0]
    cut = best_cut(vectors, None, truth, reranked=False)
    assert as_sets(groups(vectors, None, cut)) == as_sets(truth) and 0.1 < cut < 0.9
    flanks = ["LR"[i % 2] for i in range(40)]
    both = truth * 2 + np.arange(40) % 2
    assert as_sets(groups(vectors, flanks, best_cut(vectors, flanks, both, reranked=False))) == as_sets(both)


def test_reranked_groups() -> None:
    generator = np.random.default_rng(3)
    truth = np.repeat(np.arange(6), 25)  # more than the neighbours that re-ranking looks at
    vectors = unit(np.eye(8)[truth] + generator.normal(0, 0.15, (150, 8)))[0]
    cut = best_cut(vectors, None, truth, reranked=True)
    assert as_sets(groups(vectors, None, cut, reranked=True)) == as_sets(truth)


def test_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    with pytest.raises(UsageError, match="4 pictures are more than the 3 that can be grouped at once"):
        groups(unit(np.eye(4))[0], None, 0.5)
