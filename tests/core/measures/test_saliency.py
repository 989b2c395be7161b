"""Maps of models that look at a known place: what is true of the right map, of a wrong one and of a flat one."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from attn.core.measures.saliency import (
    CELLS,
    PATCH,
    RANDOM,
    SHARES,
    STEPS,
    Curves,
    blurred,
    deletion_insertion,
    occlusion_map,
    outside_centre,
    random_curves,
    shuffled,
)

SIDE = 56
BLANK = torch.zeros(1, 1, 1)


def at(top: int, left: int, size: int = 8) -> torch.Tensor:
    """A map that is 1 on a square and 0 elsewhere."""
    map_ss = torch.zeros(SIDE, SIDE)
    map_ss[top : top + size, left : left + size] = 1
    return map_ss


def looks_at(map_ss: torch.Tensor):
    """A model whose answer is the mean brightness where the map is 1."""
    return lambda x_bcss: (x_bcss[:, 0] * map_ss).sum((1, 2)) / map_ss.sum()


def test_occlusion_is_the_mean_over_all_patches_that_cover_a_pixel() -> None:
    weight_ss = torch.rand(SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    x = torch.rand(1, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    found = occlusion_map(lambda x_bcss: (x_bcss[:, 0] * weight_ss).sum((1, 2)), x, torch.full((1, 1, 1), 0.25))
    patch = round(PATCH * SIDE)
    corners = sorted({round(start) for start in np.linspace(0, SIDE - patch, STEPS)})
    lost_ss = ((x[0, 0] - 0.25) * weight_ss).numpy()
    for row, column in [(0, 0), (20, 33), (SIDE - 1, 5)]:
        values = [
            lost_ss[top : top + patch, left : left + patch].sum()
            for top in corners
            for left in corners
            if top <= row < top + patch and left <= column < left + patch
        ]
        assert float(found[row, column]) == pytest.approx(np.mean(values), rel=1e-3)


def test_occlusion_by_another_picture() -> None:
    x, other = torch.rand(2, 1, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    found = occlusion_map(looks_at(at(0, 0)), x, other[0])
    assert float(found[0, 0]) == pytest.approx(float((x - other)[0, 0, :8, :8].mean()), abs=1e-5)
    assert found[-8:, -8:].abs().max() < 1e-6


def test_a_map_of_what_the_model_looks_at_beats_all_random_ones_and_its_opposite_none() -> None:
    place = at(12, 36)
    x = torch.ones(1, 1, SIDE, SIDE)
    random = random_curves(looks_at(place), x, BLANK)
    right, wrong = (deletion_insertion(looks_at(place), x, BLANK, map_ss) for map_ss in (place, 1 - place))
    assert right.beats(random) and not wrong.beats(random)
    assert (wrong.score <= random.score).all() and random.score.shape == (RANDOM,)
    assert abs(float(random.score.mean())) < 0.25


def test_curves_of_an_answer_that_counts_pixels() -> None:
    """The place is four cells of 196, equal ones: two of them are gone at 1 %, all at 2 %, and given likewise."""
    place, x = at(12, 36), torch.ones(1, 1, SIDE, SIDE)
    curves = deletion_insertion(looks_at(place), x, BLANK, place)
    np.testing.assert_allclose(curves.deletion, [1, 0.5, *[0] * (len(SHARES) - 2)], atol=1e-6)
    np.testing.assert_allclose(curves.insertion, [0, 0.5, *[1] * (len(SHARES) - 2)], atol=1e-6)
    assert float(curves.score) == pytest.approx(0.99 - 0.01)
    everywhere = deletion_insertion(looks_at(torch.ones(SIDE, SIDE)), x, BLANK, place)
    expected = np.ceil(np.array(SHARES) * CELLS**2) / CELLS**2
    np.testing.assert_allclose(everywhere.insertion, expected, atol=1e-6)


@pytest.mark.parametrize(("top", "left"), [(4, 4), (12, 36), (24, 24), (44, 8), (40, 40)])
def test_the_map_of_a_small_place_is_faithful_wherever_it_is(top: int, left: int) -> None:
    """Smooth random maps reach a place of four cells within their first tenth, but not within the first four cells."""
    place, x = at(top, left), torch.ones(1, 1, SIDE, SIDE)
    random = random_curves(looks_at(place), x, BLANK)
    assert deletion_insertion(looks_at(place), x, BLANK, place).beats(random)
    assert not deletion_insertion(looks_at(place), x, BLANK, at(top, left).roll((28, 28), (0, 1))).beats(random)


def test_one_in_twenty_maps_that_say_nothing_is_called_faithful() -> None:
    """The chance that is promised: random maps of other seeds against those of the test, 200 draws."""
    weight_ss = torch.randn(7, 7, generator=torch.Generator().manual_seed(5)).repeat_interleave(8, 0)
    weight_ss = weight_ss.repeat_interleave(8, 1)
    x = torch.ones(1, 1, SIDE, SIDE)
    answer = lambda x_bcss: (x_bcss[:, 0] * weight_ss).mean((1, 2))  # noqa: E731
    drawn = [random_curves(answer, x, BLANK, seed) for seed in range(1, 8)]
    nothing = [Curves(d, i) for each in drawn for d, i in zip(each.deletion, each.insertion, strict=True)]
    against = [random_curves(answer, x, BLANK, seed) for seed in range(8, 12)]
    share = np.mean([[one.beats(random) for random in against] for one in nothing])
    assert 0.01 < share < 0.1


def test_of_a_linear_answer_what_is_taken_and_what_is_left_sum_to_the_whole() -> None:
    weight_ss = torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    x = torch.rand(1, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(3))
    blank = blurred(x)[0]
    curves = deletion_insertion(lambda x_bcss: (x_bcss[:, 0] * weight_ss).sum((1, 2)), x, blank, torch.rand(SIDE, SIDE))
    whole = float((x[0] * weight_ss).sum() + (blank * weight_ss).sum())
    np.testing.assert_allclose(curves.deletion + curves.insertion, whole, rtol=1e-3)


def test_a_map_equal_to_a_random_one_does_not_beat_it() -> None:
    curves = Curves(1 - np.array(SHARES), np.array(SHARES))
    assert not curves.beats(Curves(curves.deletion[None], curves.insertion[None]))


def test_of_39_random_maps_one_may_be_as_good() -> None:
    """A map that is like them is one of the best two of 40 once in twenty times."""
    map_of = lambda score: Curves(np.zeros(len(SHARES)), np.full(len(SHARES), score))  # noqa: E731
    random = Curves(np.zeros((39, len(SHARES))), np.linspace(0, 0.38, 39)[:, None] * np.ones(len(SHARES)))
    assert map_of(0.5).beats(random) and map_of(0.375).beats(random) and not map_of(0.365).beats(random)
    assert not map_of(np.nan).beats(random)


def test_the_share_outside_the_centre() -> None:
    assert outside_centre(at(0, 0) + 3) == pytest.approx(1 - 2 * 2 / 64)  # the border is 6 of 56 pixels wide
    assert outside_centre(at(20, 20)) == 0 and np.isnan(outside_centre(torch.ones(SIDE, SIDE)))
    assert outside_centre(torch.eye(SIDE)) == pytest.approx(12 / SIDE)
    assert outside_centre(torch.rand(1000, 1000)) == pytest.approx(1 - 0.8**2, abs=0.01)


def test_the_blur_is_a_gaussian() -> None:
    x = torch.rand(2, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(4))
    sigma = 0.1 * SIDE
    for image, found in zip(x[:, 0], blurred(x)[:, 0], strict=True):
        expected = gaussian_filter(image.numpy(), sigma, mode="mirror", radius=round(3 * sigma))
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_shuffled_weights_are_the_same_numbers_in_another_order_and_the_model_stays() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Linear(5, 6))
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    other = shuffled(model)
    for name, parameter in other.named_parameters():
        assert not torch.equal(parameter, before[name])
        torch.testing.assert_close(parameter.flatten().sort().values, before[name].flatten().sort().values)
        torch.testing.assert_close(model.get_parameter(name), before[name])
    assert torch.equal(shuffled(model)[1].weight, other[1].weight)
