"""Which part of a file is a line, and which one the melody."""

import numpy as np
import pytest

from attn.core.errors import UsageError
from attn.data_adapters.midi.file import read_midi
from attn.data_adapters.midi.lines import chosen, melody_of, players
from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.writer import write_midi

TUNE = [72, 74, 76, 77, 79, 77, 76, 74, 72, 71, 72]


def line(pitches, *, length=0.5, overlap=0.0):
    start = length * np.arange(len(pitches))
    return Notes.of(start, start + length + overlap, pitches, [80] * len(pitches))


def chords(*pitches, times=6, length=1.0):
    start = np.repeat(length * np.arange(times), len(pitches))
    return Notes.of(start, start + length, np.tile(pitches, times), [80] * len(start))


def parts_of(tmp_path, tracks):
    write_midi(tmp_path / "x.mid", tracks)
    return players(read_midi(tmp_path / "x.mid"))


@pytest.mark.parametrize(
    ("notes", "single"),
    [
        (line(TUNE), True),
        (line(TUNE, overlap=0.2), True),  # legato
        (line(TUNE, overlap=0.6), False),  # more than half of the next note
        (chords(60, 64, 67), False),
        (line(TUNE).joined(chords(48, 52, 55)), False),
        (line([60, 60, 60]), True),
    ],
)
def test_a_legato_is_one_line_and_chords_are_not(tmp_path, notes, single):
    (part,) = parts_of(tmp_path, {"": notes})
    assert (part.line is not None) == single
    if single:
        assert (part.line <= np.append(part.beats.start[1:], np.inf)).all() and len(part.highest().notes) == len(notes)


def test_the_highest_line_of_chords_is_theirs_note_for_note(tmp_path):
    tune = line(TUNE, overlap=0.05)
    (part,) = parts_of(tmp_path, {"": tune.joined(chords(48, 52, 55))})
    assert part.highest().notes.pitch.tolist() == TUNE
    (pad,) = parts_of(tmp_path, {"": line(TUNE).joined(chords(84, times=2, length=3.0))})
    assert pad.highest().notes.pitch.tolist() == [84, 84]  # nothing under a note that sounds is the top


@pytest.mark.parametrize(
    ("tracks", "found"),
    [
        ({"a": chords(60, 64, 67), "b": line(TUNE), "c": chords(84, 88, 91, times=2, length=4.0)}, "b"),
        ({"Cello": line([p - 24 for p in TUNE]), "Flute": chords(76, 79, 84)}, "Cello"),
        ({"bass": line([p - 36 for p in TUNE]), "flute": line(TUNE)}, "flute"),
        ({"x": line(TUNE), "Lead vocal": line([p - 12 for p in TUNE])}, "Lead vocal"),
        ({"right": chords(60, 64).joined(line(TUNE)), "left": chords(36, 43)}, "right"),
    ],
)
def test_the_melody_moves_and_is_named(tmp_path, tracks, found):
    best, phrase = melody_of(parts_of(tmp_path, tracks))
    assert best.name == found and phrase.endswith(f"({found})")


def test_a_top_that_hardly_moves_is_said_and_one_part_is_no_choice(tmp_path):
    said = melody_of(parts_of(tmp_path, {"": chords(60, 64, 67).joined(line(TUNE[:2]))}))[1]
    assert said.endswith("hardly moves")  # of one track, no other could be named
    assert melody_of(parts_of(tmp_path, {"": line(TUNE)}))[1] == ""


def test_tracks_are_chosen_by_number_name_and_channel(tmp_path):
    write_midi(tmp_path / "x.mid", {"Lead": line(TUNE), "Pad": chords(60, 64)})
    midi = read_midi(tmp_path / "x.mid")
    assert [t.name for t in chosen(midi, "2").tracks] == [t.name for t in chosen(midi, "lea").tracks] == ["Lead"]
    assert [t.name for t in chosen(midi, None, 2).tracks] == ["Pad"]
    assert len(chosen(midi).tracks) == 2
    for track, channel, words in (("9", None, "no notes in track '9'"), (None, 5, "no notes on channel 5")):
        with pytest.raises(UsageError, match=words) as caught:
            chosen(midi, track, channel)
        assert "track 2 (Lead) on channel 1" in str(caught.value)
