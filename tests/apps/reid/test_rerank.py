"""Re-ranking on sparse neighbourhoods against dense matrices, as the paper's formulas read."""

import numpy as np
import pytest

from attn.apps.reid import rerank as module
from attn.apps.reid.rerank import rerank, rerank_all


def dense(query: np.ndarray, gallery: np.ndarray, k1: int, k2: int, weight: float) -> np.ndarray:
    """The formulas with sets and N x N matrices in float64 (Zhong et al. 2017, equations 2 to 12)."""
    points = np.concatenate([query, gallery]).astype(np.float64)
    n = len(points)
    distance = ((points[:, None] - points[None]) ** 2).sum(-1)
    distance /= distance.max(axis=1, keepdims=True)
    order = [sorted(range(n), key=lambda j, i=i: (j != i, distance[i, j], j)) for i in range(n)]

    def reciprocal(i: int, k: int) -> set[int]:
        return {j for j in order[i][: k + 1] if i in order[j][: k + 1]}

    codes = np.zeros((n, n))
    for i in range(n):
        near = reciprocal(i, k1)
        members = set(near)
        for j in near:
            more = reciprocal(j, int(np.around(k1 / 2)))
            if len(more & near) > 2 / 3 * len(more):
                members |= more
        for j in members:
            codes[i, j] = np.exp(-distance[i, j])
        codes[i] /= codes[i].sum()
    codes = np.array([codes[order[i][:k2]].mean(axis=0) for i in range(n)])
    shared = np.minimum(codes[:, None], codes[None]).sum(-1)
    jaccard = 1 - shared / np.maximum(codes[:, None], codes[None]).sum(-1)
    return (weight * distance + (1 - weight) * jaccard)[: len(query), len(query) :]


@pytest.mark.parametrize(("k1", "k2", "weight"), [(4, 2, 0.3), (6, 1, 0.0), (5, 3, 1.0), (20, 6, 0.3), (60, 4, 0.5)])
@pytest.mark.parametrize("seed", range(3))
def test_the_sparse_form_equals_the_dense_one(seed: int, k1: int, k2: int, weight: float) -> None:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(6, 3))
    points = np.repeat(centres, 8, axis=0) + rng.normal(scale=0.4, size=(48, 3))
    query, gallery = points[::6], np.delete(points, np.s_[::6], axis=0)
    found = rerank(query, gallery, k1, k2, weight)(slice(None))
    np.testing.assert_allclose(found, dense(query, gallery, k1, k2, weight), atol=1e-12)


def test_equal_points_are_ordered_by_number() -> None:
    points = np.repeat(np.random.default_rng(0).normal(size=(5, 2)), 4, axis=0)
    found = rerank(points[:4], points[4:], 6, 3)(slice(None))
    np.testing.assert_allclose(found, dense(points[:4], points[4:], 6, 3, 0.3), atol=1e-12)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.random.default_rng(1).normal(size=(50, 4)).astype(np.float32)
    whole = rerank(points[:10], points[10:], 8, 3)(slice(None))
    monkeypatch.setattr(module, "BLOCK_BYTES", 8 * 50 * 7)
    parts = rerank(points[:10], points[10:], 8, 3)
    np.testing.assert_allclose(np.concatenate([parts(slice(0, 3)), parts(slice(3, 10))]), whole, atol=2e-6)
    assert whole.dtype == np.float32


@pytest.mark.parametrize("count", [1, 2])
def test_a_gallery_smaller_than_k(count: int) -> None:
    points = np.random.default_rng(2).normal(size=(count + 1, 4))
    found = rerank(points[:1], points[1:])(slice(None))
    assert found.shape == (1, count) and np.isfinite(found).all()


def test_points_that_are_all_equal() -> None:
    assert np.isfinite(rerank(np.ones((2, 3)), np.ones((5, 3)))(slice(None))).all()


def test_points_that_are_queries_and_gallery_count_once() -> None:
    points = np.random.default_rng(3).normal(size=(40, 3))
    found = rerank_all(points, 6, 3)
    # One point as the query and the others as the gallery are the same points; only their order differs.
    for i in (0, 17, 39):
        others = np.delete(points, i, axis=0)
        expected = rerank(points[i : i + 1], others, 6, 3)(slice(None))[0]
        np.testing.assert_allclose(np.delete(found(slice(i, i + 1))[0], i), expected, atol=1e-12)
    np.testing.assert_allclose(np.diag(found(slice(None))), 0, atol=1e-12)
    np.testing.assert_array_equal(found(slice(5, 9)), found(slice(None))[5:9])
