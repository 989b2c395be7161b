"""The two kinds of music that a model can write: piano performances as events, and four-part chorales on a grid.

A style turns music into token ids and back, and says which ids move under transposition. It is stored in the model's
record. Id 0 is padding and 1 comes before the first token (and after the last of a performance), in both styles.

Shapes: T grid steps, L tokens, B batch.
"""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from attn.core.errors import InputError, ModelError, UsageError
from attn.core.settings import stored
from attn.data_adapters.midi.chorales import STEPS_PER_QUARTER, VOICES, grid_to_notes
from attn.data_adapters.midi.events import END, EventVocabulary
from attn.data_adapters.midi.file import read_midi, with_sustain
from attn.data_adapters.midi.notes import PITCHES, Notes
from attn.data_adapters.midi.voices import read_voices

EDGE = END
STEPS_PER_BAR = 4 * STEPS_PER_QUARTER
CHORALE_BPM = 80.0
STEP_SECONDS = 60 / CHORALE_BPM / STEPS_PER_QUARTER
BAR_SECONDS = STEPS_PER_BAR / STEPS_PER_QUARTER * 60 / CHORALE_BPM

Pitch = Annotated[int, Field(ge=0, lt=PITCHES)]
Range = tuple[Pitch, Pitch]


class Style(BaseModel):
    """What both styles have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def size(self) -> int:
        """Ids of the vocabulary."""
        raise NotImplementedError

    @property
    def pitched(self) -> list[range]:
        """Ranges of ids that mean consecutive pitches, lowest first."""
        raise NotImplementedError

    def read(self, path: Path) -> np.ndarray:
        """The token ids of a MIDI file, without edges. Raises InputError for one without music for this style."""
        raise NotImplementedError

    def notes(self, ids_l: np.ndarray) -> Notes:
        """Any sequence of ids as notes."""
        raise NotImplementedError

    def span(self, ids_l: np.ndarray) -> tuple[int, int]:
        """By how many semitones the piece can go down (as a negative number) and up."""
        down, up = -128, 127
        for ids in self.pitched:
            present = ids_l[(ids_l >= ids.start) & (ids_l < ids.stop)]
            if len(present):
                down, up = max(down, ids.start - int(present.min())), min(up, ids.stop - 1 - int(present.max()))
        return down, up

    def transpose(self, ids_bl: Tensor, semitones_b: Tensor) -> Tensor:
        """Every row moved by its own number of semitones, which its `span` allows."""
        moved_bl = ids_bl
        for ids in self.pitched:
            mine_bl = (ids_bl >= ids.start) & (ids_bl < ids.stop)
            moved_bl = torch.where(mine_bl, ids_bl + semitones_b[:, None], moved_bl)
        return moved_bl


class Piano(Style):
    """Piano performances: note on and off, time shifts of 10 ms, velocities; the pedal lengthens notes.

    Pitches outside low..high are left out. 21 to 108 gives 310 ids; 0 to 127 the paper's 388 events and two more.
    """

    kind: Literal["piano"] = "piano"
    low: Pitch = 21
    high: Pitch = 108
    voices: ClassVar[int] = 1
    cycles: ClassVar[tuple[int, ...]] = ()
    bpm: ClassVar[float] = 120.0

    @model_validator(mode="after")
    def _has_a_pitch(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"no pitch lies between {self.low} and {self.high}")
        return self

    @property
    def vocabulary(self) -> EventVocabulary:
        """The events behind the ids."""
        return EventVocabulary(self.low, self.high)

    @property
    def size(self) -> int:
        """Ids of the vocabulary."""
        return len(self.vocabulary)

    @property
    def pitched(self) -> list[range]:
        """Note-on and note-off ids."""
        return [self.vocabulary.note_on, self.vocabulary.note_off]

    def read(self, path: Path) -> np.ndarray:
        """The events of a MIDI file, from its first note on."""
        ids = self.encode(with_sustain(read_midi(path)))
        if not len(ids):
            hint = "`attn music inspect` shows what is in it"
            raise InputError("has no notes to play on a piano", where=path, hint=hint)
        return ids

    def encode(self, notes: Notes) -> np.ndarray:
        """The events of notes; time 0 is the first note."""
        return self.vocabulary.encode(notes.shifted(-notes.start.min()) if len(notes) else notes)

    def notes(self, ids_l: np.ndarray) -> Notes:
        """What the events say; a note that hangs ends with the last event."""
        return self.vocabulary.decode(ids_l)


class Chorale(Style):
    """Four voices on a grid of sixteenth notes, soprano first, one after another in each step (the paper's JSB form).

    ranges: lowest and highest pitch of each voice, for sampling.
    """

    kind: Literal["chorale"] = "chorale"
    low: Pitch = 30
    high: Pitch = 90
    ranges: tuple[Range, Range, Range, Range] = ((60, 81), (52, 74), (46, 69), (36, 66))
    voices: ClassVar[int] = len(VOICES)
    cycles: ClassVar[tuple[int, ...]] = (voices, voices * STEPS_PER_BAR)
    bpm: ClassVar[float] = CHORALE_BPM
    silence: ClassVar[int] = 2

    @model_validator(mode="after")
    def _ranges_lie_within(self) -> Self:
        for lowest, highest in self.ranges:
            if not self.low <= lowest <= highest <= self.high:
                raise ValueError(f"the range {lowest} to {highest} does not lie within {self.low} to {self.high}")
        return self

    @property
    def size(self) -> int:
        """Ids of the vocabulary."""
        return self.silence + 1 + self.high - self.low + 1

    @property
    def pitched(self) -> list[range]:
        """All ids but padding, edge and silence."""
        return [range(self.silence + 1, self.size)]

    def read(self, path: Path) -> np.ndarray:
        """The grid of a MIDI file, from its first note on."""
        return self.encode(read_voices(read_midi(path)).grid, where=path)

    def encode(self, grid_tv: np.ndarray, where: Path | str | None = None) -> np.ndarray:
        """Ids of a grid of pitches, -1 where a voice is silent."""
        sounding = grid_tv[grid_tv >= 0]
        if not len(sounding):
            raise InputError("has no notes", where=where)
        if sounding.min() < self.low or sounding.max() > self.high:
            raise InputError(
                f"has pitches from {sounding.min()} to {sounding.max()}",
                where=where,
                hint=f"four-part writing is read from {self.low} to {self.high}; transpose it",
            )
        ids: np.ndarray = np.where(grid_tv < 0, self.silence, grid_tv - self.low + self.silence + 1)
        return ids.reshape(-1)

    def grid(self, ids_l: np.ndarray) -> np.ndarray:
        """(T, 4) pitches of the whole steps of `ids_l`, -1 for silence."""
        cells = ids_l[: len(ids_l) // self.voices * self.voices].reshape(-1, self.voices)
        return np.where(cells > self.silence, cells - self.silence - 1 + self.low, -1)

    def notes(self, ids_l: np.ndarray) -> Notes:
        """Equal neighbours of a voice are one note."""
        return grid_to_notes(self.grid(ids_l))

    def range_ids(self) -> np.ndarray:
        """Lowest and highest id of each voice, (4, 2)."""
        return np.array(self.ranges) - self.low + self.silence + 1


AnyStyle = Piano | Chorale
STYLES: dict[str, type[Piano] | type[Chorale]] = {"piano": Piano, "chorale": Chorale}


def style_named(name: str) -> AnyStyle:
    """A style with its usual settings. Raises UsageError for an unknown name."""
    if name not in STYLES:
        raise UsageError(f"no style {name!r}", hint=f"there are {', '.join(STYLES)}")
    return STYLES[name]()


def stored_style(preprocessing: dict[str, Any], where: Path | str | None = None) -> AnyStyle:
    """The style in a model's record. Raises ModelError for an unknown style, and for impossible settings of one."""
    kind = preprocessing.get("kind")
    if not isinstance(kind, str) or kind not in STYLES:
        what = f"does not say what music it speaks: its style is {kind!r:.40}"
        raise ModelError(what, where=where, hint=f"there are {', '.join(STYLES)}")
    return stored(STYLES[kind], preprocessing, where)
