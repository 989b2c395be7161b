"""When a tick of a MIDI file is: ticks to seconds, and seconds to beats.

Shapes: T tempo changes; any shape for times.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

DEFAULT_TEMPO = 500_000  # microseconds per quarter: 120 quarters per minute, until the file says otherwise


@dataclass(frozen=True, eq=False)
class TempoMap:
    """tick: (T,) int64 from 0; seconds: (T,) float64, when that is; scale: (T,) float64 seconds per tick from there.

    resolution: ticks per quarter.
    """

    tick: np.ndarray
    seconds: np.ndarray
    scale: np.ndarray
    resolution: int

    @classmethod
    def of(cls, tempos: list[tuple[int, int]], resolution: int) -> Self:
        """From (tick, microseconds per quarter) in order of ticks; of several at tick 0 the last counts.

        The arithmetic, to its order, is that of `pretty_midi`, so that times are equal to the last bit.
        """
        ticks, scales = [0], [60.0 / (120.0 * resolution)]
        for tick, tempo in tempos:
            scale = 60.0 / ((6e7 / tempo) * resolution)
            if tick == 0:
                scales[0] = scale
            elif scale != scales[-1]:
                ticks.append(tick)
                scales.append(scale)
        seconds = [0.0]
        for k in range(1, len(ticks)):
            seconds.append(seconds[-1] + scales[k - 1] * (ticks[k] - ticks[k - 1]))
        return cls(np.array(ticks), np.array(seconds), np.array(scales), resolution)

    @classmethod
    def of_bpm(cls, bpm: float, resolution: int = 960) -> Self:
        """One tempo of `bpm` quarters per minute."""
        return cls.of([(0, round(6e7 / bpm))], resolution)

    @classmethod
    def steady(cls, ticks_per_second: float) -> Self:
        """For SMPTE division, which has no tempo: a quarter is half a second."""
        return cls(np.zeros(1, int), np.zeros(1), np.array([1 / ticks_per_second]), max(1, round(ticks_per_second / 2)))

    def at(self, tick: np.ndarray) -> np.ndarray:
        """Seconds of ticks."""
        k = np.searchsorted(self.tick, tick, side="right") - 1
        return np.asarray(self.seconds[k] + self.scale[k] * (tick - self.tick[k]))

    def quarters(self, seconds: np.ndarray) -> np.ndarray:
        """Position in quarter notes from the start of the piece."""
        k = np.searchsorted(self.seconds, seconds, side="right") - 1
        return np.asarray((self.tick[k] + (seconds - self.seconds[k]) / self.scale[k]) / self.resolution)

    @property
    def bpm(self) -> np.ndarray:
        """(T,) quarters per minute from each change on."""
        return np.asarray(60.0 / (self.scale * self.resolution))
