"""Work on one thread leaves the number of threads as it was, whoever works beside it."""

import threading

import pytest
import torch

from attn.core.models.threads import one_thread


def test_one_thread_and_then_as_many_as_before():
    torch.set_num_threads(3)
    with pytest.raises(KeyError), one_thread():
        assert torch.get_num_threads() == 1
        with one_thread():
            assert torch.get_num_threads() == 1
        raise KeyError
    assert torch.get_num_threads() == 3


def test_blocks_that_end_in_another_order_than_they_began():
    torch.set_num_threads(3)
    first_in, second_in, seen = threading.Event(), threading.Event(), []

    def first() -> None:
        with one_thread():
            first_in.set()
            second_in.wait(10)
        seen.append(torch.get_num_threads())

    def second() -> None:
        first_in.wait(10)
        with one_thread():
            second_in.set()
            threads[0].join(10)
        seen.append(torch.get_num_threads())

    threads = [threading.Thread(target=each) for each in (first, second)]
    for each in threads:
        each.start()
    threads[1].join(10)
    assert seen == [3, 3] and torch.get_num_threads() == 3
    later: list[int] = []
    third = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    third.start()
    third.join(10)
    assert later == [3]
