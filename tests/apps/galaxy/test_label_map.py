"""What the labels of another table mean."""

import numpy as np
import pytest

from attn.apps.galaxy.label_map import read_map, same_labels
from attn.core.errors import UsageError

LABELS = ["elliptical", "irregular", "lenticular", "spiral"]
P = np.array([[0.4, 0.1, 0.2, 0.3], [0.0, 0.5, 0.0, 0.5]])


def test_one_label_of_the_table_for_several_of_the_model() -> None:
    found = read_map(["smooth = elliptical, lenticular"], LABELS)
    assert found.names == ["smooth", "irregular", "spiral"]
    assert found.class_of == {"smooth": 0, "elliptical": 0, "lenticular": 0, "irregular": 1, "spiral": 2}
    np.testing.assert_allclose(found.joined(P), [[0.6, 0.1, 0.3], [0, 0.5, 0.5]])


def test_several_labels_of_the_table_for_one_of_the_model() -> None:
    found = read_map(["smooth=E,S0"], ["smooth", "spiral"])
    assert (found.names, found.class_of) == (["E|S0|smooth", "spiral"], {"E": 0, "S0": 0, "smooth": 0, "spiral": 1})
    found = read_map(["edge-on=spiral"], LABELS)
    assert found.names == ["elliptical", "irregular", "lenticular", "edge-on|spiral"]
    assert found.class_of["edge-on"] == found.class_of["spiral"] == 3


def test_what_is_said_of_a_label_wins_over_the_model() -> None:
    found = read_map(["elliptical=lenticular", "lenticular=elliptical"], LABELS)
    assert found.class_of == {"lenticular": 0, "irregular": 1, "elliptical": 2, "spiral": 3}
    assert (found.names, found.members) == (["lenticular", "irregular", "elliptical", "spiral"], [[0], [1], [2], [3]])
    found = read_map(["early=elliptical,lenticular", "lenticular=spiral"], LABELS)
    assert found.names == ["early", "irregular", "lenticular|spiral"]
    assert found.class_of == {"early": 0, "elliptical": 0, "irregular": 1, "lenticular": 2, "spiral": 2}


def test_rows_can_be_left_out() -> None:
    found = read_map(["merger="], LABELS)
    assert (found.names, found.left_out) == (LABELS, {"merger"})


def test_without_a_map_the_labels_are_the_models() -> None:
    found = same_labels(LABELS)
    assert found.names == LABELS
    np.testing.assert_array_equal(found.joined(P), P)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["smooth"], "'smooth' is not of the form name=label,label"),
        (["=spiral"], "is not of the form"),
        (["smooth=round,oval"], "no label of the model on either side; it knows elliptical, irregular"),
        (["smooth=elliptical,lenticular", "red=elliptical"], "'elliptical' two meanings"),
    ],
)
def test_what_cannot_be_meant(texts: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_map(texts, LABELS)
