"""Gaps in performances: what lies around them stays note for note, and the likeliest way to what follows is kept."""

import numpy as np
import pytest
import torch
from music_fixtures import performance, tiny_generator

from attn.apps.music.compose import candidate_seed
from attn.apps.music.decode import Sampling
from attn.apps.music.styles import EDGE, Piano
from attn.core.errors import UsageError
from attn.data_adapters.midi.file import read_midi, with_sustain
from attn.data_adapters.midi.metre import Metre
from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.tempo import TempoMap
from attn.data_adapters.midi.writer import Part, write_midi

RULELESS = Sampling(temperature=0.9)
WALTZ = Metre(((0.0, 3, 4),))


@pytest.fixture(scope="module")
def pianist():
    return tiny_generator(Piano())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eighths: a.mid at 120 quarters a minute in 4/4, four bars; b.mid at 60 in 3/4, with a rest of two beats first."""
    folder = tmp_path_factory.mktemp("gap")
    eighth = np.arange(32) * 0.25
    scale = 60 + np.tile([0, 2, 4, 5, 7, 5, 4, 2], 4)
    a = Part("Left", Notes.of(eighth, eighth + 0.2, scale, np.arange(40, 72)), np.array([[0.5, 7.5]]), 6)
    write_midi(folder / "a.mid", [a])
    b = Notes.of(eighth[4:10] * 2, eighth[4:10] * 2 + 0.5, scale[:6] + 5, [90] * 6)
    write_midi(folder / "b.mid", b, bpm=60, metre=WALTZ)
    return folder


def rows(notes: Notes) -> list[tuple[float, float, int, int]]:
    return [
        (round(s, 3), round(e, 3), p, v)
        for s, e, p, v in zip(notes.start, notes.end, notes.pitch.tolist(), notes.velocity.tolist(), strict=True)
    ]


def test_only_the_bars_of_the_gap_are_written(pianist, folder, tmp_path):
    (piece,) = pianist.generate(folder / "a.mid", fill="bars 2-3", candidates=2, seed=3)
    piece.save(tmp_path / "out.mid")
    before, after = read_midi(folder / "a.mid"), read_midi(tmp_path / "out.mid")
    outside = [(notes.start < 1.999) | (notes.start >= 5.999) for notes in (before.notes, after.notes)]
    assert rows(before.notes.where(outside[0])) == rows(after.notes.where(outside[1]))
    assert rows(before.notes.where(~outside[0])) != rows(after.notes.where(~outside[1])) != []
    assert after.seconds == pytest.approx(before.seconds) and [t.program for t in after.tracks] == [6]
    assert np.allclose(after.tracks[0].pedal, [[0.5, 2.0], [6.0, 7.5]])
    assert after.notes.where(~outside[1]).seconds <= 6.0


def test_a_rest_that_is_given_after_the_gap_stays(pianist):
    """Twenty seconds of rest, of which the bar has the first two; the model hears the rest after it."""
    motif = Notes.of([0, 1, 22, 23], [1, 2, 23, 24], [60, 64, 67, 72], [79] * 4)
    (piece,) = pianist.generate(motif, fill="2", candidates=2, seed=3)
    new = piece.notes.where((piece.notes.start > 1.999) & (piece.notes.start < 21.9))
    assert len(new) and new.seconds <= 4.0
    assert rows(piece.notes.where(piece.notes.start > 21.9)) == rows(motif.where(motif.start > 21.9))
    heard = Piano().notes(piece.ids)
    assert rows(heard.where(heard.start > 3.999)) == [(22, 23, 67, 79), (23, 24, 72, 79)]


@pytest.mark.parametrize(("text", "until"), [("1-2", 4.0), ("bar 4", 8.0), ("3-9", 8.0)])
def test_a_gap_at_either_end(pianist, folder, text, until):
    (piece,) = pianist.generate(folder / "a.mid", fill=text, candidates=2, seed=1, sampling=RULELESS)
    a = with_sustain(read_midi(folder / "a.mid"))
    first = {"1-2": 0.0, "bar 4": 6.0, "3-9": 4.0}[text]
    kept = a.where((a.start < first - 0.01) | (a.start >= until - 0.01))
    there = set(zip(piece.notes.start.round(2).tolist(), piece.notes.pitch.tolist(), strict=True))
    assert set(zip(kept.start.round(2).tolist(), kept.pitch.tolist(), strict=True)) <= there
    assert ((piece.notes.start >= first - 0.01) & (piece.notes.start < until - 0.01)).any()


def test_what_lies_between_two_has_the_tempo_of_the_first(pianist, folder, tmp_path):
    (piece,) = pianist.generate(folder / "a.mid", before=folder / "b.mid", bars=2, candidates=2, seed=5)
    piece.save(tmp_path / "out.mid")
    a, b, out = (read_midi(path) for path in (folder / "a.mid", folder / "b.mid", tmp_path / "out.mid"))
    place = 8.0 + 4.0  # after two bars of 4/4 at 120
    moved = Notes.of(place + b.notes.start / 2, place + b.notes.end / 2, b.notes.pitch, b.notes.velocity)
    gap = (out.notes.start >= 7.949) & (out.notes.start < place - 0.001)  # the two beats of rest after it are given
    assert rows(out.notes.where(~gap)) == rows(a.notes.joined(moved)) and gap.any()
    assert out.signatures == ((0.0, 4, 4), (place, 3, 4)) and np.allclose(out.tempo.bpm, 120)


def test_the_likeliest_way_to_what_follows_is_kept(pianist, folder):
    """Every candidate alone; the events after its gap scored by one pass of the model."""
    settings = {"fill": "bars 2-3", "sampling": RULELESS}
    (kept,) = pianist.generate(folder / "a.mid", candidates=3, seed=8, **settings)
    scores, starts = [], []
    for k in range(3):
        (piece,) = pianist.generate(folder / "a.mid", candidates=1, seed=candidate_seed(8, k), **settings)
        shift = Piano().vocabulary.time_shift
        ids = piece.ids
        steps = np.cumsum(np.where((ids >= shift.start) & (ids < shift.stop), ids - shift.start + 1, 0))
        given = int(np.searchsorted(steps, 600)) + 1  # the first event at six seconds
        with torch.no_grad():
            logp = pianist.model(torch.from_numpy(np.r_[EDGE, ids[:-1]])[None])[0].double().log_softmax(-1)
        scores.append(float(logp[np.arange(given, len(ids)), ids[given:]].sum()))
        starts.append(piece.ids.tolist())
    assert len({tuple(start) for start in starts}) == 3
    assert kept.ids.tolist() == starts[int(np.argmax(scores))]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"fill": "alto 2"}, "no voices"),
        ({"fill": "alto"}, "no voices"),
        ({"fill": "9-12"}, "no bar 9"),
        ({"fill": "2", "seconds": 3.0}, "as long as its gap"),
        ({"fill": "2", "end": True}, "as long as its gap"),
        ({"fill": "2", "before": "b.mid"}, "between two"),
    ],
)
def test_what_cannot_be_filled_is_one_sentence(pianist, folder, settings, said):
    with pytest.raises(UsageError, match=said):
        pianist.generate(folder / "a.mid", **settings)
    with pytest.raises(UsageError, match="no piece to fill"):
        pianist.generate(fill="2")


def test_notes_of_python_have_bars_too(pianist):
    motif = performance(1, count=40)
    (piece,) = pianist.generate(motif, fill="bar 2", candidates=1, seed=2)
    kept = motif.where((motif.start < 2) | (motif.start >= 4))
    assert TempoMap.of_bpm(120).bpm[0] == 120 and len(piece.notation.given[0].notes) == len(kept)
