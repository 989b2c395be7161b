"""How pieces are written down: clocks of grids, bars, and what is new beside what was given."""

import numpy as np
import pytest
from music_fixtures import chorale_grid

from attn.apps.music.notation import GridNotation, PianoNotation
from attn.apps.music.styles import Chorale, Piano
from attn.data_adapters.midi.metre import Metre
from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.tempo import TempoMap
from attn.data_adapters.midi.writer import Part

SECOND = TempoMap.of_bpm(60)  # a quarter is a second


def test_the_clock_of_a_grid_knows_the_rests_and_the_tempo():
    how = GridNotation(TempoMap.of([(0, 1_000_000), (4, 500_000)], 1), lead=4, steps=8, rest=4)
    assert [how.clock(step) for step in (0, 4, 8, 12)] == [1.0, 2.0, 4.0, 4.5]
    assert how.until == 4.0


@pytest.mark.parametrize(
    ("seconds", "bars", "steps"), [(None, None, 3 * 12 + 4), (None, 1, 12 + 4), (2.0, None, 8), (0.01, None, 1)]
)
def test_bars_are_whole_and_seconds_are_rounded_to_sixteenths(seconds, bars, steps):
    how = GridNotation(SECOND, Metre(((0.0, 3, 4),)), steps=8)
    assert how.length(seconds, bars, 3) == steps
    piano = PianoNotation(SECOND, Metre(((0.0, 3, 4),)), until=2.0)
    assert piano.length(seconds, bars, 10.0) == pytest.approx(10.0 if steps == 40 else seconds or steps / 4)


def test_a_rest_after_the_motif_cuts_a_held_note():
    how = GridNotation(SECOND, steps=4, rest=2)
    parts = how.heard(Chorale(), Chorale().encode(np.repeat(chorale_grid(0, bars=1)[:1], 8, axis=0)))
    for notes in parts.values():
        assert notes.start.tolist() == [0.0, 1.5] and notes.end.tolist() == [1.0, 2.5]


def test_a_bar_has_one_length_only_where_all_are_equal():
    assert GridNotation(SECOND, Metre(((0.0, 3, 4),))).bar_seconds() == 3.0
    assert GridNotation(SECOND, Metre(((0.0, 1, 4), (1.0, 4, 4)))).bar_seconds() is None
    assert GridNotation(TempoMap.of([(0, 500_000), (5, 400_000)], 1)).bar_seconds() is None


def test_new_notes_join_the_track_that_was_given():
    given = Notes.of([0.5], [1.0], [60], [77])
    how = PianoNotation(SECOND, start=0.5, until=1.0, given=(Part("Lead", given, np.array([[0.0, 1.0]]), 4),))
    ids = Piano().encode(Notes.of([0.0, 0.5], [0.5, 0.9], [60, 64], [77, 50]))
    (part,) = how.written(how.heard(Piano(), ids))
    assert (part.name, part.program, part.pedal.tolist()) == ("Lead", 4, [[0.0, 1.0]])
    assert part.notes.pitch.tolist() == [60, 64] and part.notes.start.tolist() == [0.5, 1.0]
    assert part.notes.velocity[0] == 77  # as it was, not as the events say it
