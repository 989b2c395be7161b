"""Bar lines of time signatures."""

import numpy as np
import pytest

from attn.data_adapters.midi.metre import Metre
from attn.data_adapters.midi.tempo import TempoMap


@pytest.mark.parametrize(
    ("changes", "quarters", "line", "after_two"),
    [
        ((), 0.0, 0.0, 8.0),
        ((), 0.1, 4.0, 12.0),
        (((0.0, 3, 4),), 3.0, 3.0, 9.0),
        (((0.0, 3, 4),), 3.0000001, 3.0, 9.0),  # less than a tick late
        (((0.0, 1, 4), (1.0, 4, 4)), 0.0, 0.0, 5.0),  # the pick-up is a bar of its own
        (((0.0, 1, 4), (1.0, 4, 4)), 0.5, 1.0, 9.0),
        (((0.0, 5, 8), (2.5, 8, 8), (6.5, 5, 8)), 1.0, 2.5, 9.0),
        (((2.0, 3, 4),), 1.0, 2.0, 8.0),  # 4/4 until the first change, which cuts its bar off
        (((0.0, 2, 2),), 5.0, 8.0, 16.0),
    ],
)
def test_bars_begin_where_the_signatures_say(changes, quarters, line, after_two):
    assert Metre(changes).bar_line(quarters) == pytest.approx(line)
    assert Metre(changes).after(quarters, 2) == pytest.approx(after_two)


def test_signatures_are_placed_by_the_tempo_and_the_last_of_several_counts():
    tempo = TempoMap.of([(0, 1_000_000), (20, 500_000)], 10)  # a quarter is a second, then half of one
    assert Metre.of(((0.0, 4, 4), (0.0, 3, 4), (3.0, 6, 8)), tempo) == Metre(((0.0, 3, 4), (4.0, 6, 8)))
    assert tempo.quarters(np.array([3.0])).tolist() == [4.0]


@pytest.mark.parametrize(
    ("first", "other", "place", "lines"),
    [
        (((0.0, 3, 4),), ((8.0, 3, 4),), 12.0, [9.0, 12.0, 16.0, 20.0, 23.0]),  # the other begins in 4/4
        (((0.0, 4, 4),), ((0.0, 4, 4),), 6.0, [6.0, 10.0]),  # the join begins a bar
        (((0.0, 4, 4),), (), 6.0, [6.0, 10.0]),
        ((), ((0.0, 3, 4), (6.0, 2, 4)), 4.0, [4.0, 7.0, 10.0, 12.0]),
        (((8.0, 3, 4),), ((0.0, 5, 4),), 4.0, [4.0, 9.0]),
    ],
)
def test_a_piece_after_another_keeps_its_bars(first, other, place, lines):
    metre = Metre(first).then(Metre(other), place)
    found = [line for line in np.arange(lines[0], lines[-1] + 1, 0.5) if metre.bar_line(line) == line]
    assert found == lines
