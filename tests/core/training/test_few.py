"""Which classes a training says are too rare."""

import logging

import pytest

from attn.core.training.few import LEAST_TRAIN, LEAST_VALIDATION, warn_of_few

ENOUGH = [[("spiral", i) for i in range(least)] for least in (LEAST_TRAIN, LEAST_VALIDATION)]


def said(caplog: pytest.LogCaptureFixture, train: list[tuple[str, int]], validation: list[tuple[str, int]]) -> str:
    caplog.clear()
    with caplog.at_level(logging.WARNING, "attn"):
        warn_of_few((train, validation), "images")
    return " | ".join(record.getMessage() for record in caplog.records)


def test_a_stray_label_is_named_with_its_count(caplog: pytest.LogCaptureFixture) -> None:
    train, validation = ENOUGH
    assert said(caplog, train, validation) == ""
    assert said(caplog, [*train, ("other", 1), ("other", 2), ("other", 3)], [*validation, ("other", 4)]) == (
        "too few images to learn or to judge the class 'other' (3 to train on, 1 to validate on): "
        "add images, or correct or remove these labels"
    )
    assert "'spiral' (10 to train on, 2 to validate on)" in said(caplog, train, validation[:-1])
    assert "'spiral' (9 to train on, 3 to validate on)" in said(caplog, train[:-1], validation)


def test_an_example_counts_once(caplog: pytest.LogCaptureFixture) -> None:
    assert "'spiral' (1 to train on, 3" in said(caplog, [("spiral", 0)] * 50, ENOUGH[1])


def test_many_are_one_sentence_that_names_the_rarest(caplog: pytest.LogCaptureFixture) -> None:
    train = [(f"c{k}", i) for k in range(8) for i in range(9 - k)]
    text = said(caplog, train, [])
    assert text.count("to train on") == 5 and "'c7' (2 to train on" in text and "3 more" in text and "|" not in text
