"""Composing with untrained models: what is given is kept, what is asked for is written, the same seed is the same."""

import numpy as np
import pytest
from music_fixtures import RANGES, chorale_grid, performance, tiny_generator

from attn.apps.music.decode import Sampling
from attn.apps.music.key import clearest_key
from attn.apps.music.predict import MusicGenerator
from attn.apps.music.styles import BAR_SECONDS, CHORALE_BPM, STEPS_PER_BAR, Chorale, Piano
from attn.core.errors import InputError, ModelError, UsageError
from attn.data_adapters.midi.chorales import grid_to_voices
from attn.data_adapters.midi.file import read_midi
from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.voices import notes_to_grid
from attn.data_adapters.midi.writer import write_midi

STEP = 0.01


@pytest.fixture(scope="module")
def pianist():
    return tiny_generator(Piano())


@pytest.fixture(scope="module")
def composer():
    return tiny_generator(Chorale())


@pytest.fixture(scope="module")
def harmoniser():
    return tiny_generator(Chorale(), source_vocabulary=Chorale().size)


def write_grid(path, grid, voices=(0, 1, 2, 3)):
    names = dict(list(grid_to_voices(grid, bpm=CHORALE_BPM).items()))
    write_midi(path, {name: names[name] for name in [list(names)[v] for v in voices]}, bpm=CHORALE_BPM)
    return path


def columns(notes: Notes) -> np.ndarray:
    return np.stack([notes.start, notes.end, notes.pitch], 1)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(pianist, tmp_path):
    files = []
    for number, seed in enumerate((3, 3, 4)):
        (piece,) = pianist.generate(performance(0), motif_seconds=1, seconds=0.3, seed=seed)
        piece.save(tmp_path / f"{number}.mid")
        files.append((tmp_path / f"{number}.mid").read_bytes())
    assert files[0] == files[1] != files[2]


def test_samples_differ_and_each_has_the_length_asked_for(pianist):
    pieces = pianist.generate(seconds=0.5, samples=3, seed=0, sampling=Sampling())
    for piece in pieces:
        assert 0 < piece.notes.seconds <= 0.5 + 1e-9 and piece.motif_seconds == 0 and piece.known == 0
    assert len({piece.ids.tobytes() for piece in pieces}) == 3


def test_each_sample_has_a_seed_which_makes_it_again_alone(pianist, composer, tmp_path):
    for generator, length in ((pianist, {"seconds": 0.5}), (composer, {"bars": 1})):
        pieces = generator.generate(samples=3, seed=5, **length)
        (alone,) = generator.generate(seed=7, **length)
        np.testing.assert_array_equal(pieces[2].ids, alone.ids)
        pieces[2].save(tmp_path / "piece.mid", instrument=19)
        assert b"seed 7" in (tmp_path / "piece.mid").read_bytes()
        assert {track.program for track in read_midi(tmp_path / "piece.mid").tracks} == {19}


def test_an_end_without_a_motif_is_in_the_key_of_what_was_written(pianist, composer):
    for piece in composer.generate(bars=2, samples=3, seed=1, end=True):
        grid = composer.style.grid(piece.ids)
        key = clearest_key(np.bincount(grid[: len(grid) - 8 - 4].ravel() % 12, minlength=12))
        assert (grid[-8:, 3] % 12 == key.tonic).all() and key.triad[grid[-8:] % 12].all()
    for piece in pianist.generate(seconds=6, samples=2, seed=1, end=True):
        notes = piece.notes
        last = notes.where(notes.start == notes.start.max())
        before = notes.where(notes.start < notes.start.max())
        assert (
            len(last) >= 3 and clearest_key(np.bincount(before.pitch % 12, minlength=12)).triad[last.pitch % 12].all()
        )
        assert piece.seconds == 6
    assert len(composer.generate(seconds=0.1, end=True)[0].ids) == 4


def test_the_seed_after_the_last_is_the_first(composer):
    assert composer.generate(bars=1, samples=2, seed=2**63 - 1)[1].seed == 0


@pytest.mark.parametrize("transpose", [0, 5, -7])
def test_a_motif_stands_note_for_note_at_the_start(pianist, tmp_path, transpose):
    motif = performance(1)
    path, out = tmp_path / "motif.mid", tmp_path / "out.mid"
    write_midi(path, motif.shifted(1.5), bpm=90)
    given = read_midi(path).notes.between(0, 3.5).transposed(transpose)
    for piece in pianist.generate(path, motif_seconds=3.5, seconds=0.3, transpose=transpose, samples=2):
        kept = piece.notes.where(piece.notes.start < piece.motif_seconds - STEP)
        assert piece.motif_seconds == 3.5 and piece.seconds == pytest.approx(3.8, abs=2 * STEP)
        np.testing.assert_allclose(columns(kept), columns(given), atol=2 * STEP)
        np.testing.assert_allclose(kept.velocity, given.velocity, atol=2)
        assert piece.motif_seconds < piece.notes.seconds <= 3.8 + 2 * STEP
        heard = Piano().notes(piece.ids[: piece.known])
        np.testing.assert_allclose(columns(heard.shifted(piece.notation.start)), columns(kept), atol=1e-9)
        piece.save(out)
        written = read_midi(out).notes
        np.testing.assert_allclose(columns(written)[: len(given)], columns(given), atol=1e-5)  # to the tick


def test_greedy_music_does_not_depend_on_the_seed(composer):
    first, other = (composer.generate(bars=1, seed=seed, sampling=Sampling(temperature=0))[0] for seed in (0, 1))
    np.testing.assert_array_equal(first.ids, other.ids)


def test_chorales_have_whole_bars_and_voices_in_their_ranges(composer):
    for piece in composer.generate(bars=2, samples=2, seed=1):
        assert list(piece.parts) == ["Soprano", "Alto", "Tenor", "Bass"]
        assert piece.notes.seconds == pytest.approx(2 * BAR_SECONDS)
        for (low, high), voice in zip(RANGES, piece.parts.values(), strict=True):
            assert low <= voice.pitch.min() and voice.pitch.max() <= high
            assert voice.start[0] == 0 and (voice.end[:-1] == pytest.approx(voice.start[1:]))  # no rests


@pytest.mark.parametrize("transpose", [0, 3])
def test_a_chorale_keeps_its_motif_and_goes_on_in_time(composer, tmp_path, transpose):
    grid = chorale_grid(0, bars=2)
    path = write_grid(tmp_path / "motif.mid", grid)
    for piece in composer.generate(path, bars=1, samples=2, transpose=transpose):
        found = Chorale().grid(piece.ids)
        np.testing.assert_array_equal(found[: len(grid)], grid + transpose)
        assert len(found) == 3 * STEPS_PER_BAR and piece.motif_seconds == pytest.approx(2 * BAR_SECONDS)
        assert piece.known == grid.size
    piece.save(tmp_path / "out.mid")
    np.testing.assert_array_equal(notes_to_grid(read_midi(tmp_path / "out.mid")), found)
    (short,) = composer.generate(path, motif_seconds=BAR_SECONDS, bars=1)
    np.testing.assert_array_equal(Chorale().grid(short.ids)[:STEPS_PER_BAR], grid[:STEPS_PER_BAR])
    assert len(short.ids) == 2 * STEPS_PER_BAR * 4


def test_voices_that_a_motif_lacks_are_written(composer, tmp_path):
    grid = chorale_grid(2, bars=1)
    path = write_grid(tmp_path / "soprano.mid", grid, voices=(0,))
    (piece,) = composer.generate(path, bars=1)
    found = Chorale().grid(piece.ids)
    np.testing.assert_array_equal(found[:STEPS_PER_BAR, 0], grid[:, 0])
    for voice, (low, high) in enumerate(RANGES):
        assert low <= found[:, voice].min() and found[:, voice].max() <= high
    holes = grid.copy()
    holes[:, 2] = -1
    holes[3, 0] = -1  # a rest of the soprano, which stays
    (filled,) = composer.continue_grid(holes, bars=1)
    filled_grid = Chorale().grid(filled.ids)[:STEPS_PER_BAR]
    np.testing.assert_array_equal(filled_grid[:, [0, 1, 3]], holes[:, [0, 1, 3]])
    assert (filled_grid[:, 2] >= 0).all()


@pytest.mark.parametrize(("octaves", "transpose"), [(0, 0), (-2, 2)])
def test_a_melody_is_kept_and_brought_to_where_a_soprano_sings(harmoniser, tmp_path, octaves, transpose):
    grid = chorale_grid(4, bars=3)  # longer than the model's memory
    melody = grid[:, :1] + 12 * octaves
    path = write_grid(tmp_path / "melody.mid", np.concatenate([melody, np.full((len(grid), 3), -1)], 1), voices=(0,))
    pieces = harmoniser.accompany(path, samples=2, transpose=transpose, seed=1)
    for piece in pieces:
        found = Chorale().grid(piece.ids)
        moved = set((found[:, 0] - grid[:, 0]).tolist())
        assert len(moved) == 1 and (moved.pop() - transpose) % 12 == 0
        assert RANGES[0][0] <= np.median(found[:, 0]) <= RANGES[0][1]
        for voice, (low, high) in list(enumerate(RANGES))[1:]:
            assert low <= found[:, voice].min() and found[:, voice].max() <= high
    assert not np.array_equal(pieces[0].ids, pieces[1].ids)


def test_models_are_loaded_from_their_folders(music_models, pianist, micro_model, tmp_path):
    loaded = MusicGenerator.load(music_models["piano"])
    np.testing.assert_array_equal(
        loaded.generate(seconds=0.2, seed=5)[0].ids, pianist.generate(seconds=0.2, seed=5)[0].ids
    )
    assert MusicGenerator.load(music_models["accompany"]).accompanies
    with pytest.raises(ModelError, match="this is a galaxy model"):
        MusicGenerator.load(micro_model)
    with pytest.raises(ModelError):
        MusicGenerator.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("motif", "settings", "error", "words"),
    [
        (None, {"seconds": -1}, UsageError, "seconds must be greater than 0, not -1"),
        (None, {"seconds": float("nan")}, UsageError, "seconds must be .*, not nan"),
        (None, {"samples": 0}, UsageError, "samples must be greater than or equal to 1, not 0"),
        (None, {"seed": 2**63}, UsageError, "seed must be less than"),
        (None, {"second": 3}, UsageError, "second: "),
        (None, {"bars": 2, "seconds": 3}, UsageError, "the length is given in seconds and in bars"),
        (None, {"voices": ("bass",)}, UsageError, "voices has no effect on a piano piece"),
        (None, {"voices": ("bass", "bass")}, UsageError, "must be some of soprano, alto, tenor, bass, each once"),
        (performance(0), {"motif_seconds": 0}, UsageError, "motif_seconds must be greater than 0, not 0"),
        (performance(0), {"motif_seconds": float("inf")}, UsageError, "motif_seconds must be a finite number, not inf"),
        (performance(0), {"transpose": 200}, InputError, "leaves the MIDI range"),
        (performance(0).where(performance(0).pitch < 58), {"transpose": -38}, InputError, "has no notes to begin with"),
        (Notes.none(), {}, InputError, "has no notes to begin with"),
    ],
)
def test_what_cannot_be_played_is_refused(pianist, motif, settings, error, words):
    with pytest.raises(error, match=words):
        pianist.generate(motif, **settings)


def test_models_refuse_the_work_of_others(pianist, composer, harmoniser, tmp_path):
    path = write_grid(tmp_path / "a.mid", chorale_grid(0))
    for wrong, words in [
        (lambda: pianist.accompany(path), "does not accompany"),
        (lambda: composer.accompany(path), "does not accompany"),
        (lambda: harmoniser.generate(path), "accompanies a melody"),
        (lambda: pianist.continue_grid(chorale_grid(0)), "does not write chorales"),
        (lambda: composer.generate(performance(0)), "with a MIDI file"),
        (lambda: composer.generate(bars=0), "bars must be .*, not 0"),
        (lambda: composer.generate(path, motif_seconds=float("inf")), "motif_seconds must be a finite number"),
        (lambda: harmoniser.accompany(path, bars=3), "bars has no effect on an accompaniment"),
    ]:
        with pytest.raises(UsageError, match=words):
            wrong()
    with pytest.raises(InputError, match=r"a\.mid: transposing by 80 semitones leaves the MIDI range"):
        composer.generate(path, transpose=80)
