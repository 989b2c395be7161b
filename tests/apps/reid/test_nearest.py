"""Exact search: against the full matrix, the same for every block, with vectors that have no direction."""

import numpy as np
import pytest

from attn.apps.reid import nearest as module
from attn.apps.reid.nearest import nearest, unit


def vectors(count: int, seed: int, channels: int = 96) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, channels)).astype(np.float32)


@pytest.mark.parametrize("block", [1, 7, 64, 997])
def test_equal_vectors_come_by_number_for_every_block(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = vectors(400, 0)
    gallery[300:350] = gallery[100:150]
    query = gallery[95:125] + 0.3 * vectors(30, 1)
    q, g = unit(query)[0], unit(gallery)[0]
    exact = q.astype(np.float64) @ g.astype(np.float64).T
    expected = np.argsort(-np.round(exact, 12), axis=1, kind="stable")[:, :20]
    monkeypatch.setattr(module, "BLOCK_BYTES", block * 4 * 400)
    rows, cosines = nearest(q, g, 20)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(cosines, np.take_along_axis(exact, rows, axis=1), atol=1e-6)
    shifted = nearest(q[3:4], g, 20)
    np.testing.assert_array_equal(shifted[0], rows[3:4])
    np.testing.assert_array_equal(shifted[1], cosines[3:4])


def test_vectors_without_a_direction_are_no_answer() -> None:
    gallery = np.array(
        [[0.6, 0.8, 0], [1, 0, 0], [0, 0, 0], [np.nan, 0, 0], [np.inf, 0, 0], [1e-30, 0, 0], [1e30, 0, 0]], np.float32
    )
    units, usable = unit(gallery)
    assert usable.tolist() == [True, True, False, False, False, True, True]
    rows, cosines = nearest(unit(np.array([[1, 0, 0]], np.float32))[0], units, 7)
    assert rows[0].tolist() == [1, 5, 6, 0, -1, -1, -1]
    np.testing.assert_allclose(cosines[0], [1, 1, 1, 0.6, np.nan, np.nan, np.nan], atol=1e-6)
    assert np.nanmax(cosines) <= 1
    assert (nearest(np.zeros((1, 3), np.float32), units, 2)[0] == -1).all()


def test_a_constant_model_answers_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROWS", 3)
    same = np.tile(unit(vectors(1, 3))[0], (10, 1))
    assert nearest(same[:1], same, 4)[0].tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_gallery_smaller_than_k(count: int) -> None:
    rows, cosines = nearest(unit(vectors(2, 4))[0], unit(vectors(count, 5))[0], 3)
    assert (rows >= 0).sum(axis=1).tolist() == [count] * 2 and np.isnan(cosines).sum() == 2 * (3 - count)
