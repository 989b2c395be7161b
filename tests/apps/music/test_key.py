"""Keys of music whose key everybody knows."""

import numpy as np
import pytest

from attn.apps.music.key import Key, key_of, weights_of
from attn.data_adapters.midi.notes import Notes


def weights(*pitches: int) -> np.ndarray:
    return np.bincount(np.array(pitches) % 12, minlength=12).astype(float)


@pytest.mark.parametrize("tonic", range(12))
def test_scales_and_cadences_say_their_key(tonic):
    major = [0, 2, 4, 5, 7, 9, 11, 0, 4, 7, 0]
    minor = [0, 2, 3, 5, 7, 8, 11, 0, 3, 7, 0]
    assert key_of(weights(*(p + tonic for p in major))) == Key(tonic, True)
    assert key_of(weights(*(p + tonic for p in minor))) == Key(tonic, False)


def test_where_a_melody_ends_decides_between_close_keys():
    hexachord = weights(7, 7, 9, 11, 0, 2, 4, 7, 0)  # C or G
    assert {key_of(hexachord, last).tonic for last in (0, 7)} == {0, 7}


def test_too_few_classes_have_no_key():
    assert key_of(weights(0, 7)) is None and key_of(np.zeros(12)) is None


def test_chords_and_scale_of_a_key():
    assert np.flatnonzero(Key(7, True).triad).tolist() == [2, 7, 11]
    assert np.flatnonzero(Key(9, False).dominant).tolist() == [2, 4, 8, 11]
    assert np.flatnonzero(~Key(0, True).scale).tolist() == [1, 3, 6, 8, 10]


def test_long_notes_weigh_more_up_to_two_seconds():
    assert weights_of(Notes.of([0, 0, 0], [1, 9, 0.5], [60, 64, 72], [1, 1, 1]))[[0, 4]].tolist() == [1.5, 2.0]
