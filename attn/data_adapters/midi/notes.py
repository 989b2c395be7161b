"""Notes as arrays: what every music reader returns and every music writer takes.

Shapes: N notes. Times are seconds from the start of the piece, pitches MIDI numbers (60 is middle C), velocities
1 to 127.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

PITCHES = 128


@dataclass(frozen=True, eq=False)
class Notes:
    """Notes in order of start, then pitch.

    start, end: (N,) float64, seconds, start < end; pitch, velocity: (N,) int64.
    """

    start: np.ndarray
    end: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray

    @classmethod
    def of(
        cls,
        start: Sequence[float] | np.ndarray,
        end: Sequence[float] | np.ndarray,
        pitch: Sequence[int] | np.ndarray,
        velocity: Sequence[int] | np.ndarray,
    ) -> Self:
        """Notes from columns in any order."""
        columns = (np.asarray(start, float), np.asarray(end, float), np.asarray(pitch, int), np.asarray(velocity, int))
        order = np.lexsort((columns[2], columns[0]))
        return cls(*(column[order] for column in columns))

    @classmethod
    def none(cls) -> Self:
        """No notes."""
        return cls.of([], [], [], [])

    def __len__(self) -> int:
        return len(self.start)

    @property
    def seconds(self) -> float:
        """The end of the last note to end; 0 without notes."""
        return float(self.end.max()) if len(self) else 0.0

    def where(self, mask_n: np.ndarray) -> Self:
        """Those notes for which `mask_n` is true."""
        return type(self)(self.start[mask_n], self.end[mask_n], self.pitch[mask_n], self.velocity[mask_n])

    def between(self, start: float, end: float) -> Self:
        """The notes that start in [start, end), cut off at `end`; times stay."""
        inside = self.where((self.start >= start) & (self.start < end))
        return type(self)(inside.start, np.minimum(inside.end, end), inside.pitch, inside.velocity)

    def shifted(self, seconds: float) -> Self:
        """All times moved."""
        return type(self)(self.start + seconds, self.end + seconds, self.pitch, self.velocity)

    def stretched(self, factor: float) -> Self:
        """All times multiplied."""
        return type(self)(self.start * factor, self.end * factor, self.pitch, self.velocity)

    def transposed(self, semitones: int) -> Self:
        """All pitches moved. ValueError when a pitch leaves 0..127: a clipped pitch would be a wrong note."""
        pitch = self.pitch + semitones
        if len(self) and (pitch.min() < 0 or pitch.max() >= PITCHES):
            raise ValueError(f"transposing by {semitones} semitones leaves the MIDI range")
        return type(self)(self.start, self.end, pitch, self.velocity)

    def joined(self, other: "Notes") -> Self:
        """Both, in order."""
        pairs = zip(
            (self.start, self.end, self.pitch, self.velocity),
            (other.start, other.end, other.pitch, other.velocity),
            strict=True,
        )
        return type(self).of(*(np.concatenate(pair) for pair in pairs))
