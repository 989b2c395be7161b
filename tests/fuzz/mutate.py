"""Deterministic mutation fuzzing: damaged copies of good files, and the boundary that a reader of them must hold.

    outcomes = fuzz(read, mutants([good], count, seed="fits"))
    assert outcomes["read"] and outcomes["InputError"]

`mutants` damages bytes, `json_mutants` values of a JSON document. Input number i depends on the seed and i alone, so
that a fault which the report names by its number comes back in every run that reaches this number.
"""

import gc
import os
import random
import resource
import signal
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeVar

from attn.core.errors import AttnError

SECONDS = 5.0  # of CPU time for one input
GROWTH = 2**30  # bytes that the process may grow by while it reads one input
REPORTED = 12

EDGES = (
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x00",
    b"-1",
    b"0",
    b"9" * 19,
    b"nan",
    b"\n",
)
NUMBERS = (0, -1, 1, 2, 3, 7, 0.5, -0.5, 1e-320, 1e308, 2**15, 2**31 - 1, 2**31, 2**53, 2**63, 10**30)
STRANGE = (
    None,
    True,
    False,
    "",
    "x",
    "1",
    "\ud800",
    "\x00",
    "../up",
    "a/b",
    "é" * 300,
    [],
    {},
    [[]],
    {"a": {"b": [1]}},
)
NOT_FINITE = (float("nan"), float("inf"), float("-inf"))

T = TypeVar("T")


def mutants(seeds: Sequence[bytes], count: int, seed: str) -> Iterator[bytes]:
    """`count` damaged copies of `seeds`, which take turns."""
    for number in range(count):
        dice = random.Random(f"{seed} {number}")
        data = bytearray(seeds[number % len(seeds)])
        for _ in range(dice.choice((1, 1, 1, 2, 4, 16))):
            _damage(data, dice, seeds)
        yield bytes(data)


def json_mutants(document: Any, count: int, seed: str) -> Iterator[Any]:
    """`count` copies of a JSON document with one to four of its values replaced, removed, moved or nested."""
    for number in range(count):
        dice = random.Random(f"{seed} {number}")
        changed = deepcopy(document)
        for _ in range(dice.choice((1, 1, 1, 2, 4))):
            changed = _disturb(changed, dice)
        yield changed


def fuzz(
    read: Callable[[T], object], inputs: Iterable[T], *, seconds: float = SECONDS, growth: int = GROWTH
) -> Counter[str]:
    """Give every input to `read`; how many were read ("read") and refused (the name of the AttnError).

    Fails with a list of inputs, by number, for every other exception, for a warning, for anything written to the
    process's standard error (C libraries write there), for more CPU time than `seconds` and for more memory than
    `growth` bytes.
    """
    outcomes: Counter[str] = Counter()
    faults: dict[str, str] = {}
    with _standard_error() as written, warnings.catch_warnings():
        warnings.simplefilter("error")
        gc.collect()
        for number, data in enumerate(inputs):
            start, before, said = time.process_time(), _reset_peak(), written()
            fault = None
            try:
                with _limit(seconds):
                    read(data)
                outcomes["read"] += 1
            except AttnError as error:
                outcomes[type(error).__name__] += 1
                if "\n" in str(error) or not 0 < len(str(error)) < 2000:
                    fault = f"a message that is not one sentence: {str(error)[:300]!r}"
            except _TooLong:
                fault = "takes too long"
            except (Exception, RecursionError) as error:
                fault = f"{type(error).__name__} at {_place(error)}: {str(error)[:200]}"
            spent, grown = time.process_time() - start, _peak() - before
            if fault is None and spent > seconds:
                fault = f"takes {spent:.1f} s"
            if fault is None and grown > growth:
                fault = f"takes {grown / 2**20:.0f} MB"
            if written() > said:
                fault = fault or "writes to standard error"
            if fault is not None:
                faults.setdefault(fault.split(":")[0], f"input {number}: {fault}")
    assert not faults, "\n".join([f"{len(faults)} kinds of faults", *list(faults.values())[:REPORTED]])
    return outcomes


def _damage(data: bytearray, dice: random.Random, seeds: Sequence[bytes]) -> None:
    """Change some bytes in place."""
    place = dice.randrange(len(data) + 1) if dice.random() < 0.5 else dice.randrange(min(len(data), 512) + 1)
    end = min(len(data), place + dice.choice((1, 2, 4, 16, 80, 512)))
    match dice.randrange(8):
        case 0 if place < len(data):
            data[place] ^= 1 << dice.randrange(8)
        case 1:
            del data[place:]
        case 2:
            del data[place:end]
        case 3:
            data[place:place] = dice.choice(EDGES)
        case 4:
            edge = dice.choice(EDGES)
            data[place : place + len(edge)] = edge
        case 5:
            data[place:place] = data[place:end] * dice.choice((1, 2, 50))
        case 6:
            other = dice.choice(seeds)
            data[place:end] = other[place:end]
        case _:
            data[place:end] = dice.randbytes(end - place)


def _disturb(document: Any, dice: random.Random) -> Any:
    """The document with one value changed, in place where there is a place."""
    places = list(_places(document))
    if not places:
        return dice.choice(STRANGE)
    holder, key = dice.choice(places)
    value = holder[key]
    match dice.randrange(10):
        case 0 | 1:
            holder[key] = dice.choice(NUMBERS)
        case 2:
            holder[key] = deepcopy(dice.choice(STRANGE))
        case 3:
            holder[key] = dice.choice(NOT_FINITE)
        case 4:
            del holder[key]
        case 5 if isinstance(value, int | float):
            holder[key] = dice.choice((-value, value + 1, value - 1, value * 2, value * 1000, float(value), str(value)))
        case 6:
            other, name = dice.choice(places)
            holder[key] = deepcopy(other[name]) if name in _keys(other) else None
        case 7:
            many = 2 if isinstance(value, dict | list) else 1000  # else the document itself would grow a thousandfold
            holder[key] = {"value": value} if dice.random() < 0.5 else [value] * dice.choice((1, 2, many))
        case 8 if isinstance(holder, dict):
            holder[dice.choice((f"{key}x", "dims", "causal", "size", "x", ""))] = deepcopy(value)
        case _ if isinstance(value, list) and value:
            value.append(deepcopy(value[-1]))
        case _:
            nested: Any = value
            for _ in range(dice.choice((3, 100))):
                nested = [nested]
            holder[key] = nested
    return document


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every container of the document with each of its keys or indices."""
    for key in _keys(node):
        yield node, key
        yield from _places(node[key])


def _keys(node: Any) -> list[Any]:
    return list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []


class _TooLong(BaseException):
    """Past the CPU time; no `except Exception` of the code under test holds it."""


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextmanager
def _standard_error() -> Iterator[Callable[[], int]]:
    """Send file descriptor 2 to a file; call what it gives for the number of bytes written so far."""
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield lambda: os.fstat(file.fileno()).st_size
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _reset_peak() -> int:
    """Let the peak of the process's memory begin anew, and return what it has now, in bytes."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")
    return _peak()


def _peak() -> int:
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # of the whole life: growth alone is seen


def _place(error: BaseException) -> str:
    """The innermost line of attn that the exception came through."""
    place, trace = "?", error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if f"{os.sep}attn{os.sep}" in name and "site-packages" not in name:
            place = f"{name.rsplit(f'{os.sep}attn{os.sep}', 1)[1]} line {trace.tb_lineno}"
        trace = trace.tb_next
    return place
