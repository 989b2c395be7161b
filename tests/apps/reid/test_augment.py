"""Augmentation: nothing where nothing is asked for, a mirror image where one is, and only what is meant."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from attn.apps.reid.augment import AugmentConfig, photometric, random_part, random_view

NOTHING = AugmentConfig(aspect=(1, 1), zoom=(1, 1), rotation=0, shift=0, light=0, erase=0)


def pictures(count: int = 6) -> Tensor:
    return torch.rand(count, 3, 16, 24, generator=torch.Generator().manual_seed(0))


def test_without_strengths_pictures_stay() -> None:
    x = pictures()
    torch.testing.assert_close(random_view(x, (16, 24), torch.zeros(6, dtype=torch.bool), NOTHING), x)
    torch.testing.assert_close(photometric(x, NOTHING), x)


def test_mirrored_are_those_that_are_to_be() -> None:
    x, mirrored = pictures(), torch.tensor([True, False, True, False, False, True])
    seen = random_view(x, (16, 24), mirrored, NOTHING)
    torch.testing.assert_close(seen, torch.where(mirrored[:, None, None, None], x.flip(3), x))


def test_a_mirror_image_is_that_of_a_view() -> None:
    """Mirroring comes before the rest: the view of a mirrored picture is the view of its mirror image."""
    x, all_of_them = pictures(), torch.ones(6, dtype=torch.bool)
    torch.manual_seed(1)
    mirrored = random_view(x, (16, 16), all_of_them, AugmentConfig())
    torch.manual_seed(1)
    torch.testing.assert_close(
        mirrored, random_view(x.flip(3), (16, 16), ~all_of_them, AugmentConfig()), atol=1e-4, rtol=0
    )


def test_a_smaller_size_is_the_whole_picture() -> None:
    x = F.interpolate(torch.rand(2, 3, 2, 2), (20, 20))
    seen = random_view(x, (10, 10), torch.zeros(2, dtype=torch.bool), NOTHING)
    torch.testing.assert_close(seen[..., [0, -1], :][..., [0, -1]], x[..., [0, -1], :][..., [0, -1]])


def test_light_keeps_the_range_and_moves_the_mean() -> None:
    torch.manual_seed(2)
    x = pictures(64)
    y = photometric(x, replace(NOTHING, light=0.3))
    assert y.min() >= 0 and y.max() <= 1
    assert ((y.mean((1, 2, 3)) - x.mean((1, 2, 3))).abs() > 0.02).float().mean() > 0.5
    grey = torch.rand(4, 1, 8, 8).expand(4, 3, 8, 8)
    seen = photometric(grey, replace(NOTHING, light=0.3))
    torch.testing.assert_close(seen[:, 0], seen[:, 2])  # no colour where there was none


def test_what_is_erased_is_one_rectangle_of_one_grey() -> None:
    torch.manual_seed(3)
    x = pictures(200)
    y = photometric(x, replace(NOTHING, erase=0.5, area=0.3))
    changed = ((y - x).abs() > 1e-5).any(1)
    touched = changed.flatten(1).any(1)
    assert 60 < int(touched.sum()) < 140
    for picture, mask in zip(y[touched], changed[touched], strict=True):
        rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
        box = picture[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert box.amax() - box.amin() < 1e-6
        assert box[0].numel() <= 0.45 * 16 * 24  # a rim of half pixels counts in full


def test_a_part_of_a_map_is_a_window_of_it() -> None:
    """With nothing but windows each is found in its map, and its sides are those of the map over the largest zoom."""
    maps, seen = torch.randn(3, 5, 9, 12), set()
    for seed in range(40):
        torch.manual_seed(seed)
        part = random_part(maps, replace(NOTHING, zoom=(1, 1.3)))
        height, width = part.shape[2:]
        windows = maps.unfold(2, height, 1).unfold(3, width, 1)
        assert (windows == part[:, :, None, None]).all((0, 1, 4, 5)).any()
        seen |= {("height", height), ("width", width)}
    assert seen == {*(("height", side) for side in (7, 8, 9)), *(("width", side) for side in (10, 11, 12))}
    torch.testing.assert_close(random_part(maps, NOTHING), maps)


def test_a_hole_in_a_map_is_empty_in_all_channels() -> None:
    torch.manual_seed(0)
    part = random_part(torch.ones(64, 3, 9, 9), replace(NOTHING, erase=1))
    assert {*part.unique().tolist()} == {0.0, 1.0} and torch.equal(part[:, 0], part[:, 2])
