"""Calls into C libraries that a damaged file can crash or hang, made in a process of their own.

wcslib and HDF5 follow what a file declares: a few wrong bytes crash the process, never end, or take gigabytes, and no
exception can be caught. `call` runs a function of ours in a worker process, which is started once and lives as long as
calls end well. Arrays go in and come out as `.npz`, so that nothing is unpickled.
"""

import atexit
import contextlib
import importlib
import io
import os
import signal
import struct
import subprocess
import sys
import threading
from typing import BinaryIO, cast

import numpy as np

from attn.core.errors import InputError
from attn.data_adapters.boundary import reason

SECONDS = 3.0  # of CPU time for one call
PATIENCE = 120.0  # seconds until a call that waits for a disk is given up
MEMORY = 1 << 30  # bytes of the worker
_LENGTH = struct.Struct("<Q")


def call(function: str, where: object, what: str, **arrays: object) -> dict[str, np.ndarray]:
    """What `function` ("module:name") returns for these arrays in the worker process.

    The function takes numpy arrays by name, text as arrays without dimensions, and returns a dict of the same kind.
    InputError, with `where`: the InputError that it raises, else `what` with the reason: any other exception, a crash,
    or more than SECONDS, PATIENCE or MEMORY.
    """
    with _lock:
        try:
            answer = _worker().ask(_packed({"function": function, **arrays}))
        except OSError as error:
            raise InputError(f"{what} (no process can be started: {reason(error)})", where=str(where)) from error
    if answer is None:
        raise InputError(f"{what} (its library crashed or took too long)", where=str(where), hint="the file is damaged")
    found = _unpacked(answer)
    if "error" in found:
        raise InputError(str(found["error"]), where=str(where), hint=str(found["hint"]) or None)
    if "failure" in found:
        raise InputError(f"{what} ({found['failure']})", where=str(where), hint="the file is damaged; get it again")
    return found


def serve() -> None:
    """The worker's loop: answer calls until standard input ends."""
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not be taken for an answer
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    while (message := _received(source)) is not None:
        _send(sink, _packed(_answer(_unpacked(message))))


def _answer(arrays: dict[str, np.ndarray]) -> dict[str, object]:
    module, _, name = str(arrays.pop("function")).partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
        _limit_time(SECONDS, PATIENCE)
        return dict(function(**arrays))
    except InputError as error:
        return {"error": error.what, "hint": error.hint or ""}
    except Exception as error:
        return {"failure": reason(error)}
    finally:
        _limit_time(0, 0)


def _limit_time(seconds: float, patience: float) -> None:
    """Let the system end this process, also inside a C library, after so much CPU and wall time; 0 takes that back."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_REAL, patience)


class _Worker:
    """The parent's end of one worker process."""

    def __init__(self) -> None:
        start = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve()"
        quiet = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", start],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **quiet},
        )

    def ask(self, message: bytes) -> bytes | None:
        """The answer, None when the process did not live to give one."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            _send(cast(BinaryIO, self.process.stdin), message)
            answer = _received(cast(BinaryIO, self.process.stdout))
        except BrokenPipeError:
            answer = None
        except BaseException:  # Ctrl-C between question and answer: the next answer would be to this question
            self.end()
            raise
        if answer is None:
            self.end()
        return answer

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                cast(BinaryIO, pipe).close()


_lock = threading.Lock()
_workers: list[_Worker] = []  # the one that is alive, if any
_inherited: list[_Worker] = []  # of the process that this one was forked from: not ours to ask or to end


def _worker() -> _Worker:
    if not _workers or _workers[0].process.poll() is not None:
        _workers[:] = [_Worker()]
    return _workers[0]


def _end() -> None:
    while _workers:
        _workers.pop().end()


def _forked() -> None:
    global _lock
    _lock = threading.Lock()
    _inherited.extend(_workers)
    _workers.clear()


atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _packed(arrays: dict[str, object]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _unpacked(message: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(message), allow_pickle=False) as arrays:
        return dict(arrays)


def _send(sink: BinaryIO, message: bytes) -> None:
    sink.write(_LENGTH.pack(len(message)) + message)
    sink.flush()


def _received(source: BinaryIO) -> bytes | None:
    """The next message, None at the end of the stream."""
    head = source.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    message = source.read(_LENGTH.unpack(head)[0])
    return message if len(message) == _LENGTH.unpack(head)[0] else None
