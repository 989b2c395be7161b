"""Pictures of no galaxy: what is drawn is what its name says, and the same for the same seed."""

import numpy as np
import pytest
from galaxy_fixtures import galaxy

from attn.apps.galaxy.negatives import KINDS, SIDES, as_elsewhere, picture
from attn.data_adapters.sky.looks import looks


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_is_drawn_from_its_seed(kind: str) -> None:
    drawn = [picture(kind, seed) for seed in range(4)]
    for pixels in drawn:
        assert pixels.dtype == np.uint8 and pixels.shape[0] == pixels.shape[1] and pixels.shape[2] == 3
        assert SIDES[0] <= len(pixels) <= SIDES[1]
    assert np.array_equal(drawn[0], picture(kind, 0))
    assert len({pixels.tobytes() for pixels in drawn}) == 4


@pytest.mark.parametrize(("kind", "flag"), [("empty sky", "empty"), ("saturated", "saturated"), ("trail", "trail")])
def test_most_pictures_look_like_what_they_are_called(kind: str, flag: str) -> None:
    assert sum(flag in looks(picture(kind, seed)).flags for seed in range(20)) >= 8


def test_a_galaxy_elsewhere_is_another_picture_of_it() -> None:
    pixels = galaxy("disc", 0, 88)
    shown = [as_elsewhere(pixels, np.random.default_rng(seed)) for seed in range(60)]
    assert all(each.dtype == np.uint8 and each.shape[2] == 3 and min(each.shape[:2]) >= 24 for each in shown)
    assert {len(each) for each in shown} > {88}, "some are coarser, some smaller in their frame"
    middle = [float(each[len(each) // 2 - 2 : len(each) // 2 + 2].mean() - each[:2].mean()) for each in shown]
    assert np.mean(np.array(middle) > 0) > 0.95, "the galaxy is still there"
    oblong = as_elsewhere(np.ones((50, 80, 3), np.uint8), np.random.default_rng(3))
    assert oblong.ndim == 3
