"""Which candidate is best."""

import numpy as np
import torch
from music_fixtures import performance, tiny_generator

from attn.apps.music.candidates import Candidates
from attn.apps.music.compose import Composition, candidate_seed
from attn.apps.music.decode import Sampling
from attn.apps.music.notation import GridNotation, PianoNotation
from attn.apps.music.styles import Chorale, Piano
from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.tempo import TempoMap


def chorale(grid):
    return Composition({}, 0.0, Chorale().encode(np.array(grid)), GridNotation(TempoMap.of_bpm(80)))


def heard(each, *logp):
    """Candidates whose one token each has such a probability."""
    ranked = Candidates(each)
    p = torch.tensor(logp).exp()
    ranked.hear(torch.stack([p, 1 - p], 1).log()[:, [1, 0]], torch.ones(len(logp), dtype=torch.long))
    return ranked


def test_the_likeliest_of_each_piece_and_parallels_count_against_it():
    clean, fifths = [[72, 67, 60, 48], [71, 67, 62, 55]], [[72, 65, 60, 48], [74, 67, 60, 48]]
    assert heard(2, -3.0, -2.0, -1.0, -4.0).best(Chorale(), [chorale(clean)] * 4) == [1, 2]
    assert heard(2, -3.0, -2.0).best(Chorale(), [chorale(clean), chorale(clean)]) == [1]
    assert heard(2, -3.0, -2.0).best(Chorale(), [chorale(clean), chorale(fifths)]) == [0]
    assert heard(2, -9.0, -2.0).best(Chorale(), [chorale(clean), chorale(fifths)]) == [1]


def test_a_performance_in_which_the_motif_comes_back_is_best():
    tune = [60, 62, 64, 65, 67, 69]

    def piece(pitch):
        start = 0.5 * np.arange(12)
        notes = Notes.of(start, start + 0.4, [*tune, *pitch], [70] * 12)
        return Composition({"": notes}, 3.0, np.zeros(0, int), PianoNotation(TempoMap.of_bpm(120)))

    other, same = piece([60, 50, 61, 49, 63, 52]), piece(tune)
    assert heard(2, -1.0, -5.0).best(Piano(), [other, same]) == [1]
    assert heard(2, -5.0, -1.0).best(Piano(), [other, other]) == [1]


def test_more_candidates_are_pieces_that_single_seeds_write():
    generator = tiny_generator(Piano())
    motif = performance(0)
    (best,) = generator.generate(motif, motif_seconds=1, seconds=0.3, seed=2, candidates=3, sampling=Sampling())
    singles = [
        generator.generate(motif, motif_seconds=1, seconds=0.3, seed=candidate_seed(2, k), sampling=Sampling())[0]
        for k in range(3)
    ]
    assert len({piece.ids.tobytes() for piece in singles}) == 3
    assert best.seed == 2 and any(np.array_equal(best.ids, piece.ids) for piece in singles)
