"""Augmentation: what it may change and what it must leave."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from attn.apps.galaxy.augment import (
    SURVEYS,
    AugmentConfig,
    coarsen,
    mix,
    photometric,
    random_view,
    redisplay,
    sky_level,
)
from attn.data_adapters.sky.stretch import Stretch, render

TURNS_ONLY = AugmentConfig(scale=(1, 1), shift=0, stretch=0)
UNTOUCHED = AugmentConfig(photometric=0, grey=0, noise=0, erase=0)


def blob(side: int, x: float = 0, y: float = 0, sigma: float = 0.12, batch: int = 16) -> Tensor:
    """Round blobs (batch, 3, side, side) at (x, y), in sides from the middle, on a sky of 0.1, 0.2, 0.3."""
    at = (torch.arange(side) + 0.5) / side - 0.5
    light = torch.exp(-((at[None] - x) ** 2 + (at[:, None] - y) ** 2) / (2 * sigma**2))
    sky = torch.tensor([0.1, 0.2, 0.3])[:, None, None]
    return (sky + 0.5 * light).expand(batch, 3, side, side).clone()


def centre_of_light(x_bchw: Tensor) -> Tensor:
    """Positions (B, 2) of the light above the sky, in units of the side from the middle: x, y."""
    light = (x_bchw - sky_level(x_bchw)).mean(1).clamp(min=0)
    at = (torch.arange(light.shape[-1]) + 0.5) / light.shape[-1] - 0.5
    total = light.sum((1, 2))
    return torch.stack([(light.sum(1) * at).sum(1), (light.sum(2) * at).sum(1)], dim=1) / total[:, None]


def width_of_light(x_bchw: Tensor) -> Tensor:
    """Standard deviations (B, 2) of the light along x and y, in units of the side."""
    light = (x_bchw - sky_level(x_bchw)).mean(1).clamp(min=0)
    at = (torch.arange(light.shape[-1]) + 0.5) / light.shape[-1] - 0.5
    away = at - centre_of_light(x_bchw)[:, :, None]
    profiles = torch.stack([light.sum(1), light.sum(2)], dim=1)
    return ((profiles * away**2).sum(2) / profiles.sum(2)).sqrt()


def test_some_images_lose_their_fine_detail_and_keep_their_light() -> None:
    board = (torch.arange(64)[:, None] + torch.arange(64)) % 2 * 1.0
    x = board.expand(400, 3, 64, 64)
    y = coarsen(x, AugmentConfig(coarse=0.25))
    coarse = (y - x).flatten(1).abs().amax(1) > 0
    assert 60 < coarse.sum() < 140
    assert y[coarse].std() < 0.5 * x.std()
    torch.testing.assert_close(y[coarse].mean(), x.mean(), rtol=0, atol=0.02)
    assert coarsen(x, AugmentConfig()) is x


def test_a_picture_stretched_anew_is_what_the_stretch_makes_of_its_counts() -> None:
    """Display pixels taken for counts: `render` measures the sky on a wider frame, so sky and noise differ a little."""
    torch.manual_seed(0)
    side = 96
    x = (blob(side, batch=40) + 0.02 * torch.randn(40, 3, side, side)).clamp(0, 1)
    shown = redisplay(x, AugmentConfig(restretch=1)) * 255
    counts = render(x[0].permute(1, 2, 0).numpy()[::-1], Stretch())[0].astype(float)
    brightest = shown.mean(1).flatten(1).amax(1)
    assert brightest.min() < counts.mean(2).max() < brightest.max()  # the depth is drawn
    sky = sky_level(shown).flatten(1)
    torch.testing.assert_close(sky.mean(0), torch.full((3,), np.median(counts[0])).float(), rtol=0, atol=4)


def test_a_lost_band_is_the_mean_of_the_others() -> None:
    torch.manual_seed(0)
    x = torch.rand(300, 3, 4, 4)
    y = redisplay(x, AugmentConfig(band_loss=0.5))
    changed = (y != x).flatten(2).any(2)
    assert changed.sum(1).max() == 1 and 0.4 < changed.any(1).float().mean() < 0.6
    image, band = changed.nonzero().unbind(1)
    others = (x.sum(1)[image] - x[image, band]) / 2
    torch.testing.assert_close(y[image, band], others)
    assert set(band.tolist()) == {0, 1, 2}


def test_gamma_and_brightness_are_one_for_an_image_and_within_bounds() -> None:
    torch.manual_seed(0)
    x = torch.full((500, 3, 2, 2), 0.5)
    exponents = redisplay(x, AugmentConfig(gamma=0.5)).log() / x.log()
    moved = redisplay(x, AugmentConfig(brightness=0.1)) - x
    for drawn, low, high in ((exponents.log(), -0.5, 0.5), (moved, -0.1, 0.1)):
        torch.testing.assert_close(drawn, drawn[:, :1, :1, :1].expand_as(drawn))
        assert low - 1e-5 <= drawn.min() < 0.9 * low and 0.9 * high < drawn.max() <= high + 1e-5


def test_redisplay_leaves_what_it_is_not_asked_for() -> None:
    x = blob(32)
    torch.testing.assert_close(redisplay(x, AugmentConfig()), x)
    y = redisplay(x, SURVEYS)
    assert (
        y.shape == x.shape
        and y.min() >= 0
        and y.max() <= 1
        and redisplay(x.to(torch.bfloat16), SURVEYS).isfinite().all()
    )


def test_a_round_galaxy_in_the_middle_stays_under_every_turn() -> None:
    x = blob(48)
    torch.testing.assert_close(random_view(x, 48, TURNS_ONLY), x, atol=4e-3, rtol=0)


def test_the_view_has_the_side_asked_for() -> None:
    assert random_view(blob(44, batch=3), 32, AugmentConfig()).shape == (3, 3, 32, 32)
    torch.testing.assert_close(random_view(blob(88), 32, TURNS_ONLY), blob(32), atol=1e-2, rtol=0)


def test_turns_cover_the_circle_and_keep_the_distance() -> None:
    torch.manual_seed(0)
    place = centre_of_light(random_view(blob(64, x=0.2, sigma=0.05, batch=400), 64, TURNS_ONLY))
    torch.testing.assert_close(place.norm(dim=1), torch.full((400,), 0.2), atol=5e-3, rtol=0)
    octants = (torch.atan2(place[:, 1], place[:, 0]) / (math.pi / 4)).floor().unique()
    assert len(octants) == 8


def test_half_of_the_views_are_mirrored() -> None:
    """Three blobs of different size: the sense in which they follow one another is the image's handedness."""
    torch.manual_seed(0)
    sky, scene = blob(64, sigma=1e-3, batch=1)[:, :, :1, :1], 0
    for weight, (x, y) in zip((1.0, 0.6, 0.3), ((0.2, 0), (-0.1, 0.17), (-0.1, -0.17)), strict=True):
        scene = scene + weight * (blob(64, x, y, 0.05, batch=200) - sky)
    views = random_view(scene + sky, 64, TURNS_ONLY)[:, 0] - 0.1
    at = (torch.arange(64) + 0.5) / 64 - 0.5
    angle = torch.atan2(at[:, None], at[None])
    brightest = views.flatten(1).argmax(1)
    start = angle.flatten()[brightest]
    beyond = (angle[None] - start[:, None, None]) % (2 * math.pi)
    first = ((beyond > 1.2) & (beyond < 3.0)).float() * views
    second = ((beyond > 3.3) & (beyond < 5.1)).float() * views
    mirrored = (second.sum((1, 2)) > first.sum((1, 2))).float().mean()
    assert 0.4 < mirrored < 0.6


def test_scale_enlarges() -> None:
    for scale in (0.7, 1.5):
        widths = width_of_light(random_view(blob(96, sigma=0.06), 96, AugmentConfig(scale=(scale, scale), stretch=0)))
        torch.testing.assert_close(widths, torch.full((16, 2), 0.06 * scale), rtol=0.03, atol=0)


def test_shift_and_stretch_stay_within_their_bounds() -> None:
    torch.manual_seed(0)
    moved = random_view(blob(64, batch=200), 64, AugmentConfig(scale=(1, 1), shift=0.2, stretch=0))
    reach = centre_of_light(moved).norm(dim=1).max()
    assert 0.11 < reach < 0.1 * 2**0.5 + 2e-3  # the grid runs from -1 to 1: a shift of 0.2 is a tenth of the side
    config = AugmentConfig(scale=(1, 1), shift=0, stretch=0.2)
    widths = width_of_light(random_view(blob(96, sigma=0.06, batch=200), 96, config)) / 0.06
    assert math.exp(-0.2) * 0.98 < widths.min() < widths.max() < math.exp(0.2) * 1.02
    assert widths.max() > 1.1


def test_beyond_the_frame_is_the_sky_of_each_band() -> None:
    far = random_view(blob(40), 40, AugmentConfig(scale=(0.3, 0.3)))
    corners = torch.stack([far[..., 0, 0], far[..., 0, -1], far[..., -1, 0], far[..., -1, -1]])
    torch.testing.assert_close(corners, torch.tensor([0.1, 0.2, 0.3]).expand(4, 16, 3), atol=2e-3, rtol=0)


def test_sky_is_the_median_of_the_rim() -> None:
    x = torch.full((1, 2, 5, 5), 0.25)
    x[:, 1] = 0.5
    x[:, :, 0, :2] = 1  # a star on the rim
    x[:, :, 1:4, 1:4] = 0.9
    assert sky_level(x).flatten().tolist() == [0.25, 0.5]


def test_no_strength_no_change() -> None:
    x = blob(32)
    torch.testing.assert_close(photometric(x, UNTOUCHED), x)


@pytest.mark.parametrize("low, high", [(0.0, 1.0), (-0.5, 2.0)])
def test_pixels_stay_in_range(low: float, high: float) -> None:
    torch.manual_seed(0)
    config = AugmentConfig(photometric=1.0, noise=0.5, erase=1)
    x = photometric(torch.empty(32, 3, 16, 16).uniform_(low, high), config)
    assert x.isfinite().all() and x.min() >= 0 and x.max() <= 1


def test_grey_images_are_grey_with_their_noise() -> None:
    torch.manual_seed(0)
    x = photometric(torch.rand(64, 3, 8, 8), AugmentConfig(grey=1, noise=0.1))
    assert (x - x[:, :1]).abs().max() < 1e-6
    some = photometric(torch.rand(500, 3, 8, 8), AugmentConfig(grey=0.3, noise=0, erase=0))
    share = ((some - some[:, :1]).abs().amax((1, 2, 3)) < 1e-6).float().mean()
    assert share == pytest.approx(0.3, abs=0.06)


def test_erasing_puts_a_fifth_of_the_side_at_the_sky() -> None:
    torch.manual_seed(0)
    x = torch.rand(200, 3, 20, 20)
    x[..., 0, :] = x[..., -1, :] = x[..., :, 0] = x[..., :, -1] = 0.5
    erased = photometric(x, AugmentConfig(photometric=0, grey=0, noise=0, erase=0.5))
    changed = ((erased - x).abs() > 2e-4).any(1)  # gamma needs a floor of 1e-4
    counts = changed.flatten(1).sum(1)
    assert counts.max() == 16 and (counts > 0).float().mean() == pytest.approx(0.5, abs=0.1)
    assert (erased - 0.5).abs().movedim(1, -1)[changed].max() < 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dtype_comes_from_the_input(dtype: torch.dtype) -> None:
    x = torch.rand(4, 3, 12, 12).to(dtype)
    view = random_view(x, 8, AugmentConfig())
    assert view.dtype == photometric(view, AugmentConfig()).dtype == dtype
    mixed, _ = mix(x, torch.eye(4), AugmentConfig(mix_probability=1))
    assert mixed.dtype == dtype


def test_the_input_is_left_alone() -> None:
    x, target = torch.rand(6, 3, 16, 16), torch.eye(6)
    before = x.clone()
    for _ in range(6):
        random_view(x, 16, AugmentConfig())
        photometric(x, AugmentConfig(erase=1))
        mix(x, target, AugmentConfig(mix_probability=1))
    assert torch.equal(x, before) and torch.equal(target, torch.eye(6))


def test_repeats_from_torchs_seed() -> None:
    def once() -> tuple[Tensor, Tensor]:
        torch.manual_seed(5)
        return mix(
            photometric(random_view(blob(24), 24, AugmentConfig()), AugmentConfig()), torch.eye(16), AugmentConfig()
        )

    first, again = once(), once()
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])


@pytest.mark.parametrize("seed", range(12))
def test_targets_are_mixed_as_the_pixels_are(seed: int) -> None:
    """Every image is one colour, its own number: what share of it is left can be read off the pixels."""
    torch.manual_seed(seed)
    x = torch.eye(8)[:, :, None, None].expand(8, 8, 16, 16)
    mixed, target = mix(x, torch.eye(8), AugmentConfig(mix_probability=1))
    torch.testing.assert_close(mixed.mean((2, 3)), target)
    torch.testing.assert_close(target.sum(1), torch.ones(8))
    assert target.min() >= 0 and (target > 0).sum(1).max() <= 2


def test_mixup_and_cutmix_each_come_half_of_the_time() -> None:
    torch.manual_seed(0)
    x = torch.eye(2)[:, :, None, None].expand(2, 2, 8, 8)
    kinds = [mix(x, torch.eye(2), AugmentConfig(mix_probability=1))[0] for _ in range(200)]
    blended = sum(bool(((mixed > 0) & (mixed < 1)).any()) for mixed in kinds)
    # Of two images, half of the permutations leave each where it is, and then nothing is blended.
    assert 30 < blended < 70


def test_unknown_targets_stay_unknown() -> None:
    x = torch.rand(4, 3, 8, 8)
    target = torch.tensor([[1.0, torch.nan], [0, 1], [1, torch.nan], [0, 0]])
    for _ in range(10):
        _, mixed = mix(x, target, AugmentConfig(mix_probability=1))
        assert mixed[target.isnan()].isnan().all()
        assert not mixed[:, 0].isnan().any()


def test_without_mixing_nothing_is_mixed() -> None:
    x, target = torch.rand(4, 3, 8, 8), torch.eye(4)
    assert mix(x, target, AugmentConfig(mix_probability=0)) == (x, target)


def test_another_seed_draws_otherwise_and_every_image_for_itself() -> None:
    x = blob(24, x=0.1)
    for augment in (lambda: random_view(x, 24, AugmentConfig()), lambda: photometric(x, AugmentConfig(erase=0))):
        torch.manual_seed(5)
        one = augment()
        torch.manual_seed(6)
        other = augment()
        assert all(not torch.equal(a, b) for a, b in zip(one, other, strict=True))
        assert all(not torch.equal(one[0], rest) for rest in one[1:])


def test_everything_is_drawn_where_the_images_are() -> None:
    """The meta device has shapes and no values: a tensor made elsewhere does not mix with it."""
    x = torch.empty(4, 3, 20, 20, device="meta")
    assert random_view(x, 16, AugmentConfig()).is_meta and photometric(x, AugmentConfig()).is_meta
