"""What may follow, so that every generated sequence decodes: one grammar for performances, one for four-part grids.

Shapes: B pieces, P pitches of the vocabulary, V ids. Times are steps of 10 ms.
"""

from collections.abc import Callable, Sequence

import numpy as np

from attn.apps.music.styles import STEP_SECONDS
from attn.data_adapters.midi.events import PAD, STEPS_PER_SECOND, EventVocabulary

LONGEST_NOTE = 4 * STEPS_PER_SECOND  # a model forgets to end some notes
LONGEST_REST = 3 * STEPS_PER_SECOND
CROWD = 48  # events at one time, after which time must move on


class PerformanceGrammar:
    """Performance events (Oore et al. 2018, section 3.1): no note off that was not on, no note without length.

    A velocity is followed by its note; a note that sounds may be struck again, and ends there; time moves on after at
    most CROWD events; a note ends after 4 s, a rest after 3 s. `total_seconds` is the length of the pieces; notes that
    sound then end there. `motif_l` are events (L,) that every piece begins with.
    """

    def __init__(
        self, vocabulary: EventVocabulary, batch: int, total_seconds: float, motif_l: Sequence[int] | np.ndarray = ()
    ) -> None:
        self.vocabulary, self.batch, self.known = vocabulary, batch, len(motif_l)
        self.end_steps = round(total_seconds * STEPS_PER_SECOND)
        pitches = vocabulary.high - vocabulary.low + 1
        self.clock_b = np.zeros(batch, np.int64)
        self.onset_bp = np.full((batch, pitches), -1, np.int64)  # -1: silent
        self.crowd_b = np.zeros(batch, np.int64)
        self.silent_since_b = np.zeros(batch, np.int64)
        self.after_velocity_b = np.zeros(batch, bool)
        for id in motif_l:
            self.accept(np.full(batch, id))

    @property
    def total_seconds(self) -> float:
        """Length of the pieces."""
        return self.end_steps / STEPS_PER_SECOND

    @property
    def finished(self) -> bool:
        """Whether every piece has reached its end."""
        return bool((self.clock_b >= self.end_steps).all())

    @property
    def seconds(self) -> float:
        """Time of the piece that is furthest behind."""
        return float(self.clock_b.min() / STEPS_PER_SECOND)

    def allowed(self) -> np.ndarray:
        """(B, V) bool; a piece at its end is padded until the others are there."""
        v = self.vocabulary
        sounding_bp = self.onset_bp >= 0
        earlier_bp = self.onset_bp < self.clock_b[:, None]
        room_b1 = (self.crowd_b < CROWD)[:, None]
        after_b1 = self.after_velocity_b[:, None]
        mask_bv = np.zeros((len(self.clock_b), len(v)), bool)
        mask_bv[:, v.note_on.start : v.note_on.stop] = earlier_bp & (room_b1 | after_b1)
        mask_bv[:, v.note_off.start : v.note_off.stop] = sounding_bp & earlier_bp & ~after_b1
        mask_bv[:, v.velocity.start : v.velocity.stop] = room_b1 & ~after_b1 & earlier_bp.any(1, keepdims=True)
        longest_b1 = self._longest_shift()[:, None]
        mask_bv[:, v.time_shift.start : v.time_shift.stop] = (
            np.arange(1, len(v.time_shift) + 1) <= longest_b1
        ) & ~after_b1
        due_bp = sounding_bp & (self.onset_bp + LONGEST_NOTE <= self.clock_b[:, None])
        must_end_b = due_bp.any(1) & ~self.after_velocity_b
        mask_bv[must_end_b] = False
        mask_bv[must_end_b, v.note_off.start : v.note_off.stop] = due_bp[must_end_b]
        over_b = self.clock_b >= self.end_steps
        mask_bv[over_b] = False
        mask_bv[over_b, PAD] = True
        return mask_bv

    def _longest_shift(self) -> np.ndarray:
        """Steps (B,) that may pass before the oldest note or the rest gets too long, or the piece has its length."""
        sounding_bp = self.onset_bp >= 0
        oldest_b = np.where(sounding_bp, self.onset_bp, self.end_steps).min(1)
        limit_b = np.where(sounding_bp.any(1), oldest_b + LONGEST_NOTE, self.silent_since_b + LONGEST_REST)
        longest_b: np.ndarray = np.minimum(limit_b, self.end_steps) - self.clock_b
        return longest_b

    def accept(self, ids_b: np.ndarray) -> None:
        """Hear one id for every piece; pieces at their end are deaf."""
        v = self.vocabulary
        for b, id in enumerate(ids_b.tolist()):
            if self.clock_b[b] >= self.end_steps:
                continue
            self.after_velocity_b[b] = id in v.velocity
            if id in v.time_shift:
                self.clock_b[b] += id - v.time_shift.start + 1
                self.crowd_b[b] = 0
                continue
            self.crowd_b[b] += 1
            if id in v.note_on:
                self.onset_bp[b, id - v.note_on.start] = self.clock_b[b]
            elif id in v.note_off:
                self.onset_bp[b, id - v.note_off.start] = -1
                if (self.onset_bp[b] < 0).all():
                    self.silent_since_b[b] = self.clock_b[b]


class GridGrammar:
    """Four-part grids: every cell is a pitch in the range of its voice; chorales do not rest.

    ranges_v2: lowest and highest id of each voice. forced_tv: ids that are known, -1 where they are not: a motif,
    or a melody to accompany. A motif that is known in all voices counts as written. clock: when a step begins.
    """

    def __init__(
        self,
        vocabulary: int,
        ranges_v2: np.ndarray,
        steps: int,
        batch: int,
        forced_tv: np.ndarray,
        clock: Callable[[int], float] = lambda step: step * STEP_SECONDS,
    ) -> None:
        self.voices = len(ranges_v2)
        self.cells = steps * self.voices
        self.forced = forced_tv.reshape(-1)
        self.known = len(self.forced)
        self.heard = 0 if (self.forced < 0).any() else self.known
        ids = np.arange(vocabulary)
        self.mask_vv = (ids >= ranges_v2[:, :1]) & (ids <= ranges_v2[:, 1:])
        self.batch, self.clock = batch, clock

    @property
    def finished(self) -> bool:
        """Whether the last cell is written."""
        return self.heard >= self.cells

    @property
    def seconds(self) -> float:
        """Time of the whole grid steps that are written."""
        return self.clock(self.heard // self.voices)

    @property
    def total_seconds(self) -> float:
        """Length of the pieces."""
        return self.clock(self.cells // self.voices)

    def allowed(self) -> np.ndarray:
        """(B, V) bool."""
        mask_v = self.mask_vv[self.heard % self.voices]
        if self.heard < len(self.forced) and self.forced[self.heard] >= 0:
            mask_v = np.arange(len(mask_v)) == self.forced[self.heard]
        return np.repeat(mask_v[None], self.batch, axis=0)

    def accept(self, ids_b: np.ndarray) -> None:
        """One cell further."""
        self.heard += 1
