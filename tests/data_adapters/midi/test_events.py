"""Events: round trips, an oracle that plays them one by one, and the layout of the vocabulary."""

from pathlib import Path

import numpy as np
import pytest
from midi_files import random_notes, rows

from attn.data_adapters.midi.events import BIN_WIDTH, END, PAD, EventVocabulary
from attn.data_adapters.midi.file import read_midi, with_sustain, without_overlaps
from attn.data_adapters.midi.notes import Notes

PIANO = EventVocabulary()
STEP = 0.01 + 1e-9


def assert_round_trip(notes: Notes, vocabulary: EventVocabulary) -> None:
    ids = vocabulary.encode(notes)
    again = vocabulary.decode(ids)
    assert len(again) == len(notes)
    one, other = (np.lexsort((n.start, n.pitch)) for n in (notes, again))
    assert (notes.pitch[one] == again.pitch[other]).all()
    assert (np.abs(notes.start[one] - again.start[other]) <= STEP).all()
    assert (np.abs(notes.end[one] - again.end[other]) <= STEP).all()
    assert ((notes.velocity[one] - 1) // BIN_WIDTH == (again.velocity[other] - 1) // BIN_WIDTH).all()
    assert (vocabulary.encode(again) == ids).all()


@pytest.mark.real_data
def test_a_sample_of_maestro_comes_back(data_dir: Path) -> None:
    for path in sorted((data_dir / "music" / "maestro").rglob("*.midi"))[::33]:
        assert_round_trip(with_sustain(read_midi(path)), PIANO)


@pytest.mark.slow
@pytest.mark.real_data
def test_all_of_maestro_comes_back(data_dir: Path) -> None:
    for path in sorted((data_dir / "music" / "maestro").rglob("*.midi")):
        assert_round_trip(with_sustain(read_midi(path)), PIANO)


@pytest.mark.parametrize("seed", range(10))
def test_random_notes_come_back(seed: int) -> None:
    notes = without_overlaps(random_notes(seed, count=60))
    gaps = [np.diff(notes.start[notes.pitch == pitch]) for pitch in range(128)]
    if min(gap.min(initial=1) for gap in gaps) > 0.02:  # two strikes of a pitch in one step cannot both come back
        assert_round_trip(notes, EventVocabulary(0, 127))


def test_the_vocabularies_have_the_sizes_of_the_paper_and_its_code() -> None:
    assert len(EventVocabulary(0, 127)) == 388 + 2
    assert len(PIANO) == 310
    kinds = (PIANO.note_on, PIANO.note_off, PIANO.time_shift, PIANO.velocity)
    assert [PAD, END, *(event for kind in kinds for event in kind)] == list(range(310))
    assert len({PIANO.name(event) for event in range(310)}) == 310


def test_the_events_of_a_small_piece() -> None:
    notes = Notes.of([0.5, 0.5, 3.0], [3.0, 1.0, 3.004], [60, 64, 60], [64, 64, 127])
    assert [PIANO.name(event) for event in PIANO.encode(notes).tolist()] == [
        *("time_shift 500 ms", "velocity 61-64", "note_on 60", "note_on 64"),
        *("time_shift 500 ms", "note_off 64", "time_shift 1000 ms", "time_shift 1000 ms", "note_off 60"),
        *("velocity 125-127", "note_on 60", "time_shift 10 ms", "note_off 60"),
    ]


@pytest.mark.parametrize(("start", "end"), [(0.0051, 0.0066), (0.0949, 0.0951), (0.0951, 0.0952), (1.0, 1.001)])
def test_a_note_shorter_than_a_step_moves_by_at_most_one(start: float, end: float) -> None:
    assert_round_trip(Notes.of([start], [end], [60], [70]), PIANO)


def played(ids: list[int], vocabulary: EventVocabulary) -> list[tuple[float, float, int, int]]:
    """What the events say, one after another."""
    step, loud = 0, 15
    sounding: dict[int, tuple[int, int]] = {}
    notes = []

    def release(pitch: int) -> None:
        if pitch in sounding:
            start, velocity = sounding.pop(pitch)
            if step > start:
                notes.append((start / 100, step / 100, pitch, velocity))

    for event in ids:
        kind, _, value = vocabulary.name(event).partition(" ")
        if kind == "time_shift":
            step += int(value.split()[0]) // 10
        elif kind == "velocity":
            loud = (int(value.split("-")[0]) - 1) // 4
        elif kind in ("note_on", "note_off"):
            release(int(value))
            if kind == "note_on":
                sounding[int(value)] = (step, 4 * loud + 3)
    for pitch in list(sounding):
        release(pitch)
    return sorted(notes)


@pytest.mark.parametrize("seed", range(30))
def test_any_sequence_decodes_as_when_it_is_played(seed: int) -> None:
    vocabulary = EventVocabulary(60, 63)
    random = np.random.default_rng(seed)
    ids = random.integers(0, len(vocabulary), 80)
    ids[random.random(80) < 0.7] = random.integers(0, vocabulary.note_off.stop)  # else nearly all are time shifts
    ids[::2] = random.integers(0, vocabulary.note_off.stop, 40)
    assert rows(vocabulary.decode(ids)) == played(ids.tolist(), vocabulary)


def test_nothing_encodes_and_decodes() -> None:
    assert len(PIANO.encode(Notes.none())) == 0
    for ids in ([], [PAD, END], [PIANO.note_on[3]], [PIANO.note_off[3], PIANO.time_shift[5]]):
        assert len(PIANO.decode(np.array(ids, int))) == 0


def test_pitches_outside_are_left_out_and_said() -> None:
    notes = Notes.of([0, 0, 0], [1, 1, 1], [20, 60, 109], [64, 64, 64])
    assert PIANO.covers(notes).tolist() == [False, True, False]
    assert PIANO.decode(PIANO.encode(notes)).pitch.tolist() == [60]


@pytest.mark.parametrize("semitones", [-3, 0, 3])
def test_transposing_events_is_transposing_notes(semitones: int) -> None:
    notes = random_notes(5, low=24, high=105)
    moved = PIANO.transpose(PIANO.encode(notes), semitones)
    assert (moved == PIANO.encode(notes.transposed(semitones))).all()


def test_a_transposition_out_of_range_is_refused() -> None:
    ids = PIANO.encode(Notes.of([0.0], [1.0], [108], [64]))
    before = ids.copy()
    with pytest.raises(ValueError, match="leaves"):
        PIANO.transpose(ids, 1)
    assert (ids == before).all() and PIANO.decode(PIANO.transpose(ids, -87)).pitch.tolist() == [21]
    with pytest.raises(ValueError, match="leaves"):
        PIANO.transpose(ids, -88)


def test_ids_and_pitches_that_do_not_exist_are_refused() -> None:
    for ids in ([-1], [310]):
        with pytest.raises(ValueError, match="0 to 309"):
            PIANO.decode(np.array(ids))
    with pytest.raises(ValueError, match="within 0 to 127"):
        EventVocabulary(0, 128)
