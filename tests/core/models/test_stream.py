"""Streams keep their order and their memory, and give every bad input its reason."""

import threading
import time
from collections.abc import Iterator

import pytest

from attn.core.errors import InputError, UsageError
from attn.core.models.stream import answer_stream, predict_stream
from attn.core.results.prediction import Prediction


def read(x: int) -> int:
    if x % 5 == 3:
        raise InputError("is bad", where=f"input {x}")
    time.sleep(0.001 * (x % 3))  # later inputs are ready before earlier ones
    return 10 * x


@pytest.mark.parametrize("readers", [0, 1, 4])
@pytest.mark.parametrize("count", [0, 1, 4, 5, 23])
def test_every_input_has_its_own_answer_in_order(readers: int, count: int) -> None:
    sizes = []

    def answer(ys: list[int]) -> list[str]:
        sizes.append(len(ys))
        return [f"answer to {y}" for y in ys]

    pairs = list(answer_stream(range(count), read, answer, batch_size=4, readers=readers))
    assert [x for x, _ in pairs] == list(range(count))
    for x, found in pairs:
        assert str(found) == (f"input {x}: is bad" if x % 5 == 3 else f"answer to {10 * x}")
    assert all(1 <= size <= 4 for size in sizes)


@pytest.mark.parametrize("readers", [0, 3])
def test_no_more_than_a_few_batches_are_held(readers: int) -> None:
    taken = 0

    def endless() -> Iterator[int]:
        nonlocal taken
        while True:
            yield taken
            taken += 1

    stream = answer_stream(endless(), lambda x: x, list, batch_size=4, readers=readers)
    for number, (x, _) in zip(range(50), stream, strict=False):
        assert x == number
        assert taken <= number + 4 * 4
    stream.close()
    time.sleep(0.01)
    assert threading.active_count() < 10


def test_answers_may_be_a_generator() -> None:
    def answer(ys: list[int]) -> Iterator[int]:
        yield from (y + 1 for y in ys)

    assert list(answer_stream(iter([1, 2, 3]), lambda x: x, answer, batch_size=2)) == [(1, 2), (2, 3), (3, 4)]


def test_a_batch_without_a_good_input_is_not_answered() -> None:
    def answer(ys: list[int]) -> list[int]:
        raise AssertionError

    (pair,) = answer_stream([3], read, answer, batch_size=2)
    assert isinstance(pair[1], InputError)


@pytest.mark.parametrize("readers", [0, 2])
def test_options_that_do_not_fit_end_the_stream(readers: int) -> None:
    def refuse(x: int) -> int:
        raise UsageError("--hdu does not go with --bands")

    with pytest.raises(UsageError):
        list(answer_stream([1], refuse, list, batch_size=2, readers=readers))


@pytest.mark.parametrize("readers", [0, 2])
def test_a_bug_is_not_taken_for_a_bad_input(readers: int) -> None:
    with pytest.raises(ZeroDivisionError):
        list(answer_stream([0], lambda x: 1 // x, list, batch_size=2, readers=readers))


def test_a_bad_input_is_a_failed_prediction() -> None:
    def answer(ys: list[int]) -> list[Prediction]:
        return [Prediction.from_probabilities(str(y), ["a", "b"], [0.25, 0.75], model="m") for y in ys]

    found = list(predict_stream([2, 3, 4], read, answer, name="number {}".format, model="m", batch_size=2))
    assert [one.id for one in found] == ["20", "number 3", "40"]
    assert (found[1].error, found[1].model, found[1].label) == ("input 3: is bad", "m", None)
    assert found[0].label == "b"
