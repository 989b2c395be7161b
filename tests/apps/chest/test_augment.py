"""Augmentation: what it may change and what it must leave alone."""

import pytest
import torch
from torch import Tensor

from attn.apps.chest.augment import AugmentConfig, mix, photometric, random_view

NOTHING = AugmentConfig(
    aspect=(1, 1), zoom=(1, 1), rotation=0, shift=0, gamma=0, contrast=0, brightness=0, blur=0, noise=0, border=0, mix=0
)


def off(**changes: object) -> AugmentConfig:
    return AugmentConfig(**{**vars(NOTHING), **changes})


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def square(side: int = 64, count: int = 200) -> Tensor:
    """A bright square of half the side in the middle."""
    x = torch.zeros(count, 1, side, side)
    x[..., side // 4 : -side // 4, side // 4 : -side // 4] = 1
    return x


def test_with_nothing_on_the_picture_stays() -> None:
    x = torch.rand(4, 1, 48, 48)
    torch.testing.assert_close(photometric(random_view(x, 48, NOTHING), NOTHING), x, atol=1e-3, rtol=0)


def test_the_aspect_spans_its_range_and_the_area_stays() -> None:
    view = random_view(square(), 64, off(aspect=(0.7, 1.4)))
    width, height = view.amax(2).sum(-1)[:, 0], view.amax(3).sum(-1)[:, 0]
    aspect = width / height
    assert 0.66 < aspect.min() < 0.75 and 1.3 < aspect.max() < 1.48
    torch.testing.assert_close(width * height, torch.full((200,), 1024.0), rtol=0.1, atol=0)


def test_zoom_and_rotation() -> None:
    area = random_view(square(), 64, off(zoom=(0.9, 1.35))).sum((1, 2, 3)) / 1024
    assert 0.78 < area.min() < 0.9 and 1.65 < area.max() < 1.9
    x = torch.zeros(1, 1, 65, 65)
    x[..., 2, 32] = 1  # above the middle
    place = random_view(x.expand(300, -1, -1, -1), 65, off(rotation=8)).amax(2).argmax(-1)[:, 0]
    assert (place - 32).abs().max() <= 30 * 0.14 + 1.5 and place.min() < 31 and place.max() > 33


def test_left_stays_left() -> None:
    """The heart lies on the left of the body: no view is mirrored, under the whole default augmentation."""
    x = torch.zeros(400, 1, 64, 64)
    x[..., 20:44, 42:54] = 1
    view = random_view(x, 64, AugmentConfig())
    column = torch.arange(64.0)
    middle = (view.sum(2)[:, 0] * column).sum(-1) / view.sum((1, 2, 3))
    assert (middle > 32).all()


def test_pixels_stay_in_range_and_differ_between_pictures() -> None:
    x = photometric(torch.rand(1, 1, 32, 32).expand(8, -1, -1, -1), AugmentConfig())
    assert x.min() >= 0 and x.max() <= 1 and x.isfinite().all()
    assert (x - x[:1]).abs().amax((1, 2, 3))[1:].min() > 0


def test_the_rim_is_one_grey_and_the_middle_untouched() -> None:
    x = torch.rand(100, 1, 50, 50)
    out = photometric(x, off(border=1, rim=0.12))
    assert torch.equal(out[..., 6:-6, 6:-6], x[..., 6:-6, 6:-6].clamp(min=1e-4)) or torch.allclose(
        out[..., 6:-6, 6:-6], x[..., 6:-6, 6:-6], atol=1e-3
    )
    changed = (out - x).abs() > 1e-3
    assert changed.any((1, 2, 3)).float().mean() > 0.9
    for one, where in zip(out, changed, strict=True):
        assert one[where].std() < 1e-6 if where.sum() > 1 else True


def test_mixing_mixes_targets_by_the_same_share() -> None:
    target = torch.eye(3)[torch.randint(3, (30,))]
    x = target @ torch.tensor([0.0, 0.5, 1.0])
    mixed, soft = mix(x[:, None, None, None].expand(-1, 1, 4, 4), target, off(mix=1))
    torch.testing.assert_close(mixed[:, 0, 0, 0], soft @ torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(soft.sum(1), torch.ones(30))
    assert not torch.equal(soft, target)
