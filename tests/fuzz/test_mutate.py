"""The fuzzer itself: it repeats, and it finds each of the faults that it is there for."""

import json
import mmap
import os
import time
import warnings
from collections.abc import Callable

import pytest
from fuzz.mutate import fuzz, json_mutants, mutants

from attn.core.errors import InputError

GOOD = json.dumps({"a": [1, 2.5, "x"], "b": {"c": None}}).encode()


def test_inputs_are_the_same_in_every_run_and_differ_from_one_another() -> None:
    first, again = (list(mutants([GOOD], 200, "s")) for _ in range(2))
    assert first == again
    assert list(mutants([GOOD], 50, "s")) == first[:50]
    assert list(mutants([GOOD], 50, "t")) != first[:50]
    assert len({*first}) > 150


def test_documents_are_damaged_and_the_original_is_not() -> None:
    document = json.loads(GOOD)
    texts = [json.dumps(changed) for changed in json_mutants(document, 200, "s")]
    assert texts == [json.dumps(changed) for changed in json_mutants(document, 200, "s")]
    assert len({*texts}) > 100
    assert document == json.loads(GOOD)


def test_outcomes_are_counted() -> None:
    def read(data: bytes) -> None:
        if data[:1] != b"{":
            raise InputError("no object")

    outcomes = fuzz(read, [b"{}", b"x", b"{1}"])
    assert outcomes == {"read": 2, "InputError": 1}


def _exception(_: bytes) -> None:
    raise KeyError("k")


def _warning(_: bytes) -> None:
    warnings.warn("careful", RuntimeWarning, stacklevel=1)


def _noise(_: bytes) -> None:
    os.write(2, b"libsomething: error\n")


def _slow(_: bytes) -> None:
    end = time.process_time() + 2
    while time.process_time() < end:
        pass


def _large(_: bytes) -> None:
    size = 64 * 2**20
    with mmap.mmap(-1, size) as memory:  # the allocator may have this much to give that a training has freed
        for start in range(0, size, mmap.PAGESIZE):
            memory[start] = 1


def _two_lines(_: bytes) -> None:
    raise InputError(" ") from None


@pytest.mark.parametrize(
    ("read", "fault"),
    [
        (_exception, "KeyError"),
        (_warning, "RuntimeWarning"),
        (_noise, "standard error"),
        (_slow, "too long"),
        (_large, "MB"),
        (_two_lines, "not one sentence"),
    ],
)
def test_faults_are_found(read: Callable[[bytes], None], fault: str) -> None:
    with pytest.raises(AssertionError, match=f"1 kinds of faults\ninput 0: .*{fault}"):
        fuzz(read, [b"x", b"y"], seconds=0.2, growth=32 * 2**20)
