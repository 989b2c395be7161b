"""Search: against a loop over all pairs, the rules, ties, and galleries that are smaller than what is asked."""

from itertools import pairwise

import numpy as np
import pytest
from reid_fixtures import gallery_of

from attn.apps.reid.gallery import Gallery
from attn.apps.reid.nearest import unit
from attn.apps.reid.probabilities import Calibration, Verified
from attn.apps.reid.ranks import NOBODY, answer_of
from attn.apps.reid.search import Query, search
from attn.apps.reid.verify import BEST, USUAL, evidence


@pytest.fixture(scope="module")
def drawn() -> tuple[Gallery, np.ndarray]:
    generator = np.random.default_rng(0)
    identities = [f"a{i}" for i in generator.integers(0, 30, 300)]
    identities[::17] = [""] * len(identities[::17])
    flanks, meetings = (generator.choice([*values, ""], 300).tolist() for values in ("LR", "123456"))
    gallery = gallery_of(identities, generator.normal(size=(300, 8)), within=flanks, encounter=meetings)
    return gallery, unit(generator.normal(size=(4, 8)))[0]


def by_hand(query: Query, gallery: Gallery) -> list[tuple[str, float]]:
    """Individuals, or ids of pictures of nobody known, and their similarity: a loop over all pairs."""
    best: dict[str, float] = {}
    for p, vector in enumerate(query.vectors):
        for g, row in enumerate(gallery.rows.iter_rows(named=True)):
            if query.within and query.within[p] and row["within"] != query.within[p]:
                continue
            same = bool(query.identity) and row["identity"] == query.identity
            if same and query.encounters and query.encounters[p] and row["encounter"] == query.encounters[p]:
                continue
            if query.itself and g in query.itself[p]:
                continue
            name, cosine = row["identity"] or row["id"], float(vector.astype(np.float64) @ gallery.vectors[g])
            best[name] = max(best.get(name, -2), cosine)
    return sorted(best.items(), key=lambda each: -each[1])


@pytest.mark.parametrize("rules", ["none", "all"])
@pytest.mark.parametrize("pictures", [1, 3])
def test_it_is_the_loop_over_all_pairs(drawn: tuple[Gallery, np.ndarray], rules: str, pictures: int) -> None:
    gallery, vectors = drawn
    query = Query("q", vectors[:pictures], identity="a3")
    if rules == "all":
        values, itself = (("L", "", "R")[:pictures], ((5,), (), (9, 11))[:pictures])
        query = Query("q", vectors[:pictures], "a3", values, None, ("1", "2", "")[:pictures], itself)
    expected, found = by_hand(query, gallery), search(query, gallery, 10)
    assert [each.individual or each.picture for each in found.ranked] == [name for name, _ in expected[:10]]
    np.testing.assert_allclose([each.similarity for each in found.ranked], [s for _, s in expected[:10]], atol=1e-6)
    margins = [a - b for (_, a), (_, b) in pairwise(expected[:11])]
    np.testing.assert_allclose([each.margin for each in found.ranked], margins, atol=1e-6)
    for each in found.ranked:
        exact = float(query.vectors[each.of_query].astype(np.float64) @ gallery.vectors[each.row])
        assert each.similarity == pytest.approx(exact, abs=1e-7) and gallery.rows["id"][each.row] == each.picture
    assert (sum(found.left_out.values()) > 0) == (rules == "all") and found.known is None


def test_pictures_instead_of_individuals(drawn: tuple[Gallery, np.ndarray]) -> None:
    gallery, vectors = drawn
    found = search(Query("q", vectors[:1]), gallery, 20, pictures=True).ranked
    rows, cosines = gallery.search(vectors[:1], 20)
    assert [each.row for each in found] == rows[0].tolist()
    np.testing.assert_allclose([each.similarity for each in found], cosines[0], atol=1e-7)


def test_equal_pictures_come_by_id_and_once_for_each_individual() -> None:
    vectors = np.array([[0, 1], [1, 0], [1, 0], [1, 0], [1, 1]], float)
    gallery = gallery_of(["c", "b", "a", "a", ""], vectors)
    found = search(Query("q", np.array([[1, 0]], np.float32)), gallery, 10).ranked
    assert [(each.individual, each.picture) for each in found] == [
        ("b", "0001.jpg"), ("a", "0002.jpg"), ("", "0004.jpg"), ("c", "0000.jpg"),
    ]  # fmt: skip
    assert [each.rank for each in found] == [1, 2, 3, 4] and found[0].margin == 0 and found[-1].margin is None


def test_rules_that_leave_nothing(drawn: tuple[Gallery, np.ndarray]) -> None:
    gallery, vectors = drawn
    found = search(Query("q", vectors[:1], within=("X",)), gallery, 10, Calibration(slope=10, intercept=0))
    assert found.ranked == [] and found.left_out == {"within": 300} and found.known is False


def test_probabilities_are_those_of_all_individuals(drawn: tuple[Gallery, np.ndarray]) -> None:
    gallery, vectors = drawn
    calibration = Calibration(slope=12, intercept=-3, prior=0.8, threshold=0.3)
    query = Query("q", vectors[:1])
    every = by_hand(query, gallery)
    expected = calibration.answers(np.array([[s for _, s in every]]))[0]
    found = search(query, gallery, len(every), calibration)
    np.testing.assert_allclose([each.probability for each in found.ranked], expected, atol=1e-5)
    assert found.known == (expected[0] >= 0.3)
    few = search(query, gallery, 3, calibration).ranked
    assert few == found.ranked[:3]


@pytest.mark.parametrize("calibration", [None, Calibration(slope=8.0, intercept=-4.0)])
def test_inliers_of_the_best_pictures_change_the_order(
    drawn: tuple[Gallery, np.ndarray], calibration: Calibration | None
) -> None:
    """By hand: the cosine and, of the best fifty pictures, what their inliers say; the others count as without any."""
    gallery, vectors = drawn
    query = Query("q", vectors[:2])
    counts = np.random.default_rng(1).choice([0, 0, 0, 5, 9, 40], len(gallery))
    seen: list[np.ndarray] = []

    def again(rows: np.ndarray, of_query: np.ndarray) -> np.ndarray:
        seen.extend((rows, of_query))
        return counts[rows]

    found = search(query, gallery, 300, calibration, pictures=True, again=again)
    cosine_pg = query.vectors.astype(np.float64) @ gallery.vectors.T.astype(np.float64)
    best = set(np.argsort(-cosine_pg.max(axis=0))[:BEST].tolist())
    assert set(seen[0].tolist()) == best and (seen[1] == cosine_pg.argmax(axis=0)[seen[0]]).all()
    looked = np.array([g in best for g in range(len(gallery))])
    slope = calibration.slope if calibration else USUAL
    score = cosine_pg.max(axis=0) + evidence(np.where(looked, counts, 0)) / slope
    assert [each.row for each in found.ranked] == np.argsort(-score, kind="stable").tolist()
    for each, following in pairwise(found.ranked):
        assert each.margin == pytest.approx(score[each.row] - score[following.row], abs=1e-5)
        assert each.similarity == pytest.approx(cosine_pg[:, each.row].max(), abs=1e-6)
        assert each.score == pytest.approx(score[each.row], abs=1e-5)
        assert each.inliers == (counts[each.row] if looked[each.row] else None)
    assert found.known is None and all(each.probability is None for each in found.ranked)  # of cosines, if of anything


def test_inliers_count_in_the_probability() -> None:
    """Bayes' rule by hand, for two individuals with one picture each."""
    gallery = gallery_of(["a", "b"], np.array([[1.0, 0.2], [1.0, 0.0]]))
    again = Verified(slope=6.0, intercept=-2.0, threshold=0.7, helps=False)
    calibration = Calibration(slope=5.0, intercept=-3.0, prior=0.4, threshold=0.1, verified=again)
    query = Query("q", unit(np.array([[1.0, 0.1]]))[0])
    found = search(query, gallery, 2, calibration, again=lambda rows, _: np.array([0, 10])[rows])
    scores = [each.similarity + evidence(np.array(each.inliers)) / 5 for each in found.ranked]
    ratios = [np.exp(6 * score - 2) * 0.4 / 2 for score in scores]
    assert [each.individual for each in found.ranked] == ["b", "a"]
    expected = [ratio / (sum(ratios) + 0.6) for ratio in ratios]
    assert [each.probability for each in found.ranked] == pytest.approx(expected, abs=1e-5)
    assert found.threshold == 0.7 and found.known == (expected[0] >= 0.7)


@pytest.mark.parametrize(
    ("asked", "there", "answer"),
    [("tiny", "", "A"), ("", "blank", NOBODY), ("blank", "", NOBODY), ("tiny blank", "tiny blank", NOBODY)],
)
def test_a_blank_picture_on_either_side_says_nothing(asked: str, there: str, answer: str) -> None:
    """No probability, also for Python, the picture and the page, and nobody is known."""
    gallery = gallery_of(["A"], np.ones((1, 2)), flags=[there])
    query = Query("q", gallery.vectors, flags=tuple(asked.split()))
    found = search(query, gallery, 1, Calibration(slope=10, intercept=5, threshold=0.1))
    assert answer_of(found) == answer and (found.ranked[0].probability is None) == (answer == NOBODY)
