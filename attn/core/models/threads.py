"""Small work on one thread of the CPU, whatever the number that the rest of the program uses."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_lock = threading.Lock()
_inside = 0
_outside = 0  # how many threads torch uses when nobody is inside


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread within the block, and afterwards as many as before.

    The number belongs to the whole process, so that blocks in several Python threads share it: the first one to enter
    remembers it, and all restore it.
    """
    global _inside, _outside
    with _lock:
        if not _inside:
            _outside = torch.get_num_threads()
        _inside += 1
        before = _outside
    try:
        if before != 1:
            torch.set_num_threads(1)
        yield
    finally:
        with _lock:
            _inside -= 1
            if before != 1:
                torch.set_num_threads(before)
