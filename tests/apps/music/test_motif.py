"""What a piece begins with, and that it is written down as it was given: time, notes, voices."""

import numpy as np
import pytest
from music_fixtures import performance, tiny_generator

from attn.apps.music.motif import fitted
from attn.apps.music.styles import Chorale, Piano
from attn.core.errors import InputError, UsageError
from attn.data_adapters.midi.file import read_midi, with_sustain
from attn.data_adapters.midi.metre import Metre
from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.tempo import TempoMap
from attn.data_adapters.midi.writer import Part, write_midi

QUARTER = 60 / 132
METRE = Metre(((0.0, 1, 4), (1.0, 5, 8), (6.0, 3, 4)))
TUNE = [67, 67, 69, 71, 72, 72, 71, 69, 67, 66, 67, 67]


@pytest.fixture(scope="module")
def generators():
    return {
        "piano": tiny_generator(Piano()),
        "chorale": tiny_generator(Chorale()),
        "accompany": tiny_generator(Chorale(), source_vocabulary=Chorale().size),
    }


def tune(first=0.0, pitches=TUNE):
    start = first + QUARTER * np.arange(len(pitches))
    return Notes.of(start, start + 0.9 * QUARTER, pitches, 50 + np.arange(len(pitches)))


def compose(generators, style, path, **settings):
    if style == "accompany":
        return generators[style].accompany(path, **settings)[0]
    return generators[style].generate(path, **{"bars": 2} | settings)[0]


def rows(notes):
    return np.stack([notes.start, notes.end, notes.pitch, notes.velocity], 1)


@pytest.mark.parametrize("style", ["piano", "chorale", "accompany"])
@pytest.mark.parametrize("first", [0, 3])
def test_tempo_metre_rests_and_every_note_come_back(generators, tmp_path, style, first):
    """Repeated notes are struck again; the bars asked for begin at a bar line; the rest at the end stays."""
    path, out = tmp_path / "in.mid", tmp_path / "out.mid"
    tempo = TempoMap.of([(0, round(60e6 / 132)), (480 * 8, 500_000)], 480)
    notes = tune(first * QUARTER)
    end = float(tempo.at(np.array(480 * 16)))
    write_midi(path, [Part("Tune", notes)], tempo=tempo, metre=METRE, seconds=end)
    given, piece = read_midi(path), compose(generators, style, path, seed=1)
    piece.save(out)
    written = read_midi(out)
    assert written.tempo.bpm == pytest.approx(given.tempo.bpm) and Metre.of(written.signatures, written.tempo) == METRE
    mine = written.tracks[0].notes
    np.testing.assert_allclose(rows(mine)[: len(notes)], rows(given.notes), atol=1e-6)
    assert min(track.notes.start.min() for track in written.tracks) == pytest.approx(first * QUARTER, abs=1e-5)
    quarters = float(written.tempo.quarters(np.array([written.seconds]))[0])
    assert quarters == pytest.approx(16 if style == "accompany" else METRE.after(16, 2), abs=0.03)
    if style != "accompany":
        new = mine.start[len(notes) :]
        assert (new >= end - 0.01).all()


@pytest.mark.parametrize("style", ["piano", "chorale"])
def test_seconds_are_seconds_of_new_music(generators, tmp_path, style):
    write_midi(tmp_path / "in.mid", tune(), bpm=132)
    piece = generators[style].generate(tmp_path / "in.mid", seconds=1.5, seed=0)[0]
    step = QUARTER / 4 if style == "chorale" else 0.01
    assert piece.seconds - piece.motif_seconds == pytest.approx(1.5, abs=step)


def test_the_pedal_and_the_instruments_of_a_piano_motif_are_written(generators, tmp_path):
    path, out = tmp_path / "in.mid", tmp_path / "out.mid"
    pedal = np.array([[0.1, 1.0], [1.2, 9.0]])
    for parts in ([Part("Piano", tune(), pedal, 4)], [Part("A", tune(), pedal, 4), Part("B", tune().transposed(-12))]):
        write_midi(path, parts, bpm=132)
        given, piece = read_midi(path), generators["piano"].generate(path, seconds=1, seed=2)[0]
        piece.save(out)
        written = read_midi(out)
        for mine, theirs in zip(written.tracks, given.tracks, strict=False):
            np.testing.assert_allclose(rows(mine.notes)[: len(theirs.notes)], rows(theirs.notes), atol=1e-6)
            assert (mine.name, mine.program) == (theirs.name, theirs.program)
            np.testing.assert_allclose(mine.pedal, theirs.pedal, atol=1e-6)
        names = [track.name for track in written.tracks]
        assert names == (["Piano"] if len(parts) == 1 else ["A", "B", "Continuation"])
        # The model heard the pedal: the motif sounds as long as it did.
        heard = piece.notes.where(piece.notes.start < piece.motif_seconds - 0.01)
        assert heard.end.max() == pytest.approx(with_sustain(given).seconds, abs=0.02)


def test_what_a_piano_lacks_and_what_hangs_is_said(generators, tmp_path):
    write_midi(tmp_path / "in.mid", tune(pitches=[0, 12, *TUNE]))
    piece = generators["piano"].generate(tmp_path / "in.mid", seconds=0.5)[0]
    assert piece.flags == ("2 notes outside 21 to 108 are left out",)


@pytest.mark.parametrize("style", ["piano", "chorale"])
def test_a_beginning_without_notes_names_the_first(generators, tmp_path, style):
    write_midi(tmp_path / "in.mid", tune(first=2.0))
    with pytest.raises(InputError, match=r"no note in its first 1 s: the first begins at 2\.00 s"):
        generators[style].generate(tmp_path / "in.mid", motif_seconds=1)


@pytest.mark.parametrize(("style", "settings"), [("accompany", {}), ("chorale", {"bars": 1})])
@pytest.mark.parametrize(("moved", "transpose", "words"), [(36, 0, "lower"), (-36, 0, "higher"), (0, 12, None)])
def test_octaves_are_said_and_the_voice_is_given_back_where_it_was(
    generators, tmp_path, style, settings, moved, transpose, words
):
    write_midi(tmp_path / "in.mid", tune().transposed(moved), bpm=132)
    piece = compose(generators, style, tmp_path / "in.mid", transpose=transpose, **settings)
    assert piece.parts["Soprano"].pitch[: len(TUNE)].tolist() == [pitch + moved + transpose for pitch in TUNE]
    heard = Chorale().grid(piece.ids)[:, 0]
    assert Chorale().ranges[0][0] <= np.median(heard) <= Chorale().ranges[0][1]
    assert (words is None) == (not piece.flags) and all(words in flag for flag in piece.flags)


def test_a_range_that_no_octave_fits_is_folded(generators, tmp_path):
    wide = [40, 55, 64, 72, 76, 84, 91, 96] * 2
    write_midi(tmp_path / "in.mid", tune(pitches=wide))
    piece = compose(generators, "accompany", tmp_path / "in.mid")
    assert piece.parts["Soprano"].pitch.tolist() == wide and "read an octave or more nearer" in piece.flags[0]
    grid_tv, _ = fitted(np.array([[96, -1, -1, 20]]), Chorale())
    assert [pitch % 12 for pitch in grid_tv[0, [0, 3]]] == [0, 8] and 30 <= grid_tv[0, 3] <= 66


def test_tracks_channels_and_voices_are_chosen(generators, tmp_path):
    path = tmp_path / "in.mid"
    write_midi(path, {"Flute": tune().transposed(12), "Cello": tune().transposed(-12)}, bpm=132)
    assert compose(generators, "accompany", path).parts["Soprano"].pitch[0] == 79
    for chosen in ({"track": "Cello"}, {"track": "3"}, {"channel": 2}):
        assert compose(generators, "accompany", path, **chosen).parts["Soprano"].pitch[0] == 55
    assert len(compose(generators, "piano", path, track="Flute").notation.given) == 1
    piece = compose(generators, "chorale", path, voices=("soprano", "tenor"), bars=1)
    assert [piece.parts[name].pitch[0] for name in ("Soprano", "Tenor")] == [79, 55]
    with pytest.raises(UsageError, match="no notes in track 'Harp'"):
        compose(generators, "accompany", path, track="Harp")


def test_thirty_seconds_stay_and_the_loss_is_said(generators, tmp_path):
    fast = Notes.of(np.arange(32) / 16, np.arange(1, 33) / 16, [72, 74] * 16, [80] * 32)
    write_midi(tmp_path / "in.mid", fast)
    for style in ("accompany", "chorale"):
        piece = compose(generators, style, tmp_path / "in.mid")
        assert len(piece.parts["Soprano"].between(0, 2)) == 32
        assert piece.flags[0].startswith("the grid of sixteenths loses 16 of 32 notes")


def test_notes_as_a_motif_begin_where_they_are(generators):
    piece = generators["piano"].generate(performance(0).shifted(1.0), motif_seconds=2, seconds=0.5)[0]
    assert piece.notes.start[0] == pytest.approx(1.0) and piece.motif_seconds == 2.0


@pytest.mark.parametrize("style", ["piano", "chorale", "accompany"])
def test_a_piece_ends_on_its_tonic(generators, tmp_path, style):
    """Whatever the model would rather do: the final chord is the tonic's, in root position, and is held."""
    path = tmp_path / "in.mid"
    melody = [67, 69, 71, 72, 74, 72, 71, 69, 67, 66, 67, 67]
    write_midi(path, tune(pitches=melody), bpm=132, metre=Metre(((0.0, 3, 4),)))
    settings = {} if style == "accompany" else {"end": True, "bars": 2, "samples": 2}
    pieces = generators[style].accompany(path, samples=2) if style == "accompany" else None
    for piece in pieces or generators[style].generate(path, seed=1, **settings):
        final = piece.notes.where(piece.notes.end >= piece.notes.seconds - 0.02)
        assert set((final.pitch % 12).tolist()) <= {7, 11, 2} and final.pitch.min() % 12 == 7
        assert len(final) >= 3 and piece.notes.seconds == pytest.approx(piece.seconds, abs=0.06)
        if style == "piano":
            assert final.start.min() == final.start.max() == pytest.approx(piece.seconds - 3 * QUARTER, abs=0.02)


def test_a_melody_that_ends_elsewhere_is_not_forced_home(generators, tmp_path):
    write_midi(tmp_path / "in.mid", tune(pitches=[67, 69, 71, 72, 74, 72, 71, 69]), bpm=132)
    assert compose(generators, "accompany", tmp_path / "in.mid").parts["Soprano"].pitch[-1] == 69
