"""Warnings of decoders, read by several threads."""

import time
import warnings
from concurrent.futures import ThreadPoolExecutor

from attn.data_adapters.library_warnings import caught_warnings


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
