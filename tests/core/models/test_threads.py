"""Work on one thread leaves the number of threads as it was, whoever works beside it."""

import threading

import pytest
import torch

from attn.core.models import threads as of_threads
from attn.core.models.threads import FIRST_PAUSE, TRIED, Pace, one_thread


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


class Machine:
    """A machine on which a step takes as long as the test says, and which counts the steps on all threads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.pace = 0.0, Pace()
        monkeypatch.setattr(of_threads.time, "perf_counter", lambda: self.now)

    def shared(self, steps: int, alone: float, together: float) -> int:
        count = 0
        for _ in range(steps):
            with self.pace.step():
                all_of_them = torch.get_num_threads() > 1
                count += all_of_them
                self.now += together if all_of_them else alone
        return count


@pytest.fixture
def machine(monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield Machine(monkeypatch)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_all_threads_are_taken_while_they_are_faster(machine):
    assert machine.shared(1000, alone=1.0, together=0.6) == 1000 - FIRST_PAUSE
    assert machine.shared(100, alone=1.0, together=50.0) == 2  # another process is at work: two steps tell
    assert machine.shared(1000, alone=1.0, together=0.6) > 800
    assert machine.shared(100, alone=1.0, together=1.2) == TRIED // 2 + 1  # a little slower: the median tells


def test_a_try_that_fails_is_repeated_later_and_later(machine):
    assert machine.shared(FIRST_PAUSE, alone=1.0, together=20.0) == 0
    assert machine.shared(10_000, alone=1.0, together=20.0) == 2 * len([32, 128, 512, 2048, 2048, 2048, 2048])
    assert machine.shared(3000, alone=1.0, together=0.5) > 900


def test_one_slow_step_is_no_reason(machine):
    machine.shared(100, alone=1.0, together=0.6)
    machine.shared(1, alone=1.0, together=99.0)
    assert machine.shared(100, alone=1.0, together=0.6) == 100


def test_where_torch_has_one_thread_there_is_nothing_to_choose(machine):
    torch.set_num_threads(1)
    assert machine.shared(500, alone=1.0, together=0.1) == 0
    torch.set_num_threads(2)
