"""How a piece is written down: its tempo, metre and rests, and the notes that were given, note for note.

Times are seconds from the start of the file; a model begins with the first note.

Shapes: T grid steps of the motif, S of the piece, L tokens.
"""

import math
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from attn.apps.music.chords import Harmony, bars_of
from attn.apps.music.styles import Chorale, Piano
from attn.data_adapters.midi.chorales import SILENCE, STEPS_PER_QUARTER, VELOCITY, VOICES
from attn.data_adapters.midi.metre import Metre
from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.tempo import TempoMap
from attn.data_adapters.midi.writer import Part

HALF_STEP = 0.005  # seconds: half of what performances count in


@dataclass(frozen=True, eq=False)
class Notation:
    """tempo, metre: of the motif. flags: what a reader should know of it."""

    tempo: TempoMap
    metre: Metre = field(default_factory=Metre)
    flags: tuple[str, ...] = ()

    def quarters(self, seconds: float) -> float:
        """Beats at a time."""
        return float(self.tempo.quarters(np.array([seconds]))[0])

    def seconds(self, quarters: float) -> float:
        """The time of a beat."""
        return float(self.tempo.at(np.array([quarters * self.tempo.resolution]))[0])

    def bar_seconds(self) -> float | None:
        """The length of a bar, if all bars are equal and begin with the file."""
        steady = len(self.tempo.tick) == 1 and len(self.metre.changes) <= 1 and self.metre.bar_line(0.0) == 0
        return self.seconds(self.metre.after(0.0, 1)) if steady else None


@dataclass(frozen=True, eq=False, kw_only=True)
class PianoNotation(Notation):
    """start: when the first note begins; until: when the motif ends, its last rest included; given: its parts.

    Where something given follows what is new, resumes: when it begins, with its first rest; after: its notes as they
    sound; ends: when it ends, with its last rest.
    """

    start: float = 0.0
    until: float = 0.0
    given: tuple[Part, ...] = ()
    resumes: float = math.inf
    after: Notes = field(default_factory=Notes.none)
    ends: float = 0.0

    def length(self, seconds: float | None, bars: int | None, otherwise: float) -> float:
        """Seconds of new music."""
        if bars is None:
            return otherwise if seconds is None else seconds
        return self.seconds(self.metre.after(self.quarters(self.until), bars)) - self.until

    def final_seconds(self, end: float, most: float) -> float:
        """How long the final chord lasts: the last bar if it is that short, else half of it, or a quarter."""
        bar = end - self.seconds(self.metre.line_before(self.quarters(end)))
        return next((bar / part for part in (1, 2, 4, 8) if bar / part <= most), most)

    def heard(self, style: Piano, ids_l: np.ndarray) -> dict[str, Notes]:
        """All notes as they sound, the motif's too, and those of what follows."""
        notes = style.notes(ids_l).shifted(self.start)
        notes = notes.where(notes.start < self.resumes - HALF_STEP).between(0.0, self.resumes)
        return {"": notes.joined(self.after)}

    def written(self, heard: dict[str, Notes]) -> list[Part]:
        """What was given, as it was, and what is new: in its track, or in one of its own after several."""
        notes = heard[""]
        new = notes.where((notes.start >= self.until - HALF_STEP) & (notes.start < self.resumes - HALF_STEP))
        if len(self.given) > 1:
            return [*self.given, Part("Continuation", new)]
        if not self.given:
            return [Part("", new)]
        (part,) = self.given
        return [Part(part.name, part.notes.joined(new), part.pedal, part.program)]


@dataclass(frozen=True, eq=False, kw_only=True)
class GridNotation(Notation):
    """lead: sixteenths of rest before the motif's first note; steps: its sixteenths; rest: those after its last note.

    given: the notes of each voice; forced: (T, 4) bool, the cells that they fill.
    """

    lead: int = 0
    steps: int = 0
    rest: int = 0
    given: tuple[Notes, ...] = ()
    forced: np.ndarray = field(default_factory=lambda: np.zeros((0, len(VOICES)), bool))

    @property
    def until(self) -> float:
        """When the motif ends, its last rest included."""
        return self.clock(self.steps) if self.steps else 0.0

    def clock(self, step: int) -> float:
        """The time at which a step of the grid begins; the motif's last rest lies between two steps."""
        after = self.rest if step >= self.steps else 0
        return self.seconds((self.lead + step + after) / STEPS_PER_QUARTER)

    def harmony(self, text: str, first: int, steps: int) -> Harmony:
        """Chords from the first bar line at step `first` on."""
        step_t = np.arange(steps)
        quarters_t = (self.lead + step_t + self.rest * (step_t >= self.steps)) / STEPS_PER_QUARTER
        begin = (self.lead + first + self.rest * (first >= self.steps)) / STEPS_PER_QUARTER
        return Harmony.on(bars_of(text), quarters_t, self.metre, begin)

    def length(self, seconds: float | None, bars: int | None, otherwise: int) -> int:
        """Sixteenths of new music."""
        begin = (self.lead + self.steps + self.rest) / STEPS_PER_QUARTER
        if seconds is not None:
            end = self.quarters(self.until + seconds)
        else:
            end = self.metre.after(begin, otherwise if bars is None else bars)
        return max(1, round((end - begin) * STEPS_PER_QUARTER))

    def heard(self, style: Chorale, ids_l: np.ndarray) -> dict[str, Notes]:
        """The notes of each voice: given ones as they were, and in the cells that were free equal neighbours as one."""
        grid_sv = style.grid(ids_l)
        known = min(len(self.forced), len(grid_sv))
        if self.given:
            grid_sv[:known][self.forced[:known]] = SILENCE
        parts = {}
        for voice, name in enumerate(VOICES):
            notes = self._notes(grid_sv[:, voice])
            if self.given:
                notes = notes.joined(self.given[voice].between(0.0, max(self.clock(known), 1e-9)))
            parts[name] = notes
        return parts

    def written(self, heard: dict[str, Notes]) -> list[Part]:
        """The same."""
        return [Part(name, notes) for name, notes in heard.items()]

    def _notes(self, pitch_s: np.ndarray) -> Notes:
        cuts = [0, *(np.flatnonzero(np.diff(pitch_s)) + 1).tolist(), len(pitch_s)]
        if self.rest and 0 < self.steps < len(pitch_s):
            cuts = sorted({*cuts, self.steps})
        spans = [(a, b) for a, b in pairwise(cuts) if a < b and pitch_s[a] != SILENCE]
        # A note before the motif's last rest ends with it begun.
        ends = [
            self.seconds((self.lead + b) / STEPS_PER_QUARTER) if b == self.steps else self.clock(b) for _, b in spans
        ]
        return Notes.of(
            [self.clock(a) for a, _ in spans], ends, [pitch_s[a] for a, _ in spans], [VELOCITY] * len(spans)
        )
