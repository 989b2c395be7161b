"""Images that are no frontal chests: what is made of chests, and forms."""

import numpy as np
import torch
from chest_fixtures import chest

from attn.apps.chest.negatives import CROP, SPOILED, form, part, turned


def batch(count: int = 3) -> torch.Tensor:
    return torch.from_numpy(np.stack([chest("normal", number) for number in range(count)]))[:, None] / 255


def test_spoiled_chests_keep_their_size_and_range() -> None:
    torch.manual_seed(0)
    for kind, make in SPOILED.items():
        made = make(batch())
        assert made.shape == batch().shape and made.dtype == torch.float32
        assert made.min() >= 0 and made.max() <= 1 and not torch.allclose(made, batch(), atol=0.1), kind
    np.testing.assert_array_equal(SPOILED["mirrored"](batch()).numpy(), batch().numpy()[..., ::-1])
    torch.testing.assert_close(SPOILED["inverted"](batch()) + batch(), torch.ones(3, 1, 64, 64))


def test_each_is_turned_by_one_to_three_quarters() -> None:
    torch.manual_seed(0)
    x = batch(1).expand(60, -1, -1, -1)
    quarters = [[torch.equal(one, torch.rot90(x[0], k, (1, 2))) for k in range(4)].index(True) for one in turned(x)]
    assert {*quarters} == {1, 2, 3}


def test_a_crop_is_a_part_of_the_picture_enlarged() -> None:
    """Of a picture that grows brighter to the right: the crop's first and last columns say where it is from."""
    torch.manual_seed(0)
    ramp = (torch.arange(64) + 0.5).expand(500, 1, 64, 64) / 64
    made = part(ramp)
    first, last = made[:, 0, 0, 0], made[:, 0, 0, -1]
    share = (last - first) * 64 / 63
    assert CROP[0] - 0.02 < share.min() < CROP[0] + 0.03 and CROP[1] - 0.03 < share.max() < CROP[1] + 0.02
    assert first.min() < 0.05 and last.max() > 0.95


def test_a_form_is_dark_marks_on_white() -> None:
    draw = np.random.default_rng(0)
    pages = [form(64, draw) for _ in range(3)]
    assert all(page.shape == (64, 64) and np.median(page) > 0.7 and page.std() > 0.01 for page in pages)
    assert not np.array_equal(pages[0], pages[1])
