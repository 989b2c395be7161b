"""A soft rule that brings a motif's figures back: where the melody has begun one, it costs less to go on with it.

The melody is what `statistics.melody` hears: the highest note of each chord, notes within 30 ms of each other.

Shapes: B pieces.
"""

import numpy as np

from attn.apps.music.statistics import TOGETHER, melody
from attn.data_adapters.midi.events import STEPS_PER_SECOND
from attn.data_adapters.midi.notes import Notes

LONGEST = 3  # intervals of a figure that are heard before its next one
APART = round(TOGETHER * STEPS_PER_SECOND)  # steps after which a note begins a chord


class Recall:
    """The motif's intervals, and where in them each of B pieces is; steps are of 10 ms, pitches of MIDI."""

    def __init__(self, motif: Notes, batch: int) -> None:
        step_m = np.diff(melody(motif)).tolist()
        self.following: dict[tuple[int, ...], set[int]] = {}
        for length in range(1, LONGEST + 1):
            for begin in range(len(step_m) - length):
                *context, following = step_m[begin : begin + length + 1]
                if any(context) or following:  # a note that is repeated is no tune, and would be repeated for ever
                    self.following.setdefault(tuple(context), set()).add(following)
        self.tops: list[list[int]] = [[] for _ in range(batch)]  # the newest of the melody
        self.last_b = np.full(batch, -APART - 1)  # the step of the last note

    def hear(self, piece: int, pitch: int, step: int) -> None:
        """A note of the piece."""
        tops = self.tops[piece]
        if step - self.last_b[piece] > APART:
            tops.append(pitch)
            del tops[: -LONGEST - 2]
        elif tops:
            tops[-1] = max(tops[-1], pitch)
        self.last_b[piece] = step

    def targets(self, piece: int, step: int) -> tuple[list[tuple[int, float]], int | None]:
        """Pitches that would go on with a figure, each with the share of it that is there, for the highest of a chord.

        And the highest note of a chord that has begun with one of them: above it is no room.
        """
        tops = self.tops[piece]
        begun = step - self.last_b[piece] <= APART
        line = tops[:-1] if begun else tops
        step_m = np.diff(line[-LONGEST - 1 :]).tolist()
        found: dict[int, float] = {}
        for length in range(1, len(step_m) + 1):
            for interval in self.following.get(tuple(step_m[-length:]), ()):
                found[line[-1] + interval] = length / LONGEST
        top = tops[-1] if begun and tops and tops[-1] in found else None
        return list(found.items()), top
