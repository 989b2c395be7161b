"""What music is guided towards, on pieces whose value is known; a hunt measures the model's own continuations."""

import numpy as np
from music_fixtures import chorale_grid, performance, tiny_generator

from attn.apps.music import objectives as measured
from attn.apps.music.compose import Composition
from attn.apps.music.look import Batch
from attn.apps.music.notation import GridNotation
from attn.apps.music.objectives import MEASURES, objectives
from attn.apps.music.styles import CHORALE_BPM, Chorale, Piano
from attn.core.decoding.guidance import Guidance
from attn.data_adapters.midi.chorales import grid_to_voices
from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.tempo import TempoMap
from attn.data_adapters.midi.writer import write_midi


def piece(pitch: list[list[int]], motif: int) -> Composition:
    """Chords, one a second, the first `motif` of them given."""
    start = np.concatenate([[float(second)] * len(chord) for second, chord in enumerate(pitch)])
    notes = Notes.of(start, start + 1, np.concatenate(pitch), np.full(len(start), 64))
    notation = GridNotation(TempoMap.of_bpm(CHORALE_BPM), steps=0)
    return Composition({"": notes}, float(motif), np.zeros(0), notation, seconds=float(len(pitch)))


def test_measures_of_known_pieces() -> None:
    melody = [[60], [62], [64], [65], [60]]
    again = piece(melody + [[pitch + 7 for pitch in chord] for chord in melody], 5)
    other = piece([*melody, [72], [60], [71], [61], [70]], 5)
    assert (MEASURES["repetition"](again), MEASURES["repetition"](other)) == (1, 0)
    sweet, sour = piece([[60, 61], [60, 64, 67]], 1), piece([[60, 64], [60, 61], [60, 66]], 1)
    assert (MEASURES["consonance"](sweet), MEASURES["consonance"](sour)) == (1, 0)
    assert MEASURES["density"](piece([[60], [60, 64, 67], [62]], 1)) == 2
    silent = piece([[60], [62]], 2)
    assert [measure(silent) for measure in (MEASURES["repetition"], MEASURES["consonance"])] == [0, 0]


def test_the_same_pairs_are_measured_with_any_heads(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(measured, "PAIRS", 2)
    monkeypatch.setattr(measured, "BARS", 1)
    voices = grid_to_voices(chorale_grid(0, bars=1), bpm=CHORALE_BPM)
    write_midi(tmp_path / "m.mid", voices, bpm=CHORALE_BPM)
    batch = Batch((str(tmp_path / "m.mid"),), (), {})
    density = objectives(tiny_generator(Chorale()))["density"]
    plain = density([batch], None)
    assert plain.shape == (2,) and plain.tolist() == density([batch], Guidance({"blocks.0.mixer": (0,)}, 0.0)).tolist()
    assert plain.tolist() != density([batch], Guidance({"blocks.0.mixer": (0,)}, 3.0, 1.0)).tolist()


def test_the_seconds_of_a_motif_are_counted_from_its_first_note(monkeypatch, tmp_path) -> None:
    """Ten seconds of rest before it."""
    monkeypatch.setattr(measured, "PAIRS", 2)
    monkeypatch.setattr(measured, "SECONDS", 1.0)
    write_midi(tmp_path / "m.mid", performance(0, 30).shifted(10))
    density = objectives(tiny_generator(Piano()))["density"]
    assert (density([Batch((str(tmp_path / "m.mid"),), (), {})], None) > 0).all()


def test_what_accompanies_has_no_such_objective() -> None:
    style = Chorale()
    assert objectives(tiny_generator(style, source_vocabulary=style.size)) == {}
