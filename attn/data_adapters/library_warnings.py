"""What the libraries that decode files say beside their exceptions, when several threads read at once."""

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import RLock

_lock = RLock()
_output_lock = RLock()
PANIC = b"panicked at"  # in what Rust writes before the exception that the caller gets


@contextmanager
def caught_warnings() -> Iterator[list[warnings.WarningMessage]]:
    """Collect all warnings given in the block; they reach nobody else.

    One thread at a time, since Python (before 3.14) keeps one filter per process: two threads that each replaced it
    and put it back would read each other's warnings, and leave the process with a filter that swallows everything.
    """
    with _lock, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


@contextmanager
def caught_panics() -> Iterator[None]:
    """Keep the traces of Rust's panics, which polars lets through on damaged files, from standard error.

    Rust writes to file descriptor 2 itself, from threads of its own. Until the block ends the descriptor is a file;
    what else came, from other threads, is written after it. Keep the block short.
    """
    with _output_lock, tempfile.TemporaryFile() as held:
        try:
            kept = os.dup(2)
        except OSError:  # this process has no standard error
            yield
            return
        try:
            os.dup2(held.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            held.seek(0)
            said = held.read()
            if said and PANIC not in said:
                with suppress(OSError):
                    os.write(kept, said)
            os.close(kept)
