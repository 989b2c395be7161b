"""Rankings of galaxies: what is most like one, and what is least like the others."""

import numpy as np
import pytest

from attn.apps.galaxy.among import NEAREST, distances, similar, unusual
from attn.core.errors import InputError
from attn.core.results.prediction import Prediction


def picture(id: str, vector: np.ndarray) -> Prediction:
    return Prediction.from_probabilities(id, ["a", "b"], [0.5, 0.5], embedding=np.asarray(vector, np.float32))


FAILED = Prediction.failed("broken.fits", "is not a FITS file")


def test_similar_is_the_cosine_about_the_mean_of_the_others() -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(5, 1, (40, 7))
    others = [picture(str(row), vector) for row, vector in enumerate(x)]
    ranked = similar(picture("q", x[11] + 0.01), [*others[:20], FAILED, *others[20:]])
    mean = x.astype(np.float32).mean(0)
    by_hand = [
        float((x[11] + 0.01 - mean) @ (row - mean))
        / float(np.linalg.norm(x[11] + 0.01 - mean) * np.linalg.norm(row - mean))
        for row in x
    ]
    assert ranked[0].id == "11"
    assert [each.id for each in ranked[:-1]] == [str(row) for row in np.argsort(by_hand)[::-1]]
    np.testing.assert_allclose([each.values["similarity"] for each in ranked[:-1]], sorted(by_hand)[::-1], atol=1e-4)
    assert [each.values.get("rank") for each in ranked] == [*range(1, 41), None]
    assert ranked[-1] == FAILED


def test_a_query_that_cannot_be_read_is_an_error_and_an_unreadable_folder_is_rows() -> None:
    with pytest.raises(InputError, match="not a FITS file"):
        similar(FAILED, [picture("a", np.ones(3))])
    assert similar(picture("q", np.ones(3)), [FAILED]) == [FAILED]
    assert similar(picture("q", np.ones(3)), [picture("a", np.ones(3))])[0].values["similarity"] == pytest.approx(1)


@pytest.mark.parametrize("count", [2, 4, NEAREST + 1, 60])
def test_distance_is_to_the_nearest_by_brute_force(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attn.apps.galaxy.among._BLOCK", 7)
    x = np.random.default_rng(count).normal(3, 2, (count, 9))
    z = (x - x.mean(0)) / x.std(0)
    each = np.sqrt(((z[:, None] - z[None]) ** 2).mean(2))
    expected = np.sort(each, axis=1)[:, min(NEAREST, count - 1)]
    np.testing.assert_allclose(distances(x), expected, rtol=1e-4)


def test_what_lies_apart_is_unusual_even_where_a_few_are_alike() -> None:
    draw = np.random.default_rng(1)
    usual = draw.normal(0, 1, (200, 12))
    odd = draw.normal(6, 0.1, (NEAREST - 1, 12))
    pictures = [picture(f"usual {row}", vector) for row, vector in enumerate(usual)]
    pictures[50:50] = [picture(f"odd {row}", vector) for row, vector in enumerate(odd)]
    ranked = unusual([FAILED, *pictures])
    assert {each.id for each in ranked[: len(odd)]} == {f"odd {row}" for row in range(len(odd))}
    scores = [each.values["distance"] for each in ranked[:-1]]
    assert scores == sorted(scores, reverse=True)
    assert ranked[-1] == FAILED


def test_equal_vectors_are_no_distance_apart_and_one_picture_is_too_few() -> None:
    assert distances(np.ones((9, 4))).max() == 0
    with pytest.raises(InputError, match="1 pictures are too few"):
        unusual([picture("a", np.ones(3)), FAILED])
