"""Notes as a sequence of events, and back: the vocabulary of performance models.

Sources: Oore et al. 2018, "This Time with Feeling", section 3; Huang et al. 2018, "Music Transformer", section 4.2:
note-on and note-off of each pitch, 100 time shifts of 10 ms to 1 s, 32 velocity bins. All 128 pitches give the paper's
388 events, 21 to 108 (the piano) the 308 of its public code; two ids before them are reserved.

Shapes: N notes, L events.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from attn.data_adapters.midi.file import without_overlaps
from attn.data_adapters.midi.notes import PITCHES, Notes

PAD = 0
END = 1  # also the start of every sequence
RESERVED = 2
STEPS_PER_SECOND = 100
LONGEST_SHIFT = 100  # steps
VELOCITY_BINS = 32
BIN_WIDTH = 4  # velocities in a bin
DEFAULT_BIN = 15  # of notes before the first velocity event: velocities 61 to 64, mezzo-forte


@dataclass(frozen=True)
class EventVocabulary:
    """The ids: pad 0, end 1, then `note_on`, `note_off`, `time_shift` and `velocity`, each a range of ids.

    low, high: the first and the last pitch. Lower and higher notes have no events, and are left out.
    """

    low: int = 21
    high: int = 108

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high < PITCHES:
            raise ValueError(f"pitches {self.low} to {self.high} are not within 0 to {PITCHES - 1}")

    def __len__(self) -> int:
        return self.velocity.stop

    @cached_property
    def note_on(self) -> range:
        """Ids of note-on events: pitch `low` first."""
        return range(RESERVED, RESERVED + self.high - self.low + 1)

    @cached_property
    def note_off(self) -> range:
        """Ids of note-off events: pitch `low` first."""
        return range(self.note_on.stop, self.note_on.stop + len(self.note_on))

    @cached_property
    def time_shift(self) -> range:
        """Ids of time shifts: 10 ms first, 1 s last."""
        return range(self.note_off.stop, self.note_off.stop + LONGEST_SHIFT)

    @cached_property
    def velocity(self) -> range:
        """Ids of velocity bins: the softest first; bin b has the velocities 4b + 1 to 4b + 4."""
        return range(self.time_shift.stop, self.time_shift.stop + VELOCITY_BINS)

    def name(self, event: int) -> str:
        """What an id says: `pad`, `end`, `note_on 60`, `note_off 60`, `time_shift 10 ms`, `velocity 61-64`."""
        if event in self.note_on:
            return f"note_on {self.low + self.note_on.index(event)}"
        if event in self.note_off:
            return f"note_off {self.low + self.note_off.index(event)}"
        if event in self.time_shift:
            return f"time_shift {10 * (1 + self.time_shift.index(event))} ms"
        if event in self.velocity:
            softest = BIN_WIDTH * self.velocity.index(event) + 1
            return f"velocity {softest}-{min(softest + BIN_WIDTH - 1, PITCHES - 1)}"
        return ("pad", "end")[event]

    def covers(self, notes: Notes) -> np.ndarray:
        """(N,) bool: which notes have events."""
        return np.asarray((notes.pitch >= self.low) & (notes.pitch <= self.high))

    def encode(self, notes: Notes) -> np.ndarray:
        """(L,) int64 events from time 0 to the last release, without end or padding.

        Times are rounded to 10 ms; a note too short for that is moved by at most 10 ms; where a pitch is
        struck again its note ends. At one time releases come before strikes, low pitches before high ones. A
        velocity event comes where the velocity changes.
        Give it notes as they sound (`with_sustain`): there is no event for the pedal.
        """
        notes = notes.where(self.covers(notes))
        start = np.rint(notes.start * STEPS_PER_SECOND)
        end = np.rint(notes.end * STEPS_PER_SECOND)
        short = end <= start
        start = np.where(short, np.floor(notes.start * STEPS_PER_SECOND), start)
        end = np.where(short, start + 1, end)
        notes = without_overlaps(Notes.of(start, end, notes.pitch, notes.velocity))
        step = np.concatenate([notes.end, notes.start]).astype(np.int64)
        is_on = np.repeat([False, True], len(notes))
        pitch = np.tile(notes.pitch, 2)
        loudness = np.tile((notes.velocity - 1) // BIN_WIDTH, 2)
        order = np.lexsort((pitch, is_on, step))
        step, is_on, pitch, loudness = step[order], is_on[order], pitch[order], loudness[order]

        wait = np.diff(step, prepend=0)
        shifts = -(-wait // LONGEST_SHIFT)
        changes = np.zeros(len(step), np.int64)
        changes[is_on] = np.diff(loudness[is_on], prepend=-1) != 0
        last = np.cumsum(shifts + changes + 1) - 1  # place of each strike or release, its waits and velocity before it
        ids = np.full(last[-1] + 1 if len(last) else 0, self.time_shift[-1], np.int64)
        waits = shifts > 0
        ids[(last - changes - 1)[waits]] = self.time_shift.start + (wait[waits] - 1) % LONGEST_SHIFT
        ids[(last - 1)[changes == 1]] = self.velocity.start + loudness[changes == 1]
        ids[last] = np.where(is_on, self.note_on.start, self.note_off.start) + pitch - self.low
        return ids

    def decode(self, ids: np.ndarray) -> Notes:
        """The notes of any (L,) events, sensible or not; pad and end say nothing.

        A note ends with its release, where its pitch is struck again, or with the last event; one without length is no
        note. A release of what does not sound is passed over. Velocities are the third of the four in their bin.
        ValueError: ids that are not in the vocabulary.
        """
        ids = np.asarray(ids, np.int64)
        if len(ids) and (ids.min() < 0 or ids.max() >= len(self)):
            raise ValueError(f"ids must be 0 to {len(self) - 1}")
        seconds = (
            np.cumsum(np.where(_within(ids, self.time_shift), ids - self.time_shift.start + 1, 0)) / STEPS_PER_SECOND
        )
        said = np.maximum.accumulate(np.where(_within(ids, self.velocity), np.arange(len(ids)), -1))
        loudness = np.where(said >= 0, ids[said] - self.velocity.start, DEFAULT_BIN) if len(ids) else ids

        place = np.flatnonzero(_within(ids, range(self.note_on.start, self.note_off.stop)))
        pitch = (ids[place] - self.note_on.start) % len(self.note_on)
        place = place[np.argsort(pitch, kind="stable")]
        pitch = np.sort(pitch)
        again = np.append(pitch[1:] == pitch[:-1], False) if len(pitch) else np.zeros(0, bool)
        end = np.where(again, seconds[np.roll(place, -1)], seconds[-1] if len(seconds) else 0.0)
        is_note = _within(ids[place], self.note_on) & (end > seconds[place])
        place, pitch, end = place[is_note], pitch[is_note], end[is_note]
        return Notes.of(seconds[place], end, pitch + self.low, BIN_WIDTH * loudness[place] + 3)

    def transpose(self, ids: np.ndarray, semitones: int) -> np.ndarray:
        """The same events, all pitches moved.

        ValueError: a pitch leaves the vocabulary; such a transposition is to be rejected, as a clipped pitch would be
        wrong.
        """
        moved = np.array(ids)
        for kind in (self.note_on, self.note_off):
            here = _within(moved, kind)
            pitch = moved[here] + semitones
            if len(pitch) and (pitch.min() < kind.start or pitch.max() >= kind.stop):
                raise ValueError(f"transposing by {semitones} semitones leaves pitches {self.low} to {self.high}")
            moved[here] = pitch
        return moved


def _within(ids: np.ndarray, kind: range) -> np.ndarray:
    return np.asarray((ids >= kind.start) & (ids < kind.stop))
