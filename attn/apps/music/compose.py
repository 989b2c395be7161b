"""A piece from the request to the notes: what can be asked for, a piece while it is written, and the piece.

Shapes: B pieces, L tokens.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from attn.apps.music.decode import Grammar, Sampling
from attn.apps.music.model import PAD
from attn.apps.music.notation import GridNotation, PianoNotation
from attn.apps.music.styles import Chorale, Piano
from attn.core.errors import UsageError
from attn.data_adapters.midi.chorales import VOICES
from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.writer import write_midi

MOST_SECONDS = 3600.0
MOST_BARS = 1000
MOST_SAMPLES = 1000
MOST_SEED = 2**63 - 1  # of torch's generators


class Request(BaseModel):
    """What to compose.

    seconds, bars: of new music; None takes 30 s for a piano and 8 bars for a chorale. A bar has the motif's metre, and
    the first one begins where the motif's last bar ends. motif_seconds: use only the beginning of the motif's file.
    track (a number or a name), channel: what of the file. voices: those that a chorale's motif gives. end: close on the
    motif's tonic. transpose: semitones by which the motif or melody is moved. samples: number of pieces. sampling: None
    takes the style's. seed: the same seed gives the same pieces.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    seconds: float | None = Field(default=None, gt=0, le=MOST_SECONDS)
    bars: int | None = Field(default=None, ge=1, le=MOST_BARS)
    motif_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    track: str | None = None
    channel: int | None = Field(default=None, ge=1, le=16)
    voices: tuple[str, ...] | None = None
    end: bool = False
    transpose: int = 0
    samples: int = Field(default=1, ge=1, le=MOST_SAMPLES)
    sampling: Sampling | None = None
    seed: int = Field(default=0, ge=0, le=MOST_SEED)

    @field_validator("voices")
    @classmethod
    def _are_voices(cls, voices: tuple[str, ...] | None) -> tuple[str, ...] | None:
        names = [voice.lower() for voice in VOICES]
        if voices is not None and (not voices or len(set(voices)) < len(voices) or not set(voices) <= set(names)):
            raise ValueError(f"must be some of {', '.join(names)}, each once")
        return voices

    @property
    def voice_numbers(self) -> list[int]:
        """The voices from 0, the soprano, to 3."""
        return [v for v, voice in enumerate(VOICES) if voice.lower() in (self.voices or ())]

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

    parts: notes as they sound, by voice where the style has voices, else one part without a name.
    motif_seconds: when the motif ends, and seconds when the piece does.
    ids: (L,) tokens without edges, of which the first `known` are the motif.
    notation: the tempo, the metre and what was given, with which the piece is saved.
    """

    parts: dict[str, Notes]
    motif_seconds: float
    ids: np.ndarray
    notation: PianoNotation | GridNotation
    known: int = 0
    seconds: float = 0.0

    @property
    def notes(self) -> Notes:
        """All parts together."""
        notes = Notes.none()
        for part in self.parts.values():
            notes = notes.joined(part)
        return notes

    @property
    def flags(self) -> tuple[str, ...]:
        """What was odd about the motif, and how it was read."""
        return self.notation.flags

    def save(self, path: Path) -> None:
        """Write a MIDI file in the motif's tempo and metre; the same piece gives the same bytes."""
        how = self.notation
        write_midi(path, how.written(self.parts), tempo=how.tempo, metre=how.metre, seconds=self.seconds)


class Composing:
    """Pieces while they are written: iterate for the seconds of music so far, and take `pieces` at any time.

    known_l: tokens (L,) that every piece begins with. motif_seconds: when the motif ends. source: the ids (B,) that
    follow, one step at a time.
    """

    def __init__(
        self,
        style: Piano | Chorale,
        notation: PianoNotation | GridNotation,
        known_l: np.ndarray,
        motif_seconds: float,
        score: Score,
        source: Iterable[np.ndarray],
    ) -> None:
        self.style, self.notation, self.known_l, self.motif_seconds = style, notation, known_l, motif_seconds
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
        how = self.notation
        if isinstance(self.style, Piano) and isinstance(how, PianoNotation):
            parts, start = how.heard(self.style, ids_l), how.start
        else:
            assert isinstance(self.style, Chorale) and isinstance(how, GridNotation)
            parts, start = how.heard(self.style, ids_l), 0.0
        end = start + self.total_seconds if self.score.finished else 0.0
        return Composition(parts, self.motif_seconds, ids_l, how, known, end)
