"""Listening: weights of the past only, those the network really gave."""

import numpy as np
import pytest
import torch
from music_fixtures import chorale_grid, performance, tiny_generator

from attn.apps.music.explain import listen
from attn.apps.music.styles import CHORALE_BPM, EDGE, Chorale, Piano
from attn.core.attention.watch import record
from attn.core.errors import InputError, UsageError
from attn.data_adapters.midi.chorales import grid_to_voices
from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.writer import write_midi


@pytest.fixture
def piece(tmp_path):
    write_midi(tmp_path / "piece.mid", performance(0))
    return tmp_path / "piece.mid"


@pytest.mark.parametrize("layer", [None, 0, 1])
def test_weights_are_those_from_the_token_before_a_strike_to_the_strikes_before(piece, layer):
    generator = tiny_generator(Piano())
    found = listen(generator, piece, seconds=4, layer=layer)
    weights, notes = found.weights, found.notes
    assert weights.shape == (len(notes), len(notes)) and (weights >= 0).all()
    assert (np.triu(weights) == 0).all() and weights.sum(1).max() <= 1 + 1e-6 and weights.sum() > 0

    style = Piano()
    played = style.notes(style.read(piece)).between(0, 4)
    ids = style.encode(played)
    with torch.inference_mode(), record(generator.model) as seen:
        generator.model(torch.from_numpy(np.concatenate([[EDGE], ids]))[None])
    dense = [seen[name].dense(len(ids) + 1).mean((0, 1)).numpy() for name in seen]
    whole = np.mean(dense, 0) if layer is None else dense[layer]
    strikes = [place + 1 for place, id in enumerate(ids) if id in style.vocabulary.note_on]
    np.testing.assert_array_equal(notes.pitch, [ids[k - 1] - style.vocabulary.note_on.start + 21 for k in strikes])
    for i, j in [(5, 0), (10, 9), (len(notes) - 1, 3)]:
        assert weights[i, j] == pytest.approx(whole[strikes[i] - 1, strikes[j]], abs=1e-6)


def test_a_chorale_is_heard_note_by_note(tmp_path):
    grid = chorale_grid(1, bars=2)
    write_midi(tmp_path / "a.mid", grid_to_voices(grid, bpm=CHORALE_BPM), bpm=CHORALE_BPM)
    found = listen(tiny_generator(Chorale()), tmp_path / "a.mid", seconds=100)
    expected = Chorale().notes(Chorale().encode(grid))
    np.testing.assert_array_equal(found.notes.pitch, expected.pitch)
    assert (np.triu(found.weights) == 0).all() and found.weights.sum(1).max() <= 1 + 1e-6
    picture, arrays = found.save(tmp_path, "a")
    assert picture.stat().st_size > 1000
    with np.load(arrays) as kept:
        np.testing.assert_array_equal(kept["weights"], found.weights)
        np.testing.assert_array_equal(kept["start"], found.notes.start)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mid", "a.npz", "a.png"]


def test_what_cannot_be_shown_is_refused(piece, tmp_path):
    generator = tiny_generator(Piano())
    with pytest.raises(UsageError, match="no layer 2; there are 0 to 1"):
        listen(generator, piece, layer=2)
    with pytest.raises(UsageError, match="this model accompanies"):
        listen(tiny_generator(Chorale(), source_vocabulary=64), piece)
    with pytest.raises(InputError, match="has 0 tokens in -1 s"):
        listen(generator, piece, seconds=-1)
    write_midi(tmp_path / "low.mid", Notes.of([0.0], [1.0], [5], [60]))
    with pytest.raises(InputError, match="no notes to play on a piano"):
        listen(generator, tmp_path / "low.mid")


@pytest.mark.parametrize("mixer", ["large_kernel", "axial", "deconstructed:variant=mlp"])
def test_a_mechanism_without_weights_between_all_notes_is_named(piece, mixer):
    with pytest.raises(UsageError, match=f"the mixer '{mixer}' has no attention weights from every note"):
        listen(tiny_generator(Piano(), mixer=mixer), piece)
