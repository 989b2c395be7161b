"""The vector store: its candidates against the exact search, on drawn vectors."""

from pathlib import Path

import numpy as np
import pytest
from reid_fixtures import gallery_of

from attn.apps.reid import store as module
from attn.apps.reid.nearest import unit
from attn.apps.reid.search import Query, search
from attn.apps.reid.store import LEAST, Store

COUNT, CHANNELS = 3000, 32


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    rng = np.random.default_rng(0)
    centre = rng.standard_normal((300, CHANNELS))
    return unit(centre[np.arange(COUNT) % 300] + 0.5 * rng.standard_normal((COUNT, CHANNELS)))[0]


@pytest.fixture(scope="module")
def store(vectors: np.ndarray) -> Store:
    pytest.importorskip("faiss")
    return Store(vectors)


def test_candidates_are_the_nearest(vectors: np.ndarray, store: Store) -> None:
    kept = np.arange(COUNT) % 3 != 1
    shares = []
    for query in vectors[:50]:
        found, exact = store.cosines(query, kept), np.where(kept, vectors @ query, LEAST)
        assert (found[~kept] == LEAST).all() and 10 < (found > LEAST).sum() < kept.sum()
        np.testing.assert_allclose(found[found > LEAST], exact[found > LEAST], atol=1e-6)
        shares.append(len({*np.argsort(-found)[:5]} & {*np.argsort(-exact)[:5]}) / 5)
    assert np.mean(shares) > 0.95


def test_with_all_cells_it_is_the_exact_search(vectors: np.ndarray) -> None:
    pytest.importorskip("faiss")
    whole = Store(vectors, cells=1)
    found = whole.cosines(vectors[7], np.ones(COUNT, bool))
    np.testing.assert_allclose(found, vectors @ vectors[7], atol=1e-6)


def test_a_search_in_a_large_gallery(vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """Individuals, cosines and their order are those of the exact search, whatever the limit; and it says which."""
    pytest.importorskip("faiss")
    names = [f"i{row % 300:03}" for row in range(COUNT)]
    queries = [Query("q", vectors[[row]], itself=((row,),)) for row in range(20)]
    exact = [search(query, gallery_of(names, vectors), 3).ranked for query in queries]
    monkeypatch.setattr(module, "MOST_EXACT", COUNT - 1)
    large = gallery_of(names, vectors)
    assert large.store is not None and "found by faiss" in module.said(COUNT)[0]
    found = [search(query, large, 3).ranked for query in queries]
    assert [each[0] for each in found] == [each[0] for each in exact]
    assert search(queries[0], large, 400).ranked == search(queries[0], gallery_of(names, vectors), 400).ranked


def test_a_gallery_of_usual_size_needs_none(vectors: np.ndarray, tmp_path: Path) -> None:
    assert gallery_of(["a", "b"], vectors[:2]).store is None and module.said(1_000_000) == []
    assert "2,000,000 pictures" in module.said(2_000_000)[0]
