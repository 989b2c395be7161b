"""Splits: no individual on two sides, never a test picture, and a reason where there is no split."""

from collections import Counter

import pytest

from attn.apps.reid.split import split_classes, split_individuals, told_apart
from attn.core.errors import TrainingError

NAMES = [f"a{i}" for i in range(20) for _ in range(5)] + [""] * 3


def test_individuals_are_on_one_side() -> None:
    split = split_individuals(NAMES, None, None)
    train, validation = ({NAMES[row] for row in rows} for rows in (split.train, split.validation))
    assert len(validation) == 3 and len(train) == 17 and not train & validation and "" not in train | validation
    assert sorted(split.train + split.validation) == [*range(100)]
    assert split == split_individuals(NAMES, None, None)


def test_an_individual_seen_once_cannot_validate() -> None:
    names = [*(f"once{i}" for i in range(50)), *"aabbccdd"]
    split = split_individuals(names, None, None)
    assert {names[row] for row in split.validation} <= {*"abcd"} and len(split.validation) == 4


def test_within_a_flank_it_takes_two_pictures_of_one_flank() -> None:
    names = [*"aabbccddeeff"]
    flanks = [*"LR" * 2, *"LL" * 4]
    split = split_individuals(names, flanks, None)
    assert not {names[row] for row in split.validation} & {"a", "b"}
    assert told_apart(names, flanks)[:2] == [("a", "L"), ("a", "R")] and told_apart(["a"], None) == [("a", "")]


def test_splits_that_are_given() -> None:
    splits = ["test"] * 50 + ["train"] * 40 + ["val"] * 13
    split = split_individuals(NAMES, None, splits)
    assert split.train == [*range(50, 90)] and split.validation == [*range(90, 100)]
    without = split_individuals(NAMES, None, ["test"] * 50 + ["train"] * 53)
    assert min(without.train + without.validation) == 50
    with pytest.raises(TrainingError, match="no labelled picture is of the split 'train'; there are test"):
        split_individuals(NAMES, None, ["test"] * 103)
    with pytest.raises(TrainingError, match="no two pictures of the split for validation"):
        split_individuals(NAMES, None, ["train"] * 99 + ["val"] * 4)


def test_too_few() -> None:
    with pytest.raises(TrainingError, match="only 3 individuals have two pictures"):
        split_individuals([*"aabbccd"], None, None)


def test_one_of_few_validates_among_individuals_seen_once() -> None:
    identities = ["a", "a", "b", "b", "c", "d", "e", "f", "g", "h", "i"]
    split = split_individuals(identities, None, None)
    held = {identities[row] for row in split.validation}
    assert len(held & {"a", "b"}) == 1 and len(held - {"a", "b"}) == 1
    assert sorted([*split.train, *split.validation]) == [*range(11)]
    assert not held & {identities[row] for row in split.train}
    for few in (["a", "a", "b", "b", "c"], ["a", "a", "b", "c", "d"], ["a", "a", "b", "b", "c", "c"]):
        with pytest.raises(TrainingError, match="two pictures that can be compared; training needs four"):
            split_individuals(few, None, None)


def test_classes_are_on_both_sides() -> None:
    split = split_classes(NAMES, None)
    assert not {*split.train} & {*split.validation}
    for rows, each in ((split.train, 4), (split.validation, 1)):
        assert Counter(NAMES[row] for row in rows) == {f"a{i}": each for i in range(20)}
    with pytest.raises(TrainingError, match="the class 'b' has a single picture"):
        split_classes([*"aab"], None)
    with pytest.raises(TrainingError, match="one label"):
        split_classes([*"aaa"], None)


def test_a_class_of_validation_alone_is_left_out() -> None:
    split = split_classes([*"aabbac"], ["train"] * 4 + ["val"] * 2)
    assert split.validation == [4]
