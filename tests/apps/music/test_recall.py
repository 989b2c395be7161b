"""Figures of a motif: what would go on with them, and that the grammar favours it."""

import numpy as np
import pytest

from attn.apps.music.grammar import PerformanceGrammar
from attn.apps.music.recall import Recall
from attn.apps.music.rules import RECALL
from attn.apps.music.styles import Piano
from attn.data_adapters.midi.notes import Notes


def tune(pitches: list[int], length: float = 0.5) -> Notes:
    start = length * np.arange(len(pitches))
    return Notes.of(start, start + length, pitches, [80] * len(pitches))


MOTIF = tune([60, 62, 64, 65, 67, 60])  # +2 +2 +1 +2 -7


def heard(pitches: list[int]) -> Recall:
    recall = Recall(MOTIF, 2)
    for k, pitch in enumerate(pitches):
        recall.hear(1, pitch, 50 * k)
    return recall


@pytest.mark.parametrize(
    ("pitches", "expected"),
    [
        ([], {}),
        ([70], {}),
        ([70, 72], {74: 1 / 3, 73: 1 / 3, 65: 1 / 3}),  # after +2 come +2, +1 and -7
        ([70, 72, 74], {76: 1 / 3, 75: 2 / 3, 67: 1 / 3}),
        ([70, 72, 74, 75], {77: 1.0}),
        ([40, 70, 72, 74, 75, 77], {70: 1.0, 78: 1 / 3, 79: 1 / 3}),
        ([70, 71, 70], {}),
    ],
)
def test_what_goes_on_with_a_figure(pitches, expected):
    recall = heard(pitches)
    assert dict(recall.targets(1, 50 * len(pitches))[0]) == pytest.approx(expected)
    assert recall.targets(0, 0) == ([], None)  # the other piece has heard nothing


def test_a_repeated_note_is_no_figure():
    recall = Recall(tune([60, 60, 60, 60, 62]), 1)
    for k in range(3):
        recall.hear(0, 70, 50 * k)
    assert dict(recall.targets(0, 150)[0]) == {72: 2 / 3}


def test_the_highest_note_of_a_chord_is_the_melody():
    recall = heard([70, 72, 74])
    recall.hear(1, 75, 150)
    recall.hear(1, 50, 151)
    assert recall.targets(1, 152)[1] == 75  # nothing is to be struck above it
    assert dict(recall.targets(1, 200)[0]) == {77: 1.0}
    recall.hear(1, 80, 153)  # but it was
    assert recall.targets(1, 154)[1] is None and recall.targets(1, 200)[0] == []


def test_the_grammar_favours_it_within_its_pitches():
    ids = Piano().encode(MOTIF)
    grammar = PerformanceGrammar(Piano().vocabulary, 1, 9.0, ids)
    bias_v = grammar.bias()[0, Piano().vocabulary.note_on.start :][:88]
    assert np.flatnonzero(bias_v > 0).tolist() == [] == Recall(tune([60]), 1).targets(0, 0)[0]
    begun = PerformanceGrammar(Piano().vocabulary, 1, 9.0, Piano().encode(tune([60, 62, 64, 65, 67, 60, 62, 64, 65])))
    bias_v = begun.bias()[0, Piano().vocabulary.note_on.start :][:88]
    assert bias_v[67 - 21] == RECALL == bias_v.max()
