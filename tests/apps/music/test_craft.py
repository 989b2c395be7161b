"""What is counted in pieces, on pieces whose count is known."""

import numpy as np
import pytest

from attn.apps.music.craft import closes, crowded, off_key, parallels, rate, returning, still_bars
from attn.apps.music.key import Key
from attn.data_adapters.midi.notes import Notes

C = Key(0, True)


def scale(pitches: list[int], length: float = 1.0) -> Notes:
    start = length * np.arange(len(pitches))
    return Notes.of(start, start + length, pitches, [80] * len(pitches))


def test_rate_key_and_figures():
    notes = scale([60, 62, 64, 65, 66])
    assert rate(notes, 2.0) == 2.5 and off_key(notes, C) == pytest.approx(0.2)
    assert returning(notes, scale([67, 69, 71, 72, 73])) == 1.0 and returning(notes, scale([60, 61, 62, 63, 64])) == 0


def test_the_time_with_many_keys():
    notes = Notes.of([0.0, 1.0, 2.0], [4.0, 3.0, 3.0], [60, 64, 67], [80] * 3)
    assert crowded(notes, 0.0, 4.0, keys=3) == pytest.approx(0.25)
    assert crowded(notes, 0.0, 4.0, keys=1) == 1.0 and crowded(Notes.none(), 0.0, 1.0) == 0.0


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[72, 65], [74, 67]], (1, 0)),
        ([[72, 60], [74, 62]], (0, 1)),
        ([[72, 65], [72, 65]], (0, 0)),  # nobody moves
        ([[72, 65], [74, 65]], (0, 0)),
        ([[72, 68], [74, 70]], (0, 0)),  # thirds
        ([[72, -1], [74, 67]], (0, 0)),
        ([[79, 65], [81, 62]], (0, 0)),
    ],
)
def test_parallels_are_two_voices_that_move_alike(rows, expected):
    assert parallels(np.array(rows)) == expected


def test_bars_without_change():
    grid = np.repeat([[72, 67, 64, 48]], 32, axis=0)
    grid[20:] += 1
    assert still_bars(grid) == 0.5 and np.isnan(still_bars(grid[:10]))


def test_a_piece_closes_with_five_and_one():
    five, one, six = [74, 67, 59, 55], [72, 67, 64, 48], [72, 69, 64, 57]
    assert closes(np.repeat([five, one], 4, axis=0), C)
    assert not closes(np.repeat([five, six], 4, axis=0), C)
    assert not closes(np.repeat([six, one], 4, axis=0), C)
    assert not closes(np.repeat([one], 4, axis=0), C)


@pytest.mark.parametrize("third", [63, 64])
def test_a_piece_in_minor_closes_in_minor_or_in_major(third):
    five, one = [74, 67, 59, 55], [72, 67, third, 48]
    assert closes(np.repeat([five, one], 4, axis=0), Key(0, False))
    assert closes(np.repeat([five, one], 4, axis=0), C) == (third == 64)
