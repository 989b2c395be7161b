"""A piece from the request to the notes: what can be asked for, a piece while it is written, and the piece.

Shapes: B pieces, L tokens.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from attn.apps.music.chords import bars_of
from attn.apps.music.decode import Grammar, Sampling
from attn.apps.music.model import PAD
from attn.apps.music.notation import GridNotation, PianoNotation
from attn.apps.music.styles import Chorale, Piano
from attn.core.decoding.guidance import Guidance
from attn.core.decoding.policy import Policy
from attn.core.errors import UsageError
from attn.data_adapters.midi.chorales import VOICES
from attn.data_adapters.midi.notes import PITCHES, Notes
from attn.data_adapters.midi.writer import write_midi

if TYPE_CHECKING:
    from attn.apps.music.candidates import Candidates

MOST_SECONDS = 3600.0
MOST_BARS = 1000
MOST_SAMPLES = 1000
MOST_SEED = 2**63 - 1  # of torch's generators
MOST_CANDIDATES = 256
MOST_DENSITY = 50.0  # notes a second
FILL_CANDIDATES = 16


class Request(BaseModel):
    """What to compose.

    seconds, bars: of new music; None takes 30 s for a piano and 8 bars for a chorale. A bar has the motif's metre, and
    the first one begins where the motif's last bar ends. motif_seconds: use only the beginning of the motif's file.
    track (a number or a name), channel: what of the file. voices: those that a chorale's motif gives. end: close on the
    motif's tonic. chords: symbols for the new music, or the voices beside a melody (`chords.bars_of`). transpose:
    semitones by which the motif or melody is moved. samples: number of pieces. sampling: None takes the style's. seed:
    of the first piece; each further one has the next. The same seed gives the same piece.
    fill: bars or voices of the motif that are written anew (`fill.Fill`). before: a file that follows the new music.
    density: notes a second of a piano's new music. pitches: its lowest and its highest note.
    candidates: for each piece, of which the best is taken (`candidates`); None is 1, to a melody 4, and 16 in a gap.
    guide: heads whose softening guides what is drawn (`attn.core.decoding.guidance`). policy: which layers attend only
    to what earlier ones found (`attn.core.decoding.policy`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    seconds: float | None = Field(default=None, gt=0, le=MOST_SECONDS)
    bars: int | None = Field(default=None, ge=1, le=MOST_BARS)
    motif_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    track: str | None = None
    channel: int | None = Field(default=None, ge=1, le=16)
    voices: tuple[str, ...] | None = None
    end: bool = False
    chords: str | None = None
    transpose: int = 0
    samples: int = Field(default=1, ge=1, le=MOST_SAMPLES)
    sampling: Sampling | None = None
    seed: int = Field(default=0, ge=0, le=MOST_SEED)
    fill: str | None = None
    before: str | Path | None = None
    density: float | None = Field(default=None, gt=0, le=MOST_DENSITY)
    pitches: tuple[int, int] | None = None
    candidates: int | None = Field(default=None, ge=1, le=MOST_CANDIDATES)
    guide: Guidance | None = None
    policy: Policy | None = None

    @field_validator("voices")
    @classmethod
    def _are_voices(cls, voices: tuple[str, ...] | None) -> tuple[str, ...] | None:
        names = [voice.lower() for voice in VOICES]
        if voices is not None and (not voices or len(set(voices)) < len(voices) or not set(voices) <= set(names)):
            raise ValueError(f"must be some of {', '.join(names)}, each once")
        return voices

    @field_validator("pitches")
    @classmethod
    def _are_pitches(cls, pitches: tuple[int, int] | None) -> tuple[int, int] | None:
        if pitches is not None and not 0 <= pitches[0] <= pitches[1] < PITCHES:
            raise ValueError("must be the lowest and the highest, from 0 to 127")
        return pitches

    @field_validator("chords")
    @classmethod
    def _are_chords(cls, chords: str | None) -> str | None:
        if chords is not None:
            bars_of(chords)
        return chords

    @property
    def voice_numbers(self) -> list[int]:
        """The voices from 0, the soprano, to 3."""
        return [v for v, voice in enumerate(VOICES) if voice.lower() in (self.voices or ())]

    @property
    def seeds(self) -> list[int]:
        """Of each piece."""
        return [(self.seed + number) % (MOST_SEED + 1) for number in range(self.samples)]

    @property
    def each(self) -> int:
        """Candidates for each piece."""
        within = self.fill is not None or self.before is not None
        return self.candidates or (FILL_CANDIDATES if within else 1)

    @property
    def row_seeds(self) -> list[int]:
        """Of each candidate, those of a piece side by side; the first has the seed of the piece."""
        return [candidate_seed(seed, k) for seed in self.seeds for k in range(self.each)]

    def refuse(self, *names: str, by: str) -> None:
        """Raise UsageError if one of the settings `names` was given: it would have no effect on `by`."""
        for name in names:
            if getattr(self, name) is not None:
                raise UsageError(f"{name.replace('_', '-')} has no effect on {by}", hint="leave it out")


def candidate_seed(seed: int, k: int) -> int:
    """Of the candidate number k of a piece. torch's generator of the CPU tells only the lower 32 bits apart."""
    return int(np.random.SeedSequence([seed, k]).generate_state(1)[0]) if k else seed


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
    notation: the tempo, the metre and what was given, with which the piece is saved. seed: makes this piece again.
    """

    parts: dict[str, Notes]
    motif_seconds: float
    ids: np.ndarray
    notation: PianoNotation | GridNotation
    known: int = 0
    seconds: float = 0.0
    seed: int | None = None

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

    def save(self, path: str | Path, *, instrument: int | None = None, note: str = "") -> None:
        """Write a MIDI file in the motif's tempo and metre, with the seed as text; the same piece gives the same bytes.

        instrument: General MIDI, 0 to 127, for all that is written; None leaves a motif its own, and takes a piano.
        note: more text.
        """
        how, parts = self.notation, self.notation.written(self.parts)
        if instrument is not None:
            parts = [replace(part, program=instrument) for part in parts]
        texts = ([] if self.seed is None else [f"seed {self.seed}"]) + ([note] if note else [])
        write_midi(path, parts, tempo=how.tempo, metre=how.metre, seconds=self.seconds, text=", ".join(texts))


class Composing:
    """Pieces while they are written: iterate for the seconds of music so far, and take `pieces` at any time.

    known_l: tokens (L,) that every piece begins with. motif_seconds: when the motif ends. source: the ids (B,) that
    follow, one step at a time. seeds: of each piece. candidates: ranks the rows, of which each piece has several.
    """

    def __init__(
        self,
        style: Piano | Chorale,
        notation: PianoNotation | GridNotation,
        known_l: np.ndarray,
        motif_seconds: float,
        score: Score,
        source: Iterable[np.ndarray],
        seeds: Sequence[int | None] = (),
        candidates: "Candidates | None" = None,
    ) -> None:
        self.style, self.notation, self.known_l, self.motif_seconds = style, notation, known_l, motif_seconds
        self.score, self.source = score, source
        self.seeds, self.candidates = seeds or [None] * score.batch, candidates
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
        """What is written so far, one piece for each sample, of its candidates the best; all notes end."""
        added_bl = np.stack(self.steps, 1) if self.steps else np.zeros((self.score.batch, 0), np.int64)
        each = 1 if self.candidates is None else self.candidates.each
        pieces = [
            self._piece(np.concatenate([self.known_l, added_l[added_l != PAD]]), self.seeds[row // each])
            for row, added_l in enumerate(added_bl)
        ]
        return pieces if self.candidates is None else [pieces[k] for k in self.candidates.best(self.style, pieces)]

    def _piece(self, ids_l: np.ndarray, seed: int | None) -> Composition:
        known = min(self.score.known, len(ids_l))  # pieces that were interrupted may end within the motif
        how = self.notation
        if isinstance(self.style, Piano) and isinstance(how, PianoNotation):
            parts, start = how.heard(self.style, ids_l), how.start
        else:
            assert isinstance(self.style, Chorale) and isinstance(how, GridNotation)
            parts, start = how.heard(self.style, ids_l), 0.0
        end = start + self.total_seconds if self.score.finished else 0.0
        end = max(end, how.ends) if isinstance(how, PianoNotation) else end
        return Composition(parts, self.motif_seconds, ids_l, how, known, end, seed)
