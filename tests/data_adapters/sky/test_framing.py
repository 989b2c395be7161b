"""How much of the frame a galaxy takes: drawn galaxies of known size, and what is no galaxy."""

import numpy as np
import pytest

from attn.data_adapters.sky.framing import (
    ISOPHOTE,
    MARGIN,
    SMALLEST,
    WORKING_SIDE,
    as_it_was,
    frame,
    galaxy_share,
    laid,
    lifted,
    orientation,
)

BLUR = (
    3.5 / WORKING_SIDE
)  # by how much a sharp edge spreads under the smoothing and the resizing, as a share of the side


def galaxy(side: int, radius: float, *, flattening: float = 1.0, noise: float = 2.0, seed: int = 0) -> np.ndarray:
    """A disc of one brightness, `radius` a share of the side, on noisy sky: (side, side, 3) uint8."""
    y, x = (np.indices((side, side)) + 0.5) / side - 0.5
    inside = np.hypot(x, y / flattening) < radius
    sky = np.random.default_rng(seed).normal(20, noise, (side, side, 3))
    return np.clip(sky + 180 * inside[:, :, None], 0, 255).astype(np.uint8)


@pytest.mark.parametrize("side", [64, 96, 300])
@pytest.mark.parametrize("radius", [0.1, 0.2, 0.3])
def test_share_is_the_galaxys_diameter_and_the_margin(side: int, radius: float) -> None:
    assert 2 * MARGIN * radius <= galaxy_share(galaxy(side, radius)) <= 2 * MARGIN * (radius + BLUR)


def test_share_of_a_flat_galaxy_is_that_of_its_long_axis() -> None:
    flat = galaxy(96, 0.3, flattening=0.3)
    assert 2 * MARGIN * 0.3 <= galaxy_share(flat) <= 2 * MARGIN * (0.3 + BLUR)
    assert galaxy_share(flat.transpose(1, 0, 2)) == pytest.approx(galaxy_share(flat), rel=0.03)


def test_a_galaxy_that_fills_the_frame_is_taken_whole() -> None:
    assert galaxy_share(galaxy(88, 0.45)) == 1.0


def test_a_very_small_one_is_not_blown_up_beyond_its_pixels() -> None:
    assert galaxy_share(galaxy(200, 0.02)) == SMALLEST


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_constant_picture_is_taken_whole(value: int) -> None:
    assert galaxy_share(np.full((50, 70, 3), value, np.uint8)) == 1.0


def test_noise_without_a_galaxy_is_taken_whole() -> None:
    noise = np.random.default_rng(1).normal(60, 3, (96, 96, 3)).astype(np.uint8)
    assert galaxy_share(noise) in (1.0, SMALLEST)


def test_a_star_off_the_centre_does_not_count() -> None:
    alone = galaxy(96, 0.15)
    beside = alone.copy()
    beside[8:14, 80:86] = 255
    assert galaxy_share(beside) == pytest.approx(galaxy_share(alone), rel=0.05)


def test_faint_outskirts_below_the_isophote_do_not_count() -> None:
    y, x = (np.indices((96, 96)) + 0.5) / 96 - 0.5
    scale = 0.05
    profile = np.repeat((10 + 200 * np.exp(-np.hypot(x, y) / scale))[:, :, None], 3, axis=2).astype(np.uint8)
    at_peak, at_half_of_it = -scale * np.log([ISOPHOTE, ISOPHOTE / 2])  # smoothing lowers the peak
    assert 2 * MARGIN * at_peak < galaxy_share(profile) < 2 * MARGIN * at_half_of_it


def test_the_frame_is_the_centre_in_its_proportions() -> None:
    picture = np.zeros((40, 100, 3), np.uint8)
    picture[:, 30:70] = (50, 100, 150)
    assert (frame(picture, 16)[:, 1:-1] == (50, 100, 150)).all()  # resampling looks a pixel beyond
    assert (frame(picture, 40) == picture[:, 30:70]).all()
    half = frame(picture, 20, 0.5)
    assert half.shape == (20, 20, 3) and (half == picture[10:30, 40:60]).all()


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 500, 3), (7, 3, 3)])
def test_any_shape_is_framed(shape: tuple[int, ...]) -> None:
    pixels = np.full(shape, 77, np.uint8)
    assert 0 < galaxy_share(pixels) <= 1
    assert (frame(pixels, 32, galaxy_share(pixels)) == 77).all()


@pytest.mark.parametrize("side", [20, 15])
def test_the_frame_is_a_copy(side: int) -> None:
    pixels = np.zeros((20, 20, 3), np.uint8)
    frame(pixels, side)[:] = 9
    assert not pixels.any()


def spiral(side: int, seed: int = 0) -> np.ndarray:
    """An inclined disc with one arm and noise: no two of its turns and mirror images are alike."""
    y, x = np.indices((side, side)) - (side - 1) / 2
    light = 150 * np.exp(-np.hypot(x, 1.6 * y) / (0.12 * side))
    light += 60 * np.exp(-np.hypot(x - 0.15 * side, y - 0.1 * side) / (0.05 * side))
    sky = np.random.default_rng(seed).normal(20, 2, (side, side, 3))
    return np.clip(sky + light[:, :, None], 0, 255).astype(np.uint8)


def eight(x: np.ndarray) -> list[np.ndarray]:
    return [np.rot90(y, quarter).copy() for y in (x, x[:, ::-1]) for quarter in range(4)]


@pytest.mark.parametrize("side", [61, 88, 130])
def test_a_turned_picture_has_the_turned_frame(side: int) -> None:
    views = eight(spiral(side))
    shares = [galaxy_share(view) for view in views]
    assert np.ptp(shares) < 0.005
    for share in (1.0, 0.71):
        for view, turned in zip(views, eight(frame(views[0], 32, share)), strict=True):
            assert np.abs(frame(view, 32, share).astype(int) - turned).max() <= 1


@pytest.mark.parametrize("seed", range(4))
def test_all_turns_and_mirror_images_are_laid_alike(seed: int) -> None:
    views = eight(spiral(64, seed))
    first = laid(views[0], orientation(views[0]))
    for view in views:
        how = orientation(view)
        assert np.array_equal(laid(view, how), first) and np.array_equal(as_it_was(first, how), view)
    assert orientation(first) == (False, False, False)
    edge_on = np.full((40, 40, 3), 9, np.uint8)
    edge_on[5:30, 18:23] = 90
    level = laid(edge_on, orientation(edge_on))
    assert (level.max((1, 2)) > 50).sum() == 5 and (level.max((0, 2)) > 50).sum() == 25


def test_shrinking_is_antialiased() -> None:
    board = (np.indices((90, 90)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    inner = frame(board, 30)[2:-2, 2:-2].astype(float)
    assert abs(inner - 127.5).max() < 40


@pytest.mark.parametrize("gamma", [1.2, 1.5])
def test_a_gamma_is_undone_where_the_sky_is_grey(gamma: float) -> None:
    x = galaxy(60, 0.25, noise=4.0)
    darker = np.rint(255 * (x / 255) ** gamma).astype(np.uint8)
    again = lifted(darker, 20.0).astype(int)
    assert np.abs(darker[30, 30].astype(int) - x[30, 30]).max() > 9
    assert np.abs(again - x)[20:40, 20:40].max() <= 3 and np.median(np.abs(again - x)) <= 2
    assert lifted(x, 19.0) is x and lifted(x, 0.0) is x


@pytest.mark.parametrize("darker", [12, 14])
def test_levels_are_added_where_the_sky_is_black(darker: int) -> None:
    x = galaxy(60, 0.25, noise=4.0)
    cut = np.maximum(x.astype(int) - 16 - darker // 4, 0).astype(np.uint8)
    sky = np.median(np.concatenate([cut[:4].reshape(-1, 3), cut[-4:].reshape(-1, 3)]), axis=0).mean()
    again = lifted(cut, float(darker))
    assert set(np.unique(again.astype(int) - cut)) <= {int(darker - sky), int(darker - sky) + 1}


def test_what_is_lifted_stays_in_range() -> None:
    x = np.zeros((20, 20, 3), np.uint8)
    x[8:12, 8:12] = 250
    y = lifted(x, 14.0)
    assert y.dtype == np.uint8 and y.max() == 255 and y[0, 0].tolist() == [14, 14, 14]
