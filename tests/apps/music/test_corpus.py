"""Crops: where they begin, in what key, and padded; windows: every token once."""

import numpy as np
import pytest
import torch
from music_fixtures import chorale_grid, chorale_pieces, performance, piano_pieces

from attn.apps.music.corpus import CropData, Crops, Piece, cut_windows
from attn.apps.music.model import PAD
from attn.apps.music.styles import EDGE, Chorale, Piano
from attn.core.errors import UsageError

BAR = 64  # tokens: 16 steps of 4 voices


def place_of(crop: np.ndarray, row: np.ndarray) -> list[int]:
    """Where the crop is found in a piece, padding aside."""
    known = crop[crop != PAD]
    return [k for k in range(len(row) - len(known) + 1) if (row[k : k + len(known)] == known).all()]


def test_grids_are_cut_at_bar_lines_all_of_them():
    piece = Piece("a", (np.random.default_rng(0).integers(3, 60, 6 * BAR).astype(np.int16),))
    crops = Crops([piece], Chorale(), 2 * BAR, semitones=0)
    torch.manual_seed(0)
    row = piece.with_edges(end=False)
    places = set()
    for crop in crops.cut(torch.zeros(200, dtype=torch.long)).numpy():
        (place,) = place_of(crop, row)
        places.add(place)
    assert places == {0, BAR, 2 * BAR, 3 * BAR, 4 * BAR}


def test_the_last_steps_of_a_grid_are_cut_too_when_no_bar_ends_there():
    length = 5 * BAR + 20
    piece = Piece("a", (np.random.default_rng(0).integers(3, 60, length).astype(np.int16),))
    crops = Crops([piece], Chorale(), 2 * BAR, semitones=0)
    torch.manual_seed(0)
    cut = crops.cut(torch.zeros(200, dtype=torch.long)).numpy()
    row = piece.with_edges(end=False)
    assert {place_of(crop, row)[0] for crop in cut} == {0, BAR, 2 * BAR, 3 * BAR, 4 * BAR}
    last = next(crop for crop in cut if place_of(crop, row) == [4 * BAR])
    assert last[BAR + 20] == row[-1] and (last[BAR + 21 :] == PAD).all()


def test_performances_are_cut_anywhere_from_the_first_event_to_the_end():
    (piece,) = piano_pieces(1)
    row = piece.with_edges(end=True)
    length = len(row) - 5
    crops = Crops([piece], Piano(), length, semitones=0)
    torch.manual_seed(0)
    cut = crops.cut(torch.zeros(100, dtype=torch.long)).numpy()
    assert {place_of(crop, row)[0] for crop in cut} == {0, 1, 2, 3, 4}
    assert {crop[-1] for crop in cut} >= {EDGE} and {crop[0] for crop in cut} >= {EDGE}


def test_transpositions_reach_every_key_and_stay_in_the_vocabulary():
    style = Chorale(low=36, high=81)
    grid = chorale_grid(0)
    grid[0, 0], grid[1, 3] = 80, 38  # one up, two down
    piece = Piece("a", (style.encode(grid).astype(np.int16),))
    assert style.span(piece.ids[0]) == (-2, 1)
    crops = Crops([piece], style, len(piece.ids[0]), semitones=6)
    torch.manual_seed(0)
    moved = {int(crop[1] - piece.ids[0][0]) for crop in crops.cut(torch.zeros(100, dtype=torch.long))}
    assert moved == {-2, -1, 0, 1}


def test_a_transposed_performance_is_the_performance_transposed():
    style, notes = Piano(), performance(0)
    piece = Piece("a", (style.encode(notes).astype(np.int16),))
    crops = Crops([piece], style, len(piece.ids[0]) + 1, semitones=3)
    torch.manual_seed(1)
    keys = set()
    for crop in crops.cut(torch.zeros(60, dtype=torch.long)).numpy():
        found, own = style.notes(crop), style.notes(piece.ids[0])
        (semitones,) = set((found.pitch - own.pitch).tolist())
        np.testing.assert_array_equal(found.start, own.start)
        np.testing.assert_array_equal(found.velocity, own.velocity)
        keys.add(semitones)
    assert keys == set(range(-3, 4))


def test_silence_padding_and_edges_stay_where_they_are():
    style = Chorale()
    ids = torch.tensor([[EDGE, style.silence, 20, 30, PAD, PAD]])
    np.testing.assert_array_equal(style.transpose(ids, torch.tensor([2])), [[EDGE, style.silence, 22, 32, PAD, PAD]])


def test_a_crop_longer_than_the_piece_is_padded_and_never_runs_into_the_next():
    pieces = chorale_pieces(3, bars=1)
    crops = Crops(pieces, Chorale(), 100, semitones=0)
    for number, crop in enumerate(crops.cut(torch.arange(3)).numpy()):
        np.testing.assert_array_equal(crop[: BAR + 1], pieces[number].with_edges(end=False))
        assert (crop[BAR + 1 :] == PAD).all() and len(crop) == 101


def test_the_same_random_numbers_cut_the_same_crops_and_others_do_not():
    crops = Crops(piano_pieces(3), Piano(), 64, semitones=3)
    numbers = torch.arange(3).repeat(4)
    cut = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        cut.append(crops.cut(numbers))
    assert torch.equal(cut[0], cut[1]) and not torch.equal(cut[0], cut[2])


def test_every_tempo_of_a_piece_is_cut():
    slow, fast = (Piano().encode(performance(0).stretched(tempo)).astype(np.int16) for tempo in (2.0, 1.0))
    crops = Crops([Piece("a", (fast, slow))], Piano(), 32, semitones=0)
    torch.manual_seed(0)
    rows = [Piece("a", (ids,)).with_edges(end=True) for ids in (fast, slow)]
    found = [
        [bool(place_of(crop, row)) for row in rows] for crop in crops.cut(torch.zeros(40, dtype=torch.long)).numpy()
    ]
    assert all(map(any, found)) and {tuple(one) for one in found} >= {(True, False), (False, True)}


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 127, 128, 129, 500])
@pytest.mark.parametrize(("length", "stride"), [(2, 1), (64, 64), (64, 32), (64, 1), (100, 30), (600, 300)])
def test_windows_score_every_token_once_with_enough_before_it(count, length, stride):
    ids = np.arange(count + 1)
    scored: list[int] = []
    for number, window in enumerate(cut_windows(ids, length, stride)):
        new = window.ids[1:][len(window.ids) - 1 - window.scored :]
        scored += new.tolist()
        assert len(window.ids) <= length + 1
        assert number == 0 or len(window.ids) - 1 - window.scored >= length - stride
        assert window.padded(length + 1)[: len(window.ids)].tolist() == window.ids.tolist()
    assert scored == list(range(1, count + 1))


@pytest.mark.parametrize(("length", "stride"), [(64, 64), (100, 50), (130, 65), (200, 100), (256, 128)])
def test_windows_of_grids_begin_at_bar_lines_whatever_the_length(length, stride):
    ids = np.arange(10 * BAR + 12 + 1)
    windows = cut_windows(ids, length, stride, cycle=BAR)
    assert all(window.ids[0] % BAR == 0 for window in windows)
    assert sum(window.scored for window in windows) == len(ids) - 1
    assert all(window.scored < len(window.ids) for window in windows)


def test_windows_shorter_than_a_bar_are_refused():
    with pytest.raises(UsageError, match="63 tokens is less than a bar, which has 64"):
        cut_windows(np.arange(200), 63, 32, cycle=BAR)


def test_batches_are_drawn_by_length_and_validation_is_the_same_every_time():
    style = Chorale()
    short, long = chorale_pieces(1, bars=1)[0], chorale_pieces(1, bars=30)[0]
    data = CropData([short, long], chorale_pieces(3, bars=5), style, 100, batch=2, seed=0)
    drawn = torch.cat([batch[0] for _ in range(20) for batch in data.train_dataloader()])
    assert (drawn == 1).float().mean() > 0.8
    windows = torch.cat([batch[0] for batch in data.val_dataloader()])
    assert torch.equal(windows, torch.cat([batch[0] for batch in data.val_dataloader()]))
    rows = [piece.with_edges(end=False) for piece in chorale_pieces(3, bars=5)]
    for window in windows.numpy():  # the phase of the bar is that of the place in the window
        assert any(place % BAR == 0 for row in rows for place in place_of(window, row))
