"""Targets: classes, choices between classes, and what further columns teach."""

import numpy as np
import pytest

from attn.apps.galaxy.targets import class_targets, further_targets
from attn.core.errors import InputError

NAN = np.nan


def test_classes_are_one_hot_in_the_order_given():
    assert class_targets(["b", "a", "b"], ["b", "a"]).tolist() == [[1, 0], [0, 1], [1, 0]]


def test_a_choice_is_shared_evenly():
    target = class_targets(["a|c", "b", "a|b|c"], ["a", "b", "c"])
    np.testing.assert_allclose(target, [[0.5, 0, 0.5], [0, 1, 0], [1 / 3, 1 / 3, 1 / 3]], rtol=1e-6)
    np.testing.assert_allclose(class_targets(["a|a"], ["a", "b"]), [[1, 0]])


def test_a_class_may_have_a_bar_in_its_own_name():
    assert class_targets(["a|b", "a"], ["a", "a|b"]).tolist() == [[0, 1], [1, 0]]


def test_an_unknown_class_is_named_with_its_row_and_the_known_ones():
    with pytest.raises(InputError, match=r"row 2: unknown class 'x'; known: a, b"):
        class_targets(["a", "b|x"], ["a", "b"])


def test_t_types_are_a_thermometer():
    stages = list(range(-6, 12))
    target = further_targets({"T": [f"T{stage:+d}" for stage in stages]}, len(stages)).numpy()
    expected = np.array([[stage > step for step in stages[:-1]] for stage in stages], float)
    np.testing.assert_array_equal(target, expected)
    assert (target.sum(1) == range(18)).all()  # T-6 is more than nothing, T+11 more than all others


@pytest.mark.parametrize("cells", [["3", "-2.5", "10", "3"], ["T 3", "T-2.5", "T+10", "T+3.0"]])
def test_numbers_are_ordered_as_numbers_and_not_as_text(cells):
    if cells[0] == "T 3":
        cells[3] = "T 3"
    np.testing.assert_array_equal(further_targets({"n": cells}, 4), [[1, 0], [0, 0], [1, 1], [1, 0]])


def test_numbers_after_different_letters_are_categories():
    target = further_targets({"type": ["E0", "S0", "E0"]}, 3)
    np.testing.assert_array_equal(target, [[1, 0], [0, 1], [1, 0]])


def test_text_is_one_target_per_value_in_sorted_order():
    target = further_targets({"bar": ["weak", "none", " weak ", "strong"]}, 4)
    np.testing.assert_array_equal(target, [[0, 0, 1], [1, 0, 0], [0, 0, 1], [0, 1, 0]])


def test_lists_are_divided_by_the_largest_and_negative_is_unknown():
    cells = ["Bar=0.5;Incl=4", "Bar=-1;Incl=1", "Incl=2 ; Bar=0.25"]
    np.testing.assert_allclose(further_targets({"x": cells}, 3), [[1, 1], [NAN, 0.25], [0.5, 0.5]])


def test_names_missing_from_a_list_are_unknown_and_zeros_stay_zero():
    target = further_targets({"x": ["a=0;b=-1", "a=0", None]}, 3)
    np.testing.assert_array_equal(target, [[0, NAN], [0, NAN], [NAN, NAN]])


@pytest.mark.parametrize("missing", [None, "", "  ", "nan", "NaN"])
@pytest.mark.parametrize("known", [["1", "2"], ["x", "y"], ["a=1", "a=2"]])
def test_missing_cells_are_nan_in_every_kind_of_column(known, missing):
    target = further_targets({"c": [*known, missing]}, 3).numpy()
    assert np.isnan(target[2]).all() and not np.isnan(target[:2]).any()


def test_columns_stand_side_by_side():
    target = further_targets({"T": ["1", "2", "3"], "kind": ["x", "y", "x"]}, 3)
    np.testing.assert_array_equal(target, [[0, 0, 1, 0], [1, 0, 0, 1], [1, 1, 1, 0]])
    assert further_targets({}, 3).shape == (3, 0)


@pytest.mark.parametrize(
    "cells", [["1", "1", "1"], [None, "", " "], [str(k) for k in range(41)]], ids=["one", "none", "many"]
)
def test_a_column_that_teaches_nothing_is_refused(cells):
    with pytest.raises(InputError, match=r"'c' has (0|1|41) distinct values.*2 to 40"):
        further_targets({"c": cells}, len(cells))


@pytest.mark.parametrize("bad", ["a=x", "a=", "a=1;b=-", "a=e", "a=1;b", "a=1;b=2 c=3"])
def test_a_list_that_cannot_be_read_is_named_with_its_row(bad):
    with pytest.raises(InputError, match=r"row 2: .* in the column 'c' is not of the form name=value"):
        further_targets({"c": ["a=1;b=2", bad + ";z=1"]}, 2)
