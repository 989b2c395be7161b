"""The newest inputs of a convolution: piece by piece they are those of the whole."""

import torch
from torch.nn import functional as F

from attn.core.decoding.tails import Tails


def test_pieces_of_any_length_see_what_came_before():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 20)
    whole = F.pad(x, (5, 0))
    tails, first = Tails(), 0
    for length in (1, 1, 7, 2, 4, 5):
        piece = tails.before("a", x[..., first : first + length], 5)
        assert torch.equal(piece, whole[..., first : first + length + 5])
        first += length


def test_names_are_apart_and_what_is_kept_is_a_copy():
    tails, x = Tails(), torch.ones(1, 1, 4)
    tails.before("a", x, 2)
    x.zero_()
    assert tails.before("a", torch.zeros(1, 1, 1), 2).tolist() == [[[1, 1, 0]]]
    assert tails.before("b", torch.ones(1, 1, 1), 2).tolist() == [[[0, 0, 1]]]


def test_no_inputs_before():
    tails = Tails()
    for _ in range(2):
        assert tails.before("a", torch.ones(1, 1, 2), 0).tolist() == [[[1, 1]]]
