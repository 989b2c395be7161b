"""Images that are no frontal chests: what is made of chests, and forms."""

import numpy as np
import pytest
from chest_fixtures import chest

from attn.apps.chest.gate import KINDS
from attn.apps.chest.negatives import crop, form, jittered, spoiled


def picture() -> np.ndarray:
    return (chest() / 255).astype(np.float32)


def test_spoiled_chests_are_of_every_kind_but_lateral() -> None:
    made = dict(spoiled(picture(), np.random.default_rng(0)))
    assert {*made} == {*KINDS} - {"frontal", "lateral"}
    np.testing.assert_array_equal(np.fliplr(made["mirrored"]), picture())
    np.testing.assert_allclose(made["inverted"] + picture(), 1)
    turns = [np.rot90(picture(), quarter) for quarter in (1, 2, 3)]
    assert any(np.array_equal(made["turned"], turn) for turn in turns)


@pytest.mark.parametrize("make", [crop, jittered])
def test_parts_have_the_size_of_the_whole_and_another_content(make) -> None:
    draw = np.random.default_rng(0)
    made = [make(picture(), draw) for _ in range(4)]
    for one in made:
        assert one.shape == picture().shape and one.dtype == np.float32
        assert one.min() >= 0 and one.max() <= 1
        assert not np.allclose(one, picture(), atol=0.02)
    assert not np.array_equal(made[0], made[1])


def test_a_jittered_picture_is_mirrored_only_when_asked() -> None:
    """A picture that grows brighter to the right."""
    ramp = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (64, 1))
    draw = np.random.default_rng(0)
    for mirror, found in ((False, {True}), (True, {True, False})):
        made = [jittered(ramp, draw, mirror=mirror) for _ in range(20)]
        assert {bool(one[0, 0] < one[0, -1]) for one in made} == found


def test_a_form_is_dark_marks_on_white() -> None:
    draw = np.random.default_rng(0)
    pages = [form(64, draw) for _ in range(3)]
    assert all(page.shape == (64, 64) and np.median(page) > 0.7 and page.std() > 0.01 for page in pages)
    assert not np.array_equal(pages[0], pages[1])
