"""Compose: a motif, a melody or nothing in, notes out.

Shapes: B samples, L tokens, T grid steps, V vocabulary.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from pydantic import BaseModel, Field
from torch import Tensor

from attn.apps.music.decode import Grammar, Sampling, generate
from attn.apps.music.grammar import GridGrammar, PerformanceGrammar
from attn.apps.music.model import PAD, MusicConfig, MusicTransformer
from attn.apps.music.motif import beginning, checked, grid_of, melody_ids, moved
from attn.apps.music.older import old_tensor
from attn.apps.music.styles import EDGE, STEPS_PER_BAR, Chorale, Piano, stored_style
from attn.core.errors import InputError, ModelError, UsageError
from attn.core.models.folder import ModelRecord, load_network
from attn.core.models.int8 import to_int8
from attn.core.settings import stored
from attn.data_adapters.midi.chorales import SILENCE, STEPS_PER_QUARTER, VOICES, grid_to_voices
from attn.data_adapters.midi.events import STEPS_PER_SECOND
from attn.data_adapters.midi.file import read_midi, with_sustain, write_midi
from attn.data_adapters.midi.notes import Notes

BUNDLED_MODELS = Path(__file__).with_name("weights")
CHORALE_BPM = 80.0
BAR_SECONDS = STEPS_PER_BAR / STEPS_PER_QUARTER * 60 / CHORALE_BPM
MOST_SECONDS = 3600.0
MOST_BARS = 1000
MOST_SEED = 2**63 - 1  # of torch's generators


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
    """Pieces while they are written: iterate for the seconds of music so far, and take `pieces` whenever you like."""

    def __init__(self, style: "Piano | Chorale", known_l: np.ndarray, motif_seconds: float, grammar: Grammar) -> None:
        self.style, self.motif_seconds, self.grammar = style, motif_seconds, grammar
        self.known_l = known_l
        self.steps: list[np.ndarray] = []
        self.source: Iterator[np.ndarray] = iter(())

    @property
    def total_seconds(self) -> float:
        """The motif and the new music together."""
        if isinstance(self.grammar, PerformanceGrammar):
            return self.grammar.end_steps / STEPS_PER_SECOND
        assert isinstance(self.grammar, GridGrammar)
        return self.grammar.cells / self.grammar.voices * BAR_SECONDS / STEPS_PER_BAR

    def __iter__(self) -> Iterator[float]:
        """Seconds of music so far, each time some have been added."""
        before = -1.0
        for ids_b in self.source:
            self.steps.append(ids_b)
            seconds = self._seconds()
            if seconds > before:
                before = seconds
                yield seconds

    def _seconds(self) -> float:
        if isinstance(self.grammar, PerformanceGrammar):
            return self.grammar.seconds
        assert isinstance(self.grammar, GridGrammar)
        return self.grammar.steps * BAR_SECONDS / STEPS_PER_BAR

    def pieces(self) -> list[Composition]:
        """What is written so far, one piece for each sample; all notes end."""
        added_bl = np.stack(self.steps, 1) if self.steps else np.zeros((self._samples(), 0), np.int64)
        return [self._composition(np.concatenate([self.known_l, row[row != PAD]])) for row in added_bl]

    def _known(self, ids_l: np.ndarray) -> int:
        """Tokens of the motif; a completed one is known as far as it went."""
        if isinstance(self.grammar, GridGrammar):
            return min(len(self.grammar.forced), len(ids_l))
        return len(self.known_l)

    def _samples(self) -> int:
        return len(self.grammar.allowed())

    def _composition(self, ids_l: np.ndarray) -> Composition:
        if isinstance(self.style, Chorale):
            parts = grid_to_voices(self.style.grid(ids_l), bpm=CHORALE_BPM)
            return Composition(parts, self.motif_seconds, ids_l, self._known(ids_l), CHORALE_BPM)
        return Composition({"": self.style.notes(ids_l)}, self.motif_seconds, ids_l, self._known(ids_l))


def load_model(source: str | Path | None, bundled: str) -> tuple[MusicTransformer, ModelRecord]:
    """The network of a model folder and the folder's record. Raises ModelError."""
    model, record, _ = load_network(source, "music", _build, BUNDLED_MODELS / bundled, tensor_name=old_tensor)
    return model.eval(), record


def _build(record: ModelRecord) -> MusicTransformer:
    config, style = stored(MusicConfig, record.architecture), stored_style(record.preprocessing)
    if config.vocabulary != style.size or config.source_vocabulary not in (None, style.size):
        raise ModelError(f"has {config.vocabulary} ids for a style of {style.size}")
    if (config.voices, config.cycles) != (style.voices, style.cycles):
        raise ModelError(f"has {config.voices} voices and cycles {config.cycles}, unlike its style {style.kind}")
    stored(Measured, record.metrics)
    return MusicTransformer(config)


class Measured(BaseModel):
    """What prediction reads of the record's metrics: the tokens that the model was trained to look back over."""

    context: int | None = Field(default=None, ge=2, le=2**20)


class MusicGenerator:
    """A trained music model. Build it with `load`.

    >>> MusicGenerator.load().generate("motif.mid", seconds=30, seed=1)[0].save("piece.mid")
    """

    def __init__(self, model: MusicTransformer, record: ModelRecord) -> None:
        self.model, self.record = model, record
        self.style = stored_style(record.preprocessing, record.name)

    @classmethod
    def load(
        cls,
        source: str | Path | None = None,
        *,
        bundled: str = "piano",
        device: str | torch.device | None = None,
        int8: bool = False,
    ) -> Self:
        """A model folder, `hf://org/name`, or one of the bundled models: piano, chorale, accompany.

        On CUDA where there is one unless `device` says else; int8: with the linear layers' weights in eight bits.
        Raises ModelError for a folder that is missing, broken or made for another app.
        """
        model, record = load_model(source, bundled)
        if int8:
            to_int8(model)
        return cls(model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")), record)

    @property
    def context(self) -> int:
        """Tokens the model was trained to look back over; beyond, likelihoods get worse."""
        return stored(Measured, self.record.metrics, self.record.name).context or self.model.config.length

    @property
    def accompanies(self) -> bool:
        """Whether the model adds voices to a melody."""
        return self.model.config.source_vocabulary is not None

    def generate(
        self,
        motif: str | Path | Notes | None = None,
        *,
        seconds: float = 30.0,
        bars: int = 8,
        motif_seconds: float | None = None,
        transpose: int = 0,
        samples: int = 1,
        sampling: Sampling | None = None,
        seed: int = 0,
    ) -> list[Composition]:
        """Pieces that begin with the motif and go on for `seconds`, or `bars` of a chorale; see `compose`."""
        composing = self.compose(
            motif,
            seconds=seconds,
            bars=bars,
            motif_seconds=motif_seconds,
            transpose=transpose,
            samples=samples,
            sampling=sampling,
            seed=seed,
        )
        for _ in composing:
            pass
        return composing.pieces()

    def compose(
        self,
        motif: str | Path | Notes | None = None,
        *,
        seconds: float = 30.0,
        bars: int = 8,
        motif_seconds: float | None = None,
        transpose: int = 0,
        samples: int = 1,
        sampling: Sampling | None = None,
        seed: int = 0,
    ) -> Composing:
        """Start to compose; what comes back is iterated for progress.

        motif: a MIDI file or, for a piano, notes; its first `motif_seconds` are used, moved by `transpose` semitones.
        A chorale's motif that lacks voices is completed first. The same seed gives the same pieces. Raises InputError
        for a motif that cannot be used, UsageError for lengths that make no sense.
        """
        if self.accompanies:
            raise UsageError("this model accompanies a melody", hint="use `attn music accompany`")
        if samples < 1:
            raise UsageError(f"samples must be at least 1, not {samples}")
        if isinstance(self.style, Chorale):
            grid = self._motif_grid(motif, motif_seconds, transpose)
            return self._compose_grid(grid, bars, samples, sampling, seed)
        if not 0 < seconds <= MOST_SECONDS:
            raise UsageError(f"seconds must be above 0 and at most {MOST_SECONDS:.0f}, not {seconds:g}")
        notes = self._motif_notes(motif, motif_seconds, transpose)
        known_l = self.style.encode(notes)
        grammar = PerformanceGrammar(self.style.vocabulary, samples, notes.seconds + seconds)
        for id in known_l:
            grammar.accept(np.full(samples, id))
        composing = Composing(self.style, known_l, notes.seconds, grammar)
        composing.source = self._ids(np.tile(known_l, (samples, 1)), grammar, sampling, seed)
        return composing

    def continue_grid(
        self, grid_tv: np.ndarray, *, bars: int = 8, samples: int = 1, sampling: Sampling | None = None, seed: int = 0
    ) -> list[Composition]:
        """Chorales that begin with a grid (T, 4) of pitches, -1 for silence; a voice silent throughout is written."""
        if not isinstance(self.style, Chorale) or self.accompanies:
            raise UsageError("this model does not write chorales", hint="use the bundled one for them")
        composing = self._compose_grid(grid_tv, bars, samples, sampling, seed)
        for _ in composing:
            pass
        return composing.pieces()

    def accompany(
        self,
        melody: str | Path,
        *,
        transpose: int = 0,
        samples: int = 1,
        sampling: Sampling | None = None,
        seed: int = 0,
    ) -> list[Composition]:
        """Alto, tenor and bass to a melody, the highest line of a MIDI file. Raises InputError as `generate` does."""
        if not self.accompanies or not isinstance(self.style, Chorale):
            raise UsageError("this model does not accompany", hint="use the bundled one, or train with --accompany")
        melody_t = melody_ids(grid_of(melody), self.style, transpose, melody)
        forced_tv = np.full((len(melody_t), self.style.voices), -1)
        forced_tv[:, 0] = melody_t
        grammar = self._grid_grammar(len(melody_t), samples, forced_tv)
        composing = Composing(self.style, np.zeros(0, np.int64), 0.0, grammar)
        source_bs = torch.from_numpy(np.tile(melody_t, (samples, 1))).to(self._device)
        composing.source = self._ids(np.zeros((samples, 0), np.int64), grammar, sampling, seed, source_bs)
        for _ in composing:
            pass
        return composing.pieces()

    def _compose_grid(
        self, grid_tv: np.ndarray, bars: int, samples: int, sampling: Sampling | None, seed: int
    ) -> Composing:
        assert isinstance(self.style, Chorale)
        if not 0 < bars <= MOST_BARS:
            raise UsageError(f"bars must be between 1 and {MOST_BARS}, not {bars}")
        forced_tv = np.zeros((0, self.style.voices), np.int64)
        if len(grid_tv):
            forced_tv = self.style.encode(grid_tv).reshape(-1, self.style.voices)
            missing_v = (grid_tv == SILENCE).all(0)
            forced_tv = np.where(missing_v, -1, forced_tv)
        grammar = self._grid_grammar(len(grid_tv) + bars * STEPS_PER_BAR, samples, forced_tv)
        known = 0 if (forced_tv < 0).any() else forced_tv.size
        known_l = forced_tv.reshape(-1)[:known]
        for id in known_l:
            grammar.accept(np.full(samples, id))
        composing = Composing(self.style, known_l, len(grid_tv) * BAR_SECONDS / STEPS_PER_BAR, grammar)
        composing.source = self._ids(np.tile(known_l, (samples, 1)), grammar, sampling, seed)
        return composing

    def _grid_grammar(self, steps: int, samples: int, forced_tv: np.ndarray) -> GridGrammar:
        assert isinstance(self.style, Chorale)
        return GridGrammar(self.style.size, self.style.range_ids(), steps, samples, forced_tv)

    def _ids(
        self,
        known_bl: np.ndarray,
        grammar: Grammar,
        sampling: Sampling | None,
        seed: int,
        source_bs: Tensor | None = None,
    ) -> Iterator[np.ndarray]:
        if not 0 <= seed <= MOST_SEED:
            raise UsageError(f"seed must be 0 to {MOST_SEED}, not {seed}")
        edges_b1 = np.full((len(known_bl), 1), EDGE)
        prompt_bl = torch.from_numpy(np.concatenate([edges_b1, known_bl], 1)).to(self._device)
        return generate(
            self.model,
            prompt_bl,
            grammar,
            sampling or Sampling(),
            seed=seed,
            length=self.context,
            source_bs=source_bs,
        )

    @property
    def _device(self) -> torch.device:
        return self.model.embedding.weight.device

    def _motif_notes(self, motif: str | Path | Notes | None, seconds: float | None, transpose: int) -> Notes:
        if motif is None:
            return Notes.none()
        notes = motif if isinstance(motif, Notes) else with_sustain(read_midi(motif))
        where = None if isinstance(motif, Notes) else motif
        assert isinstance(self.style, Piano)
        notes = moved(notes, transpose, where)
        notes = notes.where(self.style.vocabulary.covers(notes))
        if len(notes):
            notes = notes.shifted(-float(notes.start.min()))
        notes = beginning(notes, seconds)
        if not len(notes):
            raise InputError("has no notes to go on from", where=where, hint="`attn music inspect` shows what is in it")
        return notes

    def _motif_grid(self, motif: str | Path | Notes | None, seconds: float | None, transpose: int) -> np.ndarray:
        if motif is None:
            return np.zeros((0, len(VOICES)), np.int64)
        if isinstance(motif, Notes):
            raise UsageError("a chorale goes on from a MIDI file, whose tempo gives the grid")
        midi = read_midi(motif)
        grid = grid_of(midi, motif)
        if seconds is not None:
            quarters = float(midi.tempo.quarters(np.array([checked(seconds)]))[0])
            grid = grid[: max(1, round(quarters * STEPS_PER_QUARTER))]
        assert isinstance(self.style, Chorale)
        moved_tv = np.where(grid == SILENCE, SILENCE, grid + transpose)
        self.style.encode(moved_tv, motif)  # says what is wrong, if anything
        return moved_tv
