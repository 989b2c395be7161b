"""The grammars: whatever is drawn from what they allow is music."""

import numpy as np
import pytest
from music_fixtures import RANGES, performance

from attn.apps.music.grammar import CROWD, LONGEST_NOTE, GridGrammar, PerformanceGrammar
from attn.apps.music.styles import STEP_SECONDS, Chorale, Piano
from attn.data_adapters.midi.events import PAD, EventVocabulary
from attn.data_adapters.midi.file import read_midi, with_sustain

STEP = 0.01


def play(grammar: PerformanceGrammar, weights_v: np.ndarray, seed: int, most: int = 20_000) -> np.ndarray:
    """(B, L) ids drawn from what is allowed, in proportion to the weights."""
    draw = np.random.default_rng(seed)
    steps: list[np.ndarray] = []
    while not grammar.finished:
        allowed_bv = grammar.allowed()
        assert allowed_bv.any(1).all() and len(steps) < most
        p_bv = np.where(allowed_bv, weights_v + 1e-12, 0)
        cumulative_bv = np.cumsum(p_bv, 1)
        u_b1 = draw.random((len(p_bv), 1)) * cumulative_bv[:, -1:]
        ids_b = (cumulative_bv <= u_b1).sum(1)
        assert allowed_bv[np.arange(len(ids_b)), ids_b].all()
        grammar.accept(ids_b)
        steps.append(ids_b)
    return np.stack(steps, 1)


def weights(vocabulary: EventVocabulary, **kinds: float) -> np.ndarray:
    found = np.zeros(len(vocabulary))
    for kind in ("note_on", "note_off", "time_shift", "velocity"):
        ids = getattr(vocabulary, kind)
        found[ids.start : ids.stop] = kinds.get(kind, 1.0) / len(ids)
    return found


CASES = {
    "everything": {},
    "no releases": {"note_off": 0},
    "no time": {"time_shift": 0},
    "only time": {"note_on": 0, "note_off": 0, "velocity": 0},
    "only velocities": {"note_on": 0, "note_off": 0, "time_shift": 0},
    "strikes": {"note_on": 50, "note_off": 0, "time_shift": 0.2},
    "releases": {"note_off": 50},
}


@pytest.mark.parametrize("kinds", CASES.values(), ids=CASES)
@pytest.mark.parametrize("low_high", [(21, 108), (60, 62)], ids=["piano", "three keys"])
def test_every_sequence_decodes_to_notes_of_bounded_length(kinds, low_high):
    vocabulary = EventVocabulary(*low_high)
    seconds = 0.5 if kinds.get("time_shift") == 0 else 30.0
    rows = play(PerformanceGrammar(vocabulary, 2, seconds), weights(vocabulary, **kinds), seed=0)
    for row in rows:
        ids = row[row != PAD]
        on, off, shift, velocity = (
            np.isin(ids, getattr(vocabulary, kind)) for kind in ("note_on", "note_off", "time_shift", "velocity")
        )
        notes = vocabulary.decode(ids)
        assert len(notes) == on.sum()  # each strike is a note with a length
        clock = np.where(shift, ids - vocabulary.time_shift.start + 1, 0).cumsum()
        assert clock[-1] == round(seconds / STEP) and notes.seconds <= seconds + 1e-9
        sounding: dict[int, int] = {}
        for id, now in zip(ids.tolist(), clock.tolist(), strict=True):
            if id in vocabulary.note_on:
                pitch = id - vocabulary.note_on.start
                assert sounding.get(pitch, -1) < now  # what is struck again has had a length
                sounding[pitch] = now
            elif id in vocabulary.note_off:
                assert sounding.pop(id - vocabulary.note_off.start) < now
        assert (notes.end - notes.start).max(initial=0) <= LONGEST_NOTE / 100 + 1e-9
        assert not velocity[-1] and on[1:][velocity[:-1]].all()  # a velocity belongs to a note
        crowds = np.bincount(clock[on | velocity])
        assert crowds.max(initial=0) <= CROWD + 1
        starts, ends = np.append(notes.start, seconds), np.append(0.0, np.maximum.accumulate(notes.end))
        assert (starts - ends).max() <= 3 + 1e-9 and off.sum() <= on.sum()


def test_pieces_that_are_done_are_padded_while_others_go_on():
    vocabulary = EventVocabulary()
    grammar = PerformanceGrammar(vocabulary, 2, 1.0)
    second, tenth = vocabulary.time_shift[99], vocabulary.time_shift[9]
    grammar.accept(np.array([vocabulary.note_on[0], vocabulary.note_on[5]]))
    grammar.accept(np.array([second, tenth]))
    assert np.flatnonzero(grammar.allowed()[0]).tolist() == [PAD]
    assert grammar.seconds == pytest.approx(0.1) and not grammar.finished
    longest = np.flatnonzero(grammar.allowed()[1][vocabulary.time_shift.start : vocabulary.time_shift.stop]).max() + 1
    assert longest == 90  # to the end and no further


@pytest.mark.real_data
def test_a_real_performance_is_heard_and_gone_on_from(data_dir):
    vocabulary = EventVocabulary()
    path = min((data_dir / "music" / "maestro").rglob("*.midi"), key=lambda path: path.stat().st_size)
    notes = with_sustain(read_midi(path))
    notes = notes.shifted(-float(notes.start.min())).between(0, 20)
    ids = vocabulary.encode(notes)
    grammar = PerformanceGrammar(vocabulary, 2, notes.seconds + 2)
    for id in ids:
        grammar.accept(np.full(2, id))
    assert (grammar.onset_bp < 0).all() and grammar.seconds == pytest.approx(notes.seconds, abs=2 * STEP)
    for row in play(grammar, weights(vocabulary), seed=1):
        whole = vocabulary.decode(np.concatenate([ids, row[row != PAD]]))
        kept, heard = whole.where(whole.start < notes.seconds - 1e-6), vocabulary.decode(ids)
        np.testing.assert_array_equal(kept.pitch[: len(heard)], heard.pitch)
        np.testing.assert_array_equal(kept.end[: len(heard)], heard.end)
        assert whole.seconds == pytest.approx(notes.seconds + 2, abs=2 * STEP)


def test_a_prompt_with_a_note_that_is_too_long_must_end_it():
    vocabulary = EventVocabulary()
    grammar = PerformanceGrammar(vocabulary, 1, 60.0)
    for id in [vocabulary.note_on[40], *[vocabulary.time_shift[99]] * 25]:
        grammar.accept(np.array([id]))
    assert np.flatnonzero(grammar.allowed()[0]).tolist() == [vocabulary.note_off[40]]


def test_a_note_that_sounds_is_struck_again_once_it_has_a_length():
    vocabulary = EventVocabulary()
    grammar = PerformanceGrammar(vocabulary, 1, 60.0)
    strike, tenth = vocabulary.note_on[40], vocabulary.time_shift[9]
    grammar.accept(np.array([strike]))
    assert not grammar.allowed()[0, strike]
    grammar.accept(np.array([tenth]))
    assert grammar.allowed()[0, strike]
    for id in (strike, tenth):
        grammar.accept(np.array([id]))
    notes = vocabulary.decode(np.array([strike, tenth, strike, tenth]))
    np.testing.assert_allclose(notes.start, [0.0, 0.1])
    np.testing.assert_allclose(notes.end, [0.1, 0.2])
    grammar = PerformanceGrammar(vocabulary, 1, 60.0)
    for id in [strike, tenth, strike, *[tenth] * (LONGEST_NOTE // 10 - 1)]:
        grammar.accept(np.array([id]))
    assert grammar.allowed()[0, tenth]  # the first strike was longer ago than a note may last, the second was not
    grammar.accept(np.array([tenth]))
    assert np.flatnonzero(grammar.allowed()[0]).tolist() == [vocabulary.note_off[40]]


def test_the_events_of_a_performance_are_allowed_one_after_another():
    style = Piano()
    ids = style.encode(performance(0))
    grammar = PerformanceGrammar(style.vocabulary, 1, 1000.0)
    for id in ids:
        assert grammar.allowed()[0, id], style.vocabulary.name(int(id))
        grammar.accept(np.array([id]))


def test_grids_keep_voices_in_their_ranges_and_what_is_forced():
    style, draw = Chorale(), np.random.default_rng(0)
    forced = np.full((5, 4), -1)
    forced[:, 0], forced[2, 3] = 2, style.size - 1  # a silent soprano, a bass above its range
    grammar = GridGrammar(style.size, style.range_ids(), 12, 3, forced)
    rows = []
    while not grammar.finished:
        allowed_bv = grammar.allowed()
        assert allowed_bv.shape == (3, style.size)
        rows.append([draw.choice(np.flatnonzero(row)) for row in allowed_bv])
        grammar.accept(np.array(rows[-1]))
    assert grammar.seconds == grammar.total_seconds == 12 * STEP_SECONDS and len(rows) == 48
    cells = np.array(rows).reshape(12, 4, 3)
    assert (cells[:5, 0] == 2).all() and (cells[2, 3] == style.size - 1).all()
    for piece in range(3):
        grid = style.grid(cells[..., piece].reshape(-1))
        for voice, (low, high) in enumerate(RANGES):
            free = grid[5:, voice]
            assert low <= free.min() and free.max() <= high and len(set(free.tolist())) > 1
