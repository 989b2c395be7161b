"""A piece from the request to the notes: what can be asked for, a piece while it is written, and the piece.

Shapes: B pieces, L tokens.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from attn.apps.music.decode import Grammar, Sampling
from attn.apps.music.model import PAD
from attn.apps.music.styles import Chorale, Piano
from attn.core.errors import UsageError
from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.writer import write_midi

MOST_SECONDS = 3600.0
MOST_BARS = 1000
MOST_SAMPLES = 1000
MOST_SEED = 2**63 - 1  # of torch's generators


class Request(BaseModel):
    """What to compose.

    seconds: of new music, for a piano; bars: of new music, for a chorale; None takes 30 s or 8 bars.
    motif_seconds: use only the beginning of the motif. transpose: semitones by which the motif or melody is moved.
    samples: number of pieces. seed: the same seed gives the same pieces.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    seconds: float | None = Field(default=None, gt=0, le=MOST_SECONDS)
    bars: int | None = Field(default=None, ge=1, le=MOST_BARS)
    motif_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    transpose: int = 0
    samples: int = Field(default=1, ge=1, le=MOST_SAMPLES)
    sampling: Sampling = Field(default_factory=Sampling)
    seed: int = Field(default=0, ge=0, le=MOST_SEED)

    def refuse(self, *names: str, by: str) -> None:
        """Raise UsageError if one of the settings `names` was given: it would have no effect on `by`."""
        for name in names:
            if getattr(self, name) is not None:
                raise UsageError(f"{name.replace('_', '-')} has no effect on {by}", hint="leave it out")


class Score(Grammar, Protocol):
    """A grammar that knows its music: how much of it there will be, and how much there is."""

    @property
    def batch(self) -> int:
        """Number of pieces."""

    @property
    def known(self) -> int:
        """Tokens at the beginning that belong to the motif."""

    @property
    def seconds(self) -> float:
        """Music so far, motif included, of the piece that is furthest behind."""

    @property
    def total_seconds(self) -> float:
        """The motif and the new music together."""


@dataclass(frozen=True, eq=False)
class Composition:
    """One piece: its notes, how much of it is the motif, and what the notes were made from.

    parts: notes by voice where the style has voices, else one part without a name. ids: (L,) tokens without edges, of
    which the first `known` are the motif.
    """

    parts: dict[str, Notes]
    motif_seconds: float
    ids: np.ndarray
    known: int = 0
    bpm: float = 120.0

    @property
    def notes(self) -> Notes:
        """All parts together."""
        notes = Notes.none()
        for part in self.parts.values():
            notes = notes.joined(part)
        return notes

    def save(self, path: Path) -> None:
        """Write a MIDI file; the same piece gives the same bytes."""
        write_midi(path, self.parts if len(self.parts) > 1 else self.notes, bpm=self.bpm)


class Composing:
    """Pieces while they are written: iterate for the seconds of music so far, and take `pieces` at any time.

    known_l: tokens (L,) that every piece begins with. source: the ids (B,) that follow, one step at a time.
    """

    def __init__(
        self,
        style: Piano | Chorale,
        known_l: np.ndarray,
        motif_seconds: float,
        score: Score,
        source: Iterable[np.ndarray],
    ) -> None:
        self.style, self.known_l, self.motif_seconds = style, known_l, motif_seconds
        self.score, self.source = score, source
        self.steps: list[np.ndarray] = []

    @property
    def total_seconds(self) -> float:
        """The motif and the new music together."""
        return self.score.total_seconds

    def __iter__(self) -> Iterator[float]:
        """Seconds of music so far, each time some have been added."""
        before = -1.0
        for ids_b in self.source:
            self.steps.append(ids_b)
            seconds = self.score.seconds
            if seconds > before:
                before = seconds
                yield seconds

    def finish(self) -> list[Composition]:
        """Write to the end; the pieces."""
        for _ in self:
            pass
        return self.pieces()

    def pieces(self) -> list[Composition]:
        """What is written so far, one piece for each sample; all notes end."""
        added_bl = np.stack(self.steps, 1) if self.steps else np.zeros((self.score.batch, 0), np.int64)
        return [self._piece(np.concatenate([self.known_l, added_l[added_l != PAD]])) for added_l in added_bl]

    def _piece(self, ids_l: np.ndarray) -> Composition:
        known = min(self.score.known, len(ids_l))  # pieces that were interrupted may end within the motif
        return Composition(self.style.parts(ids_l), self.motif_seconds, ids_l, known, self.style.bpm)
