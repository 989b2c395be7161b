"""Views are what their map says: a closed form for each part of it."""

import math

import pytest
import torch

from attn.core.training.views import random_theta, theta, view

STILL = {"aspect": (1.0, 1.0), "zoom": (1.0, 1.0), "rotation": 0.0, "shift": 0.0}


def drawn(**changes: object) -> torch.Tensor:
    torch.manual_seed(0)
    return random_theta(torch.zeros(500, 1, 4, 4), **{**STILL, **changes})


def test_without_strength_a_view_is_the_image() -> None:
    x_bchw = torch.rand(500, 1, 4, 4)
    torch.testing.assert_close(view(x_bchw, drawn(), (4, 4)), x_bchw)


def test_the_map_turns_zooms_stretches_and_shifts_within_its_ranges() -> None:
    turned = drawn(rotation=10.0)[:, :, :2]
    torch.testing.assert_close(turned @ turned.mT, torch.eye(2).expand(500, 2, 2))
    angle = torch.atan2(turned[:, 1, 0], turned[:, 0, 0]) * 180 / math.pi
    assert 9 < angle.max() <= 10.001 and -10.001 <= angle.min() < -9
    zoomed = drawn(zoom=(0.5, 2.0))
    assert 0.5 <= zoomed[:, 0, 0].min() < 0.55 and 1.8 < zoomed[:, 0, 0].max() <= 2.0
    torch.testing.assert_close(zoomed[:, 0, 0], zoomed[:, 1, 1])
    stretched = drawn(aspect=(0.5, 2.0), rotation=30.0)
    torch.testing.assert_close(torch.linalg.det(stretched[:, :, :2]), torch.ones(500))
    shifted = drawn(shift=0.3)[:, :, 2]
    assert 0.28 < shifted.abs().max() <= 0.3


@pytest.mark.parametrize(("beyond", "expected"), [("zeros", [0.0, 1.0, 2.0]), ("reflection", [1.0, 1.0, 2.0])])
def test_what_lies_beyond_the_rim(beyond: str, expected: list[float]) -> None:
    """One pixel of three to the left is two thirds of half the side."""
    one, none = torch.ones(1), torch.zeros(1)
    left = theta((one, none), (none, one), torch.tensor([[-2 / 3, 0.0]]))
    x_bchw = torch.tensor([1.0, 2.0, 3.0]).expand(1, 1, 3, 3)
    assert view(x_bchw, left, (3, 3), beyond)[0, 0, 1].tolist() == pytest.approx(expected)
