"""Chord symbols, where they lie in a piece, and what then sounds."""

import numpy as np
import pytest
from music_fixtures import chorale_grid, tiny_generator

from attn.apps.music.chords import Chord, Harmony, bars_of, pitches_of
from attn.apps.music.decode import Sampling
from attn.apps.music.grammar import GridGrammar
from attn.apps.music.styles import Chorale
from attn.core.errors import UsageError
from attn.data_adapters.midi.chorales import grid_to_voices
from attn.data_adapters.midi.metre import Metre
from attn.data_adapters.midi.writer import write_midi


@pytest.fixture(scope="module")
def composer():
    return tiny_generator(Chorale())


@pytest.fixture(scope="module")
def harmoniser():
    return tiny_generator(Chorale(), source_vocabulary=Chorale().size)


@pytest.mark.parametrize(
    ("symbol", "classes", "bass"),
    [
        ("C", {0, 4, 7}, 0),
        ("F#m", {6, 9, 1}, 6),
        ("Bb7", {10, 2, 5, 8}, 10),
        ("Cb", {11, 3, 6}, 11),
        ("Am7/G", {9, 0, 4, 7}, 7),
        ("Bdim", {11, 2, 5}, 11),
        ("C/D", {0, 4, 7, 2}, 2),
        ("Gsus4", {7, 0, 2}, 7),
    ],
)
def test_symbols(symbol, classes, bass):
    chord = Chord.of(symbol)
    assert set(np.flatnonzero(chord.notes)) == classes and chord.bass == bass


@pytest.mark.parametrize(
    "text", ["", "  ", "|", "C ||| G", "H", "c", "Cmajor", "C/", "C/4", "C#b", "C" * 5000, "C " * 1001]
)
def test_what_is_no_chord_is_one_sentence(text):
    with pytest.raises(UsageError) as error:
        bars_of(text)
    assert len(str(error.value)) < 300


def test_one_chord_a_bar_or_as_many_as_lie_between_lines():
    assert [len(bar) for bar in bars_of("C G Am F")] == [1, 1, 1, 1]
    assert [len(bar) for bar in bars_of("| C G | Am | NC |")] == [2, 1, 1]
    assert bars_of("NC")[0] == (None,)


def test_chords_begin_at_the_first_bar_line_and_come_again():
    waltz = Metre(((0.0, 3, 4),))
    harmony = Harmony.on(bars_of("C G"), np.arange(44) / 4, waltz, 1.0)
    roots = [None if chord is None else chord.bass for chord in harmony.chords]
    assert roots == [None] * 12 + [0] * 12 + [7] * 12 + [0] * 8
    assert np.flatnonzero(harmony.starts).tolist() == [0, 12, 24, 36]
    assert np.flatnonzero(harmony.beats).tolist() == list(range(0, 44, 4))


def spans(grid_tv, text):
    """The pitch classes that sound on each beat, and of which chord; one chord a bar."""
    for number, chord in enumerate(text.split() * 9):
        bar = grid_tv[16 * number : 16 * number + 16]
        if not len(bar):
            return
        yield Chord.of(chord), bar


@pytest.mark.parametrize("rules", [0.0, 1.0, float("inf")])
def test_what_sounds_is_of_the_chord(composer, rules):
    text = "C G/B Am7 F#m"
    for piece in composer.generate(bars=5, samples=2, seed=1, chords=text, sampling=Sampling(rules=rules)):
        for chord, bar in spans(composer.style.grid(piece.ids), text):
            assert bar[0, 3] % 12 == chord.bass and chord.third in bar[0] % 12
            assert chord.notes[bar[::4] % 12].all()
            if rules == float("inf"):
                assert chord.notes[bar % 12].all()


def test_without_strict_rules_other_notes_pass_between_beats(composer):
    (piece,) = composer.generate(bars=4, seed=1, chords="C", sampling=Sampling())
    grid = composer.style.grid(piece.ids)
    assert not Chord.of("C").notes[grid % 12].all()


def test_a_motif_and_a_melody_stay_and_the_voices_beside_them_follow(composer, harmoniser, tmp_path):
    grid = chorale_grid(0, bars=2)
    voices = grid_to_voices(grid, bpm=80.0)
    write_midi(tmp_path / "motif.mid", voices, bpm=80.0)
    (piece,) = composer.generate(tmp_path / "motif.mid", bars=2, chords="D E", seed=0)
    found = composer.style.grid(piece.ids)
    np.testing.assert_array_equal(found[:32], grid)
    assert (found[[32, 48], 3] % 12).tolist() == [2, 4]
    write_midi(tmp_path / "melody.mid", {"Soprano": voices["Soprano"]}, bpm=80.0)
    (piece,) = harmoniser.accompany(tmp_path / "melody.mid", chords="D E", seed=0)
    found = harmoniser.style.grid(piece.ids)
    np.testing.assert_array_equal(found[:, 0], grid[:, 0])
    for chord, bar in spans(found, "D E"):
        assert bar[0, 3] % 12 == chord.bass and chord.notes[bar[::4, 1:] % 12].all()


def test_chords_say_how_a_piece_ends_and_a_piano_has_none(composer, tmp_path):
    from attn.apps.music.styles import Piano

    write_midi(tmp_path / "motif.mid", grid_to_voices(chorale_grid(0, bars=1), bpm=80.0), bpm=80.0)
    with pytest.raises(UsageError, match="end"):
        composer.generate(tmp_path / "motif.mid", bars=2, chords="C", end=True)
    with pytest.raises(UsageError, match="chords has no effect on a piano piece"):
        tiny_generator(Piano()).generate(seconds=1, chords="C")


def test_a_rest_is_no_third_and_nothing_lies_under_it():
    harmony = Harmony([Chord.of("Dm")], np.array([True]), np.array([True]))
    class_v = (np.arange(20) + 5) % 12  # id 0 is a rest, whose class would be the third, F
    rest_bu, third_bu = np.array([[0, 9]]), np.array([[12, 9]])
    assert class_v[harmony.allowed(0, 2, class_v, rest_bu, first=1)[0]].tolist() == [5, 5]
    assert set(class_v[harmony.allowed(0, 2, class_v, third_bu, first=1)[0]]) == {2, 5, 9}


def test_a_bass_lies_under_the_voices_that_sound():
    style, steps = Chorale(), 4
    forced = np.full((steps, 4), -1)
    forced[:, 0] = 2  # the soprano rests
    harmony = Harmony([Chord.of("Dm")] * steps, np.ones(steps, bool), np.ones(steps, bool))
    grammar = GridGrammar(style.size, style.range_ids(), steps, 1, forced, harmony=harmony)
    while not grammar.finished:
        may = np.flatnonzero(grammar.allowed()[0])
        grammar.accept(may[[-1 if grammar.heard % 4 == 3 else 0]])  # a high bass under low voices
    cells_tv = np.concatenate(grammar.written).reshape(steps, 4)
    assert (cells_tv[:, 3] <= cells_tv[:, 1:3].min(1)).all() and (cells_tv[:, 3] > 2).all()


@pytest.mark.parametrize(
    ("text", "expected"), [("C3-C6", (48, 84)), ("48-84", (48, 84)), ("Bb-1 - F#9", (10, 126)), ("60-C4", (60, 60))]
)
def test_a_register_is_two_notes_or_numbers(text, expected):
    assert pitches_of(text) == expected


@pytest.mark.parametrize("text", ["", "C3", "C6-C3", "H2-H3", "0-128", "c3-c4", "C3-C6-C7", "G9-G#9", "٣-٩"])
def test_what_is_no_register_is_one_sentence(text):
    with pytest.raises(UsageError, match="is no register"):
        pitches_of(text)
