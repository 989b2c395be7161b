"""Small work on one thread of the CPU, or on as many as make it faster, and the number of others left as it was."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from statistics import median

import torch

FIRST_PAUSE, LAST_PAUSE = 32, 2048  # steps
TRIED = 9  # steps, by whose median the two are compared
HOPELESS = 3.0  # times slower than alone: two such steps in a row are enough
WORTH = 0.95  # of the time alone

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


class Pace:
    """One thread or all for small steps that resemble each other, whichever is faster at the moment.

        with pace.step():
            ...

    Threads that share a small product wait for each other in a busy loop. On an idle machine they are faster; beside
    another busy process each wait may last until that process has had its turn. So one thread begins, all are tried
    after a while, and stay until they are slower; a try that failed is repeated later and later.
    """

    def __init__(self) -> None:
        self._together = False
        self._alone: deque[float] = deque(maxlen=TRIED)  # seconds of the newest steps on one thread
        self._shared: deque[float] = deque(maxlen=TRIED)  # and on all
        self._pause = self._left = FIRST_PAUSE  # steps on one thread before all are tried

    @contextmanager
    def step(self) -> Iterator[None]:
        """Run one step, and learn from the time that it takes."""
        began = time.perf_counter()
        with nullcontext() if self._together else one_thread():
            yield
        seconds = time.perf_counter() - began
        if torch.get_num_threads() == 1:
            return
        if not self._together:
            self._alone.append(seconds)
            self._left -= 1
            if self._left <= 0:
                self._together = True
                self._shared.clear()
            return
        self._shared.append(seconds)
        alone = median(self._alone)
        tried = len(self._shared) == TRIED
        hopeless = len(self._shared) > 1 and min(self._shared[-1], self._shared[-2]) > HOPELESS * alone
        if hopeless or (tried and median(self._shared) > WORTH * alone):
            self._together = False
            self._alone.clear()
            self._left = self._pause = min(4 * self._pause, LAST_PAUSE)
        elif tried:
            self._pause = FIRST_PAUSE
