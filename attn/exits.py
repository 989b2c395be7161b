"""How a command ends: its exit code, and one line about what a user can mend.

Exit codes: 0 all well; 1 an input, a model or a run failed; 2 options that do not fit together; 130 interrupted;
141 the reader of the output has closed it, as `head` does.
"""

import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from attn.console import OUTPUT, fault, say
from attn.core.errors import AttnError, UsageError

INTERRUPTED, CLOSED = 130, 141


def run(command: Callable[[], int]) -> int:
    """Run a command and return its exit code; what a user can mend is one line instead of a traceback.

    SIGTERM interrupts the command as Ctrl-C does.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # the caller closed it
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that the terminal's encoding lacks must not end the command
        sys.stdout.reconfigure(errors="backslashreplace")
    with _terminable(), _saying_logs():
        code = _run(command)
    try:
        sys.stdout.flush()
    except OSError as error:
        error.filename = OUTPUT
        code = code or _failed(error)
        _abandon_output()
    return code


def stopped(stop: BaseException) -> int:
    """The exit code of a command that a KeyboardInterrupt or a BrokenPipeError ended; says so, in its words if any."""
    if isinstance(stop, BrokenPipeError):
        _abandon_output()
        return CLOSED
    say(str(stop) or "interrupted before the end; no output was left half-written")
    return INTERRUPTED


def _run(command: Callable[[], int]) -> int:
    try:
        return command()
    except (KeyboardInterrupt, BrokenPipeError) as stop:
        return stopped(stop)
    except AttnError as error:
        fault(str(error))
        return 2 if isinstance(error, UsageError) else 1
    except OSError as error:  # a place that cannot be written, a disk that is full
        return _failed(error)


def _failed(error: OSError) -> int:
    if isinstance(error, BrokenPipeError):
        return CLOSED
    where = f"{error.filename}: " if error.filename else ""
    fault(f"{where}{error.strerror or error}")
    return 1


def _abandon_output() -> None:
    """Point standard output nowhere: Python flushes it once more at its end, and would complain there."""
    with suppress(OSError, ValueError):  # a stream in memory has no descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Saying(logging.Handler):
    """What attn logs is said: a reader of files knows no terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say the message."""
        say(record.getMessage())


@contextmanager
def _saying_logs() -> Iterator[None]:
    handler, logger = _Saying(), logging.getLogger("attn")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM, which batch systems and `kill` send, raises KeyboardInterrupt, as Ctrl-C does."""
    process = os.getpid()

    def interrupt(*_: object) -> None:
        if os.getpid() != process:  # a child that was forked from this process ends quietly
            os._exit(128 + signal.SIGTERM)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
