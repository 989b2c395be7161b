"""Retrieval measures against all orders of ties, sklearn, and values worked out by hand."""

import math
from fractions import Fraction
from itertools import pairwise, permutations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from attn.core.errors import InputError
from attn.core.measures import retrieval
from attn.core.measures.retrieval import Rules, cosine_distances, evaluate_retrieval


def codes(*texts: str) -> np.ndarray:
    """Numbers for names; "" is unknown. Equal across calls."""
    return np.array([sum(ord(letter) << 8 * i for i, letter in enumerate(text)) if text else -1 for text in texts])


def of_order(right: tuple[bool, ...], depths: tuple[int, ...]) -> tuple[Fraction, ...]:
    """AP, INP and CMC of one order, by their definitions."""
    places = [place for place, hit in enumerate(right, 1) if hit]
    ap = sum((Fraction(i, place) for i, place in enumerate(places, 1)), Fraction(0)) / len(places)
    return ap, Fraction(len(places), places[-1]), *(Fraction(places[0] <= k) for k in depths)


def over_all_orders(distances: list[int], right: list[bool], depths: tuple[int, ...]) -> list[float]:
    orders = {
        tuple(right[i] for i in order): 0
        for order in permutations(range(len(distances)))
        if all(distances[a] <= distances[b] for a, b in pairwise(order))
    }
    for order in permutations(range(len(distances))):
        if all(distances[a] <= distances[b] for a, b in pairwise(order)):
            orders[tuple(right[i] for i in order)] += 1
    total = sum(orders.values())
    sums = [
        sum(values) for values in zip(*([n * m for m in of_order(o, depths)] for o, n in orders.items()), strict=True)
    ]
    return [float(value / total) for value in sums]


@pytest.mark.parametrize("seed", range(24))
def test_ties_count_by_their_mean_over_all_orders(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 7))
    distances = rng.integers(0, rng.integers(1, 5), n)
    right = rng.random(n) < 0.5
    right[rng.integers(n)] = True
    depths = (1, 2, 3, 5, 10)
    found = evaluate_retrieval(distances[None].astype(float), np.array([1]), np.where(right, 1, 0), depths=depths)
    expected = over_all_orders(distances.tolist(), right.tolist(), depths)
    np.testing.assert_allclose([found.ap[0], found.inp[0], *found.cmc[0]], expected, rtol=0, atol=1e-12)


def test_without_ties_it_is_the_average_precision_of_sklearn() -> None:
    rng = np.random.default_rng(0)
    d_qg = rng.permuted(np.arange(12 * 300, dtype=np.float32).reshape(12, 300), axis=1)
    gallery, query = rng.integers(0, 9, 300), rng.integers(0, 9, 12)
    found = evaluate_retrieval(d_qg, query, gallery)
    expected = [average_precision_score(gallery == code, -d_g) for code, d_g in zip(query, d_qg, strict=True)]
    np.testing.assert_allclose(found.ap, expected, atol=1e-12)


MARKET = {
    "distances": [[1, 4, 3, 5, 6, 7, 8], [9, 8, 7, 2, 6, 5, 3], [5, 2, 3, 4, 9, 0, 6]],
    "gallery": codes("1", "1", "", "2", "1", "1", "2"),  # a distractor is right for nobody
    "camera": (codes("c1", "c3", "c2"), codes("c1", "c2", "c3", "c2", "c3", "c2", "c1")),
}


def market(shuffle: int | None = None) -> retrieval.Retrieval:
    order = np.arange(7) if shuffle is None else np.random.default_rng(shuffle).permutation(7)
    query, gallery = MARKET["camera"]
    return evaluate_retrieval(
        np.array(MARKET["distances"], float)[:, order],
        codes("1", "2", "1"),
        MARKET["gallery"][order],
        Rules(apart={"camera": (query, gallery[order])}),
        depths=(1, 2, 3),
    )


def test_the_same_camera_is_left_out_and_a_distractor_stays() -> None:
    found = market()
    np.testing.assert_allclose(found.ap, [8 / 15, 1, 11 / 30], atol=1e-12)
    np.testing.assert_allclose(found.inp, [3 / 5, 1, 2 / 5], atol=1e-12)
    summary = found.summary()
    assert summary["mAP"] == pytest.approx(19 / 30, abs=1e-12) and summary["mINP"] == pytest.approx(2 / 3, abs=1e-12)
    assert [summary[f"rank{k}"] for k in (1, 2, 3)] == pytest.approx([1 / 3, 2 / 3, 1])
    assert found.dropped == {"camera": 3} and (summary["ap"], summary["ties"]) == ("plain", "expected")


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_gallery_changes_nothing(seed: int) -> None:
    one, other = market(), market(seed)
    for name in ("ap", "inp", "cmc"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_a_constant_model_scores_as_chance_does() -> None:
    rng = np.random.default_rng(1)
    gallery = np.repeat([1, 2], [3, 27])
    constant = evaluate_retrieval(np.zeros((1, 30)), np.array([1]), gallery)
    chance = evaluate_retrieval(rng.random((3000, 30)), np.ones(3000, int), gallery)
    assert constant.ap[0] == pytest.approx(chance.ap.mean(), abs=4 * chance.ap.std() / math.sqrt(3000))
    assert constant.cmc[0, 0] == pytest.approx(0.1) and constant.inp[0] == pytest.approx(chance.inp.mean(), abs=0.02)


def test_queries_without_a_match_are_counted_by_reason() -> None:
    d_qg = np.arange(1.0, 21).reshape(5, 4)
    query, gallery = codes("A", "D", "B", "C", ""), codes("A", "A", "B", "C")
    camera = codes("1", "1", "1", "2", "1"), codes("1", "2", "1", "2")
    found = evaluate_retrieval(d_qg, query, gallery, Rules(apart={"camera": camera}))
    assert found.left_out == {"unlabelled": 1, "absent": 1, "within": 0, "apart": 2}
    assert found.summary()["mAP"] == 1 and found.summary()["queries"] == 1
    with pytest.raises(InputError, match=r"0 of 3; 1 have none in the gallery; 2 have only such as are left out"):
        kept = slice(1, 4)
        evaluate_retrieval(
            d_qg[kept], query[kept], gallery, Rules(apart={"camera": (camera[0][kept], camera[1])})
        ).summary()


def test_within_restricts_the_whole_gallery_and_apart_only_the_right_ones() -> None:
    query, gallery = codes("A"), codes("B", "A", "B", "A")
    side = codes("L"), codes("R", "R", "L", "L")
    d_qg = np.array([[1.0, 2, 3, 4]])
    assert evaluate_retrieval(d_qg, query, gallery, Rules(within={"side": side})).ap[0] == 1 / 2
    assert evaluate_retrieval(d_qg, query, gallery, Rules(apart={"side": side})).ap[0] == 1 / 2
    assert evaluate_retrieval(d_qg, query, gallery).ap[0] == 1 / 2
    both = Rules(within={"side": side}, apart={"camera": (codes("1"), codes("1", "1", "1", "1"))})
    assert evaluate_retrieval(d_qg, query, gallery, both).left_out["apart"] == 1
    nowhere = Rules(within={"side": (codes("L"), codes("R", "R", "L", ""))})
    assert evaluate_retrieval(d_qg, query, gallery, nowhere).left_out["within"] == 1


def test_an_unknown_value_equals_no_other() -> None:
    unknown = codes(""), codes("", "")
    d_qg, query, gallery = np.array([[1.0, 2]]), codes("A"), codes("B", "A")
    assert evaluate_retrieval(d_qg, query, gallery, Rules(apart={"camera": unknown})).ap[0] == 1 / 2
    assert evaluate_retrieval(d_qg, query, gallery, Rules(within={"side": unknown})).left_out["within"] == 1


def test_copies_of_the_query_are_left_out_whoever_they_are() -> None:
    copies = codes("x", "y"), codes("x", "x", "y", "z")
    d_qg = np.array([[0.0, 0, 1, 2], [1, 1, 0, 2]])
    found = evaluate_retrieval(d_qg, codes("A", "A"), codes("A", "B", "A", "A"), Rules(copies={"file": copies}))
    np.testing.assert_allclose(found.ap, [1, (0.75 + 2 / 3) / 2])  # the second has a tie of A and B, then A
    assert found.dropped == {"file": 3}


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    vectors = rng.integers(-2, 3, (60, 4)).astype(np.float32)
    names = rng.integers(0, 6, 60)
    rules = Rules(copies={"itself": (np.arange(60), np.arange(60))})
    whole = evaluate_retrieval(cosine_distances(vectors, vectors), names, names, rules)
    monkeypatch.setattr(retrieval, "BLOCK_BYTES", 60 * 4 * 7)
    small = evaluate_retrieval(cosine_distances(vectors, vectors), names, names, rules)
    np.testing.assert_array_equal(whole.ap, small.ap)
    np.testing.assert_array_equal(whole.cmc, small.cmc)


def test_nan_distances_are_refused() -> None:
    with pytest.raises(InputError, match="NaN among the distances"):
        evaluate_retrieval(np.array([[1, np.nan]]), codes("A"), codes("A", "B"))
