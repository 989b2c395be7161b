"""What decoders say, with several threads reading."""

import os
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from attn.data_adapters.library_warnings import caught_panics, caught_warnings


def test_threads_see_their_own_warnings_and_leave_the_filters_as_they_were() -> None:
    before, shown_by = list(warnings.filters), warnings._showwarnmsg_impl

    def read(number: int) -> list[str]:
        with caught_warnings() as caught:
            time.sleep(0.002 * (number % 3))
            warnings.warn(f"odd tag {number}", stacklevel=1)
            time.sleep(0.002 * (number % 2))
        return [str(warning.message) for warning in caught]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, range(24))) == [[f"odd tag {number}"] for number in range(24)]
    assert (list(warnings.filters), warnings._showwarnmsg_impl) == (before, shown_by)


def test_one_thread_may_nest() -> None:
    with caught_warnings() as outer:
        with caught_warnings() as inner:
            warnings.warn("inside", stacklevel=1)
        warnings.warn("outside", stacklevel=1)
    assert [str(w.message) for w in inner] == ["inside"]
    assert [str(w.message) for w in outer] == ["outside"]


def test_a_panic_is_not_printed(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), caught_panics():
        os.write(2, b"thread '<unnamed>' panicked at src/lib.rs:1:1:\n")
        raise ZeroDivisionError
    assert capfd.readouterr().err == ""


def test_what_others_print_meanwhile_comes_after(capfd: pytest.CaptureFixture[str]) -> None:
    with caught_panics(), caught_panics():
        os.write(2, b"3 of 10\n")
    os.write(2, b"4 of 10\n")
    assert capfd.readouterr().err == "3 of 10\n4 of 10\n"
