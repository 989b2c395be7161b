"""Bars and voices written anew: what lies beside them stays note for note."""

import numpy as np
import pytest
from music_fixtures import chorale_grid, tiny_generator

from attn.apps.music.decode import Sampling
from attn.apps.music.fill import Fill, style_of_gap
from attn.apps.music.styles import Chorale
from attn.core.errors import UsageError
from attn.data_adapters.midi.chorales import grid_to_voices
from attn.data_adapters.midi.file import read_midi
from attn.data_adapters.midi.metre import Metre
from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.tempo import TempoMap
from attn.data_adapters.midi.voices import notes_to_grid
from attn.data_adapters.midi.writer import Part, write_midi

COLUMNS = ("start", "end", "pitch", "velocity")


@pytest.fixture(scope="module")
def composer():
    return tiny_generator(Chorale())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fill")
    for number, bpm in ((0, 80.0), (1, 120.0)):
        write_midi(folder / f"{number}.mid", grid_to_voices(chorale_grid(number, bars=4), bpm=bpm), bpm=bpm)
    return folder


@pytest.mark.parametrize(
    ("text", "voices", "bars"),
    [
        ("bars 5-8", (0, 1, 2, 3), (5, 8)),
        ("3", (0, 1, 2, 3), (3, 3)),
        (" Alto, tenor ", (1, 2), None),
        ("tenor alto bars 2-2", (1, 2), (2, 2)),
    ],
)
def test_what_is_to_be_filled(text, voices, bars):
    assert Fill.of(text) == Fill(voices, bars)


def test_the_model_that_fills_is_that_of_the_music(folder, tmp_path):
    """Four voices on a grid are a chorale; played freely, in chords of five or with a pedal they are not."""
    rng = np.random.default_rng(0)
    voices = grid_to_voices(chorale_grid(0, bars=4), bpm=80.0)
    everything = Notes.of(*(np.concatenate([getattr(notes, c) for notes in voices.values()]) for c in COLUMNS))
    free = rng.uniform(0, 0.05, len(everything))
    played = Notes.of(everything.start + free, everything.end + free, everything.pitch, everything.velocity)
    fifth = Notes.of(np.arange(9), np.arange(9) + 1.0, [40] * 9, [80] * 9)
    pieces = {
        "free": [Part("", played)],
        "thick": [Part("", everything.joined(everything.transposed(1)).joined(fifth))],
        "pedal": [Part("", everything, np.array([[0.0, 1.0]]))],
        "melody": [Part("", voices["Soprano"])],
        "reduced": [Part("", everything)],
    }
    for name, parts in pieces.items():
        write_midi(tmp_path / f"{name}.mid", parts, bpm=80.0)
    bars = Fill.of("bars 2-3")
    found = {name: style_of_gap([tmp_path / f"{name}.mid"], bars) for name in pieces}
    assert found == {"free": "piano", "thick": "piano", "pedal": "piano", "melody": "piano", "reduced": "chorale"}
    assert style_of_gap([folder / "0.mid", folder / "1.mid"], None) == "chorale"
    assert style_of_gap([folder / "0.mid", tmp_path / "free.mid"], None) == "piano"
    assert style_of_gap([tmp_path / "free.mid"], Fill.of("alto 2")) == "chorale"


@pytest.mark.parametrize("text", ["", "bars", "0-1", "8-5", "1 2", "oboe 3", "-3", "1-", "9" * 5000, "٣"])
def test_what_says_nothing_to_fill_is_one_sentence(text):
    with pytest.raises(UsageError, match="does not say what to fill"):
        Fill.of(text)


@pytest.mark.parametrize(
    ("text", "rows", "voices"),
    [("2-3", slice(16, 48), [0, 1, 2, 3]), ("tenor 4", slice(48, 64), [2]), ("alto,bass", slice(0, 64), [1, 3])],
)
def test_only_the_gap_is_written(composer, folder, tmp_path, text, rows, voices):
    grid = chorale_grid(0, bars=4)
    gap = np.zeros(grid.shape, bool)
    gap[rows, voices] = True
    pieces = composer.generate(folder / "0.mid", fill=text, samples=2, candidates=2, seed=1)
    assert len(pieces) == 2
    for piece in pieces:
        found = composer.style.grid(piece.ids)
        np.testing.assert_array_equal(found[~gap], grid[~gap])
        assert (found[gap] >= 0).all() and (found[gap] != grid[gap]).any()
        piece.save(tmp_path / "out.mid")
        np.testing.assert_array_equal(notes_to_grid(read_midi(tmp_path / "out.mid")), found)


def test_repeated_notes_beside_the_gap_stay_and_notes_that_reach_into_it_are_cut(composer, tmp_path):
    beats = np.arange(16.0)
    soprano = Notes.of(beats, beats + 0.9, [72] * 16, [70] * 16)
    others = {name: Notes.of([0.0], [16.0], [pitch], [70]) for name, pitch in (("A", 65), ("T", 60), ("B", 48))}
    write_midi(tmp_path / "in.mid", {"S": soprano, **others}, bpm=60.0)
    (piece,) = composer.generate(tmp_path / "in.mid", fill="2", candidates=1)
    found = piece.parts["Soprano"]
    outside = found.where((found.start < 4 - 1e-6) | (found.start >= 8 - 1e-6))
    np.testing.assert_allclose(outside.start, [*range(4), *range(8, 16)], atol=1e-3)
    alto = piece.parts["Alto"]
    assert alto.end[0] == pytest.approx(4.0, abs=1e-3) and alto.start[-1] == pytest.approx(8.0, abs=1e-3)


def test_between_two_pieces_lie_the_bars_asked_for_in_the_tempo_of_the_first(composer, folder, tmp_path):
    (piece,) = composer.generate(folder / "0.mid", before=folder / "1.mid", bars=2, candidates=2, seed=3)
    found = composer.style.grid(piece.ids)
    assert len(found) == 64 + 32 + 64 and (found >= 0).all()
    np.testing.assert_array_equal(found[:64], chorale_grid(0, bars=4))
    np.testing.assert_array_equal(found[96:], chorale_grid(1, bars=4))
    piece.save(tmp_path / "out.mid")
    assert notes_to_grid(read_midi(tmp_path / "out.mid")).shape == (160, 4)
    assert read_midi(tmp_path / "out.mid").tempo.bpm.tolist() == pytest.approx([80.0])


def test_bar_lines_of_the_second_piece_begin_where_its_file_does(composer, folder, tmp_path):
    voices = grid_to_voices(chorale_grid(2, bars=3), bpm=80.0)
    write_midi(tmp_path / "waltz.mid", voices, tempo=TempoMap.of_bpm(80.0), metre=Metre(((0.0, 3, 4),)))
    (piece,) = composer.generate(folder / "0.mid", before=tmp_path / "waltz.mid", bars=1, candidates=1)
    assert piece.notation.metre.changes[-1] == (20.0, 3, 4)


def test_of_several_candidates_the_one_that_leads_on_best_is_taken(composer, folder):
    """Against the model run anew over whole candidates."""
    import torch

    from attn.apps.music.compose import candidate_seed
    from attn.apps.music.craft import parallels
    from attn.apps.music.rules import PARALLEL
    from attn.apps.music.styles import EDGE

    settings = {"fill": "2", "sampling": Sampling()}
    (best,) = composer.generate(folder / "0.mid", seed=4, candidates=5, **settings)
    scores = []
    singles = [
        composer.generate(folder / "0.mid", seed=candidate_seed(4, k), candidates=1, **settings)[0] for k in range(5)
    ]
    for piece in singles:
        ids = torch.tensor([[EDGE, *piece.ids.tolist()]])
        with torch.inference_mode():
            logp = composer.model(ids[:, :-1]).double().log_softmax(-1).gather(-1, ids[:, 1:, None])[0, :, 0]
        scores.append(float(logp[32 * 4 : 48 * 4].sum()) - PARALLEL * sum(parallels(composer.style.grid(piece.ids))))
    np.testing.assert_array_equal(best.ids, singles[int(np.argmax(scores))].ids)
    assert len(set(scores)) > 1


def test_what_cannot_be_filled_is_one_sentence(composer, folder):
    motif = folder / "0.mid"
    for settings in (
        {"fill": "9"},
        {"fill": "2", "bars": 3},
        {"fill": "2", "end": True},
        {"before": motif, "fill": "2"},
    ):
        with pytest.raises(UsageError):
            composer.generate(motif, **settings)
    with pytest.raises(UsageError, match="no piece to fill"):
        composer.generate(fill="2")
