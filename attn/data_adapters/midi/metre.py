"""Where the bars of a piece begin: time signatures as bar lines.

Times are quarter notes from the start of the piece.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from attn.data_adapters.midi.tempo import TempoMap

LOOK_BACK = 16.0  # quarters
_NEARLY = 1e-6  # quarters: less than a tick


@dataclass(frozen=True)
class Metre:
    """changes: (quarters, numerator, denominator), in order; each begins a bar. 4/4 until the first."""

    changes: tuple[tuple[float, int, int], ...] = ()

    @classmethod
    def of(cls, signatures: tuple[tuple[float, int, int], ...], tempo: TempoMap) -> Self:
        """From the (seconds, numerator, denominator) of a file; of several at one time the last counts."""
        quarters = tempo.quarters(np.array([seconds for seconds, _, _ in signatures]))
        ticks = np.rint(quarters * tempo.resolution).astype(int).tolist()
        last = dict(zip(ticks, signatures, strict=True))
        return cls(tuple((tick / tempo.resolution, top, bottom) for tick, (_, top, bottom) in sorted(last.items())))

    def bar_line(self, quarters: float) -> float:
        """The first bar line at `quarters` or later."""
        changes = self._from_start()
        starts = [start for start, _, _ in changes]
        k = max(k for k, start in enumerate(starts) if start <= quarters + _NEARLY)
        start, numerator, denominator = changes[k]
        bar = 4 * numerator / denominator
        line = start + math.ceil((quarters - start - _NEARLY) / bar) * bar
        return min([line, *starts[k + 1 : k + 2]])

    def line_before(self, quarters: float) -> float:
        """The last bar line before `quarters`, of the bars that begin within the last 16 quarters."""
        line = self.bar_line(max(0.0, quarters - LOOK_BACK))
        while (following := self.bar_line(line + 2 * _NEARLY)) < quarters - 2 * _NEARLY:
            line = following
        return min(line, quarters)

    def after(self, quarters: float, bars: int) -> float:
        """Where `bars` whole bars end that begin at the first bar line at `quarters` or later."""
        line = self.bar_line(quarters)
        for _ in range(bars):
            line = self.bar_line(line + 2 * _NEARLY)
        return line

    def then(self, other: Self, quarters: float) -> Self:
        """This metre until `quarters`, and from there on another that begins."""
        before = [change for change in self.changes if change[0] < quarters]
        return type(self)((*before, *((quarters + at, top, bottom) for at, top, bottom in other._from_start())))

    def _from_start(self) -> tuple[tuple[float, int, int], ...]:
        """The changes, the first of them at 0."""
        return self.changes if self.changes and self.changes[0][0] == 0 else ((0.0, 4, 4), *self.changes)
