"""Warnings of the libraries that decode files, when several threads read at once."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

_lock = RLock()


@contextmanager
def caught_warnings() -> Iterator[list[warnings.WarningMessage]]:
    """The warnings given in the block, all of them, and none to anyone else.

    One thread at a time, since Python (before 3.14) keeps one filter per process: two threads that each replaced it
    and put it back would read each other's warnings, and leave the process with a filter that swallows everything.
    """
    with _lock, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught
