"""Calls in a process of their own: what crashes or hangs there is an InputError here, and the next call works."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from attn.core.errors import InputError
from attn.data_adapters import worker

HERE = __name__


def double(x: np.ndarray) -> dict[str, object]:
    return {"x": 2 * x, "process": os.getpid()}


def crash() -> dict[str, object]:
    os.kill(os.getpid(), signal.SIGSEGV)
    return {}


def hang() -> dict[str, object]:
    while True:
        pass


def swell() -> dict[str, object]:
    return {"x": np.ones(worker.MEMORY // 4)}


def refuse() -> dict[str, object]:
    raise InputError("has no rows", hint="add some")


def fail() -> dict[str, object]:
    print("noise on standard output", flush=True)
    raise KeyError("ans")


def call(name: str, **arrays: object) -> dict[str, np.ndarray]:
    return worker.call(f"{HERE}:{name}", "x.h5", "cannot be read", **arrays)


def test_arrays_and_text_go_in_and_come_out() -> None:
    answer = call("double", x=np.arange(3.0))
    np.testing.assert_array_equal(answer["x"], [0, 2, 4])
    assert int(answer["process"]) != os.getpid()
    assert call("double", x=np.arange(3.0))["process"] == answer["process"]


def test_an_error_keeps_its_sentence() -> None:
    with pytest.raises(InputError, match="has no rows; add some"):
        call("refuse")
    with pytest.raises(InputError, match=r"x.h5: cannot be read \('ans'\)"):
        call("fail")


def test_too_much_memory_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be read"):
        call("swell")


def test_a_crash_is_an_error_and_the_next_call_works() -> None:
    with pytest.raises(InputError, match="crashed or took too long"):
        call("crash")
    assert call("double", x=np.ones(1))["x"] == 2


def test_a_hang_ends_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    start = time.process_time()
    with pytest.raises(InputError, match="crashed or took too long"):
        call("hang")
    assert time.process_time() - start < 1  # this process waits
    assert call("double", x=np.ones(1))["x"] == 2


def test_threads_share_it() -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda k: float(call("double", x=np.array(float(k)))["x"]), range(40)))
    assert found == [2.0 * k for k in range(40)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_forked_process_has_a_worker_of_its_own() -> None:
    mine = int(call("double", x=np.ones(1))["process"])
    pid = os.fork()
    if not pid:
        try:
            other = int(call("double", x=np.ones(1))["process"])
            worker._end()
            os._exit(0 if other != mine else 1)
        finally:
            os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0
    assert int(call("double", x=np.ones(1))["process"]) == mine
