"""The soft rules: what they lower, and that strength 0 lowers nothing."""

import numpy as np
import pytest
import torch
from music_fixtures import performance, tiny_generator

from attn.apps.music.craft import parallels
from attn.apps.music.decode import Sampling, guided
from attn.apps.music.predict import MusicGenerator
from attn.apps.music.rules import PARALLEL, parallel_bias, striking_bias
from attn.apps.music.styles import Chorale, Piano
from attn.core.errors import UsageError


def test_parallel_fifths_and_octaves_cost_and_other_motion_does_not():
    """Brute force over all pitches: the bias falls where `parallels` counts one more."""
    draw = np.random.default_rng(0)
    for _ in range(40):
        before, upper = draw.integers(3, 40, 4), draw.integers(3, 40, 2)
        bias_v = parallel_bias(before[None], upper[None], 3, 40)[0]
        for candidate in range(3, 40):
            counted = sum(sum(parallels(np.array([[before[u], before[2]], [upper[u], candidate]]))) for u in range(2))
            assert (bias_v[candidate] == -PARALLEL) == (counted > 0)
        assert not bias_v[:3].any()


def test_a_crowd_and_a_rush_cost():
    bias_b = striking_bias(np.array([1.0, 2.0, 9.0, 0.0]), np.array([3, 3, 12, 9]))
    assert bias_b[0] == 0 > bias_b[1] > bias_b[2] and bias_b[3] < 0
    assert striking_bias(np.array([0.5, 1.0, 1.1]), np.zeros(3), wanted=True).tolist() == pytest.approx([1, 0, -2])


def test_a_piano_plays_the_density_and_in_the_register_that_are_wanted():
    pianist, counts = tiny_generator(Piano()), []
    for density in (1.0, 30.0):
        how = Sampling(rules=4.0)
        (piece,) = pianist.generate(seconds=4, seed=1, sampling=how, density=density, pitches=(60, 64))
        assert set(piece.notes.pitch.tolist()) <= set(range(60, 65))
        counts.append(len(piece.notes))
    assert 0 < counts[0] < 12 < counts[1]


def test_the_bundled_piano_plays_about_the_density_that_is_wanted_from_the_beginning():
    (piece,) = MusicGenerator.load(None, bundled="piano").generate(seconds=12, seed=0, density=4.0)
    assert 0.7 * 4 <= len(piece.notes) / 12 <= 1.4 * 4
    assert (piece.notes.start < 0.5).sum() <= 6


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"density": 3.0, "sampling": Sampling()}, "sampling without rules"),
        ({"pitches": (110, 120)}, "no pitch in that register"),
        ({"pitches": (64, 60)}, "the lowest and the highest"),
        ({"density": 0.0}, "density"),
    ],
)
def test_a_density_or_a_register_that_cannot_be_is_one_sentence(settings, said):
    with pytest.raises(UsageError, match=said):
        tiny_generator(Piano()).generate(seconds=1, **settings)
    with pytest.raises(UsageError, match="voices have their ranges"):
        tiny_generator(Chorale()).generate(bars=1, pitches=(60, 64))


def test_infinite_rules_forbid_only_where_something_is_left():
    bias_bv, allowed_bv = np.array([[0.0, -1.0], [-1.0, -1.0]]), np.ones((2, 2), bool)
    logits_bv = torch.zeros(2, 2)
    assert guided(logits_bv, allowed_bv, bias_bv, float("inf"))[1].tolist() == [[True, False], [True, True]]
    soft_bv, same_bv = guided(logits_bv, allowed_bv, bias_bv, 2.0)
    assert soft_bv.tolist() == [[0, -2], [-2, -2]] and same_bv.all()


@pytest.mark.parametrize("seed", range(2))
def test_strict_chorales_have_fewer_parallels(seed):
    composer = tiny_generator(Chorale())
    counts = []
    for rules in (0.0, float("inf")):
        pieces = composer.generate(bars=2, samples=4, seed=seed, sampling=Sampling(rules=rules))
        counts.append(sum(sum(parallels(Chorale().grid(piece.ids))) for piece in pieces))
    assert counts[1] < counts[0] / 4


def test_a_piano_with_rules_stays_nearer_to_its_density():
    pianist = tiny_generator(Piano())
    motif = performance(0, count=16)
    rates = []
    for rules in (0.0, 3.0):
        (piece,) = pianist.generate(motif, seconds=6, seed=1, sampling=Sampling(rules=rules))
        rates.append(len(piece.notes.where(piece.notes.start >= piece.motif_seconds)))
    assert rates[1] < rates[0]
