"""What the model sees of a photograph: its colours, squashed without aliasing."""

import numpy as np
import torch

from attn.apps.reid.preprocess import Preprocessing, to_unit


def test_rows_and_columns_stay_what_they_are() -> None:
    picture = np.zeros((60, 30, 3), np.uint8)
    picture[:30] = (250, 0, 0)
    picture[:, 15:, 2] = 200
    x = Preprocessing(size=(12, 8)).pixels(picture)
    assert x.shape == (3, 12, 8) and x.dtype == torch.uint8
    assert x[:, 1, 1].tolist() == [250, 0, 0] and x[:, -2, -2].tolist() == [0, 0, 200]


def test_fine_stripes_become_grey() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[::2] = 200
    x = Preprocessing(size=(8, 8)).pixels(picture).float()
    assert (x - 100).abs().max() < 8


def test_a_picture_of_the_size_is_as_it_is() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    x = Preprocessing(size=(16, 24)).pixels(picture)
    assert np.array_equal(x.permute(1, 2, 0).numpy(), picture)
    torch.testing.assert_close(to_unit(x), torch.from_numpy(picture).permute(2, 0, 1) / 255)
