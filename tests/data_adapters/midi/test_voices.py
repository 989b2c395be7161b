"""Four voices of a file: who sings what, what is given, and what the grid loses."""

import numpy as np
import pytest

from attn.core.errors import UsageError
from attn.data_adapters.midi.file import read_midi
from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.voices import notes_to_grid, read_voices
from attn.data_adapters.midi.writer import write_midi

QUARTER = 0.5


def line(pitches, *, beats=1.0, overlap=0.0, first=0.0):
    start = first + QUARTER * beats * np.arange(len(pitches))
    return Notes.of(start, start + QUARTER * (beats + overlap), pitches, [80] * len(pitches))


def read(tmp_path, tracks, voices=()):
    write_midi(tmp_path / "x.mid", tracks)
    return read_voices(read_midi(tmp_path / "x.mid"), voices)


def sung(found):
    return [voice for voice in range(4) if found.given[:, voice].any()]


@pytest.mark.parametrize(
    ("tracks", "voices", "expected"),
    [
        ({"": line([72, 74])}, (), [0]),
        ({"": line([72, 74])}, (3,), [3]),
        ({"a": line([72, 74]), "b": line([50, 48])}, (), [0, 3]),
        ({"a": line([72, 74]), "b": line([65, 64])}, (), [0, 1]),
        ({"a": line([72, 74]), "b": line([50, 48])}, (0, 1), [0, 1]),
        ({"Bass": line([72, 74]), "tenor": line([50, 48])}, (), [2, 3]),  # as they are called
        ({"a": line([50, 48]), "b": line([72, 74]), "c": line([55, 57])}, (), [0, 2, 3]),
    ],
)
def test_lines_stay_in_their_voices(tmp_path, tracks, voices, expected):
    found = read(tmp_path, tracks, voices)
    assert sung(found) == expected and found.lost == 0
    assert [len(notes) for notes in found.notes] == [2 if v in expected else 0 for v in range(4)]


def test_as_many_lines_as_voices_are_wanted(tmp_path):
    with pytest.raises(UsageError, match="2 lines are there for 1 voices"):
        read(tmp_path, {"a": line([72]), "b": line([60])}, (0,))


def test_repeats_and_legato_stay_notes_of_one_voice(tmp_path):
    found = read(tmp_path, {"": line([67, 67, 67, 69], overlap=0.3)})
    assert sung(found) == [0] and found.notes[0].pitch.tolist() == [67, 67, 67, 69]
    assert found.grid[:, 0].tolist() == [67] * 12 + [69] * 5


def test_a_lower_voice_of_slivers_is_to_be_written(tmp_path):
    chord = Notes.of([0.0], [QUARTER], [60], [80])
    found = read(tmp_path, {"": line([67, 69, 71, 72, 74]).joined(chord)})
    assert found.given[:4].tolist() == [[True, True, False, False]] * 4
    assert found.given[4:].tolist() == [[True, False, False, False]] * 16


def test_a_melody_leads_chords_that_lie_above_it(tmp_path):
    chords = Notes.of([0.0] * 3, [4 * QUARTER] * 3, [60, 64, 84], [80] * 3)
    found = read(tmp_path, {"tune": line([72, 74, 76, 77]), "pad": chords})
    assert found.grid[::4].tolist() == [[pitch, 64, 60, -1] for pitch in (72, 74, 76, 77)]
    assert found.lost == 1 and sum(map(len, found.notes)) == 7 and "track 2 (tune)" in found.said[0]


def test_rests_before_the_first_note_are_counted_and_kept(tmp_path):
    found = read(tmp_path, {"": line([67, 69], first=3 * QUARTER)})
    assert found.lead == 12 and found.grid[:, 0].tolist() == [67] * 4 + [69] * 4
    assert notes_to_grid(read_midi(tmp_path / "x.mid"))[:13, 0].tolist() == [-1] * 12 + [67]


@pytest.mark.parametrize(
    ("beats", "lost", "moved"),
    [(1 / 4, 0, 0), (1 / 8, 16, 16), (1 / 3, 0, 21), (1 / 16, 23, 24)],
)
def test_what_the_grid_loses_and_moves_is_counted(tmp_path, beats, lost, moved):
    found = read(tmp_path, {"": line(list(range(60, 76)) * 2, beats=beats)})
    assert (found.lost, found.moved) == (lost, moved)
