"""Likelihood against sums written out, whatever the padding and the windows."""

import math

import numpy as np
import pytest
import torch
from music_fixtures import chorale_pieces, piano_pieces, tiny_model
from tolerances import assert_close

from attn.apps.music.corpus import CropData, Crops, Piece
from attn.apps.music.likelihood import Surprise, melody_of, rates, surprise, token_nll
from attn.apps.music.model import PAD
from attn.apps.music.styles import EDGE, Chorale, Piano
from attn.apps.music.train import MusicModule, Recipe

CHORALE = Chorale()
ACCOMPANY = {"source_vocabulary": CHORALE.size}


def log_p(model, ids, source=None) -> np.ndarray:
    """log p of ids[1:], each from a run of the network on what is before it."""
    found = []
    with torch.inference_mode():
        for place in range(1, len(ids)):
            logits = model(torch.tensor([ids[:place]]), source)[0, -1].double()
            found.append(float(logits[ids[place]] - torch.logsumexp(logits, 0)))
    return np.array(found)


def test_a_piece_that_fits_is_the_sum_over_its_tokens():
    (piece,) = piano_pieces(1)
    piece = Piece("a", (piece.ids[0][:40],))
    model = tiny_model(Piano())
    (found,) = surprise(model, Piano(), [piece], length=100, stride=50)
    ids = [EDGE, *piece.ids[0].tolist(), EDGE]  # a performance ends, and that is predicted too
    assert found.nll == pytest.approx(-log_p(model, ids).sum(), rel=1e-5)
    notes = Piano().notes(piece.ids[0])
    assert (found.tokens, found.notes, found.seconds) == (41, len(notes), notes.seconds)


@pytest.mark.parametrize(("length", "stride"), [(128, 64), (128, 128), (100, 50), (64, 64)])
def test_a_long_grid_is_scored_in_windows_that_begin_at_bar_lines(length, stride):
    (piece,) = chorale_pieces(1, bars=4)
    ids = piece.with_edges(end=False).astype(int)
    model = tiny_model(CHORALE)
    (found,) = surprise(model, CHORALE, [piece], length=length, stride=stride)
    whole = max(stride // 64, 1) * 64
    expected, done = 0.0, 0
    for first in range(0, len(ids), whole):
        window = ids[first : first + length + 1]
        end = first + len(window) - 1
        if end > done:
            with torch.inference_mode():
                log_lv = model(torch.from_numpy(window[None, :-1])).log_softmax(-1)[0].double()
            expected -= float(log_lv[range(len(window) - 1), window[1:]][done - end :].sum())
            done = end
    assert found.nll == pytest.approx(expected, rel=1e-6) and found.tokens == len(ids) - 1


def test_a_model_that_accompanies_is_scored_on_the_voices_it_adds():
    piece = Piece("a", (chorale_pieces(1)[0].ids[0][:64],))
    model = tiny_model(CHORALE, **ACCOMPANY)
    (found,) = surprise(model, CHORALE, [piece], length=64, stride=64)
    grid = piece.ids[0].reshape(-1, 4).astype(int)
    all_tv = log_p(model, [EDGE, *grid.reshape(-1)], torch.from_numpy(grid[None, :, 0])).reshape(-1, 4)
    assert found.nll == pytest.approx(-all_tv[:, 1:].sum(), rel=1e-5)
    assert found.tokens == 3 * 16


def test_the_melody_is_the_first_voice_of_every_step():
    ids = torch.tensor([[EDGE, *range(10, 22)]])
    assert melody_of(ids, 4).tolist() == [[10, 14, 18]]


@pytest.mark.parametrize("changes", [{}, ACCOMPANY], ids=["decoder", "accompany"])
def test_the_loss_does_not_hear_padding(changes):
    pieces = chorale_pieces(3, bars=1)
    module = MusicModule(tiny_model(CHORALE, **changes), Crops(pieces, CHORALE, 64, 0), Recipe())
    rows = torch.from_numpy(np.stack([piece.with_edges(end=False) for piece in pieces]).astype(np.int64))
    padded = torch.cat([rows, torch.full_like(rows, PAD)], 1)
    twice = torch.cat([padded, torch.full_like(padded, PAD)], 1)
    with torch.inference_mode():
        plain = module._loss(rows)
        assert_close(module._loss(padded), plain)
        assert_close(module._loss(twice), plain)
    results = surprise(module.model, CHORALE, pieces, length=64, stride=64)
    assert float(plain) == pytest.approx(rates(results)["nll_per_token"], rel=1e-5)


def test_validation_of_an_accompaniment_hears_all_of_every_crop():
    pieces = [*chorale_pieces(1, bars=1), *chorale_pieces(1, bars=4)]  # a batch of a short and a long crop
    model = tiny_model(CHORALE, **ACCOMPANY)
    module = MusicModule(model, Crops(pieces, CHORALE, 256, 0), Recipe())
    data = CropData(pieces, pieces, CHORALE, 256, batch=8, seed=0)
    logged: list[tuple[float, int]] = []
    module.log = lambda _, value, batch_size, **__: logged.append((float(value), batch_size))  # what is averaged
    with torch.inference_mode():
        for batch in data.val_dataloader():
            module.validation_step(batch, 0)
    total, tokens = sum(v * n for v, n in logged), sum(n for _, n in logged)
    expected = rates(surprise(model, CHORALE, pieces, length=256, stride=256))["nll_per_token"]
    assert total / tokens == pytest.approx(expected, rel=1e-5)


def test_padding_has_no_loss_and_a_uniform_model_the_logarithm_of_its_choices():
    logits, targets = torch.zeros(1, 3, 8), torch.tensor([[5, PAD, 7]])
    np.testing.assert_allclose(token_nll(logits, targets), [[math.log(8), 0, math.log(8)]], rtol=1e-6)


def test_rates_are_over_all_pieces_together():
    rows = [Surprise("a", 10.0, 4, 2, 1.0), Surprise("b", 2.0, 8, 1, 3.0)]
    assert rates(rows) == {"nll_per_token": 1.0, "nll_per_note": 4.0, "nll_per_second": 3.0}
    assert all(math.isnan(value) for value in rates([]).values())
