"""Predict music: a motif, a melody or nothing in, pieces out.

Shapes: B pieces, L tokens, S source tokens, T grid steps, V voices.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from pydantic import BaseModel, Field
from torch import Tensor

from attn.apps.music.compose import Composing, Composition, Request
from attn.apps.music.decode import Grammar, generate
from attn.apps.music.grammar import GridGrammar, PerformanceGrammar
from attn.apps.music.model import MusicConfig, MusicTransformer
from attn.apps.music.motif import grid_of, melody_ids, moved
from attn.apps.music.older import old_tensor
from attn.apps.music.styles import EDGE, STEP_SECONDS, STEPS_PER_BAR, Chorale, Piano, stored_style
from attn.core.errors import InputError, ModelError, UsageError
from attn.core.models.folder import ModelRecord, load_network
from attn.core.models.int8 import to_int8
from attn.core.settings import checked, stored
from attn.data_adapters.midi.chorales import SILENCE, STEPS_PER_QUARTER, VOICES
from attn.data_adapters.midi.file import read_midi, with_sustain
from attn.data_adapters.midi.notes import Notes

BUNDLED_MODELS = Path(__file__).with_name("weights")
DEFAULT_SECONDS, DEFAULT_BARS = 30.0, 8


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

    def generate(self, motif: str | Path | Notes | None = None, **settings: Any) -> list[Composition]:
        """Pieces that begin with the motif; `settings` are those of `Request`, and `compose` says what is raised."""
        return self.compose(motif, **settings).finish()

    def compose(self, motif: str | Path | Notes | None = None, **settings: Any) -> Composing:
        """Start to compose; the result is iterated for progress.

        motif: a MIDI file or, for a piano, notes; None begins from nothing. A chorale's motif that lacks voices is
        completed first. settings: see `Request`. Raises InputError for a motif that cannot be used, UsageError for
        settings that are out of bounds or have no effect on this model.
        """
        if self.accompanies:
            raise UsageError("this model accompanies a melody", hint="use `attn music accompany`")
        request = checked(Request, **settings)
        if isinstance(self.style, Chorale):
            request.refuse("seconds", by="a chorale, whose length is in bars")
            return self._compose_grid(self.style, self._motif_grid(self.style, motif, request), request)
        request.refuse("bars", by="a piano piece, whose length is in seconds")
        notes = self._motif_notes(self.style, motif, request)
        known_l = self.style.encode(notes)
        seconds = DEFAULT_SECONDS if request.seconds is None else request.seconds
        grammar = PerformanceGrammar(self.style.vocabulary, request.samples, notes.seconds + seconds, known_l)
        return Composing(self.style, known_l, notes.seconds, grammar, self._ids(known_l, grammar, request))

    def continue_grid(self, grid_tv: np.ndarray, **settings: Any) -> list[Composition]:
        """Chorales that begin with a grid (T, 4) of pitches, -1 for silence; a voice silent throughout is written."""
        if not isinstance(self.style, Chorale) or self.accompanies:
            raise UsageError("this model does not write chorales", hint="use the bundled one for them")
        request = checked(Request, **settings)
        request.refuse("seconds", "motif_seconds", by="a grid")
        return self._compose_grid(self.style, grid_tv, request).finish()

    def accompany(self, melody: str | Path, **settings: Any) -> list[Composition]:
        """Alto, tenor and bass to a melody, the highest line of a MIDI file. Raises what `compose` raises."""
        if not self.accompanies or not isinstance(self.style, Chorale):
            raise UsageError("this model does not accompany", hint="use the bundled one, or train with --accompany")
        request = checked(Request, **settings)
        request.refuse("seconds", "bars", "motif_seconds", by="an accompaniment, which is as long as its melody")
        melody_t = melody_ids(grid_of(melody), self.style, request.transpose, melody)
        forced_tv = np.full((len(melody_t), self.style.voices), -1)
        forced_tv[:, 0] = melody_t
        grammar = _grid_grammar(self.style, len(melody_t), request.samples, forced_tv)
        nothing_l = np.zeros(0, np.int64)
        source = self._ids(nothing_l, grammar, request, melody_t)
        return Composing(self.style, nothing_l, 0.0, grammar, source).finish()

    def _compose_grid(self, style: Chorale, grid_tv: np.ndarray, request: Request) -> Composing:
        forced_tv = np.zeros((0, style.voices), np.int64)
        if len(grid_tv):
            missing_v = (grid_tv == SILENCE).all(0)
            forced_tv = np.where(missing_v, -1, style.encode(grid_tv).reshape(-1, style.voices))
        bars = DEFAULT_BARS if request.bars is None else request.bars
        grammar = _grid_grammar(style, len(grid_tv) + bars * STEPS_PER_BAR, request.samples, forced_tv)
        known_l = forced_tv.reshape(-1)[: grammar.heard]
        return Composing(style, known_l, len(grid_tv) * STEP_SECONDS, grammar, self._ids(known_l, grammar, request))

    def _ids(
        self, known_l: np.ndarray, grammar: Grammar, request: Request, source_s: np.ndarray | None = None
    ) -> Iterator[np.ndarray]:
        prompt_l = np.concatenate([[EDGE], known_l]).astype(np.int64)
        return generate(
            self.model,
            self._repeated(prompt_l, request.samples),
            grammar,
            request.sampling,
            seed=request.seed,
            length=self.context,
            source_bs=None if source_s is None else self._repeated(source_s, request.samples),
        )

    def _repeated(self, ids_l: np.ndarray, samples: int) -> Tensor:
        return torch.from_numpy(np.tile(ids_l, (samples, 1))).to(self.model.embedding.weight.device)

    def _motif_notes(self, style: Piano, motif: str | Path | Notes | None, request: Request) -> Notes:
        if motif is None:
            return Notes.none()
        notes = motif if isinstance(motif, Notes) else with_sustain(read_midi(motif))
        where = None if isinstance(motif, Notes) else motif
        notes = moved(notes, request.transpose, where)
        notes = notes.where(style.vocabulary.covers(notes))
        if len(notes):
            notes = notes.shifted(-float(notes.start.min()))
        if request.motif_seconds is not None:
            notes = notes.between(0.0, request.motif_seconds)
        if not len(notes):
            raise InputError("has no notes to begin with", where=where, hint="`attn music inspect` shows what is in it")
        return notes

    def _motif_grid(self, style: Chorale, motif: str | Path | Notes | None, request: Request) -> np.ndarray:
        if motif is None:
            return np.zeros((0, len(VOICES)), np.int64)
        if isinstance(motif, Notes):
            raise UsageError("a chorale begins with a MIDI file, whose tempo gives the grid")
        midi = read_midi(motif)
        grid_tv = grid_of(midi, motif)
        if request.motif_seconds is not None:
            quarters = float(midi.tempo.quarters(np.array([request.motif_seconds]))[0])
            grid_tv = grid_tv[: max(1, round(quarters * STEPS_PER_QUARTER))]
        moved_tv = np.where(grid_tv == SILENCE, SILENCE, grid_tv + request.transpose)
        style.encode(moved_tv, motif)  # says what is wrong, if anything
        return moved_tv


def _grid_grammar(style: Chorale, steps: int, samples: int, forced_tv: np.ndarray) -> GridGrammar:
    return GridGrammar(style.size, style.range_ids(), steps, samples, forced_tv)
