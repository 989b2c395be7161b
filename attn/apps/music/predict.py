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

from attn.apps.music.candidates import Candidates
from attn.apps.music.compose import Composing, Composition, Request
from attn.apps.music.decode import Grammar, Sampling, generate
from attn.apps.music.fill import Fill, between, heard_after, opened
from attn.apps.music.grammar import GridGrammar, PerformanceGrammar
from attn.apps.music.key import Key, key_of
from attn.apps.music.model import MusicConfig, MusicTransformer
from attn.apps.music.motif import GridMotif, PianoMotif, chorale_motif, melody_motif, piano_motif
from attn.apps.music.notation import GridNotation, PianoNotation
from attn.apps.music.older import old_tensor
from attn.apps.music.piano_fill import between as joining
from attn.apps.music.piano_fill import within
from attn.apps.music.styles import EDGE, STEPS_PER_BAR, Chorale, Piano, stored_style
from attn.core.errors import ModelError, UsageError
from attn.core.models.folder import ModelRecord, load_network
from attn.core.models.int8 import to_int8
from attn.core.settings import checked, stored
from attn.data_adapters.midi.chorales import SILENCE
from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.tempo import TempoMap

BUNDLED_MODELS = Path(__file__).with_name("weights")
DEFAULT_SECONDS, DEFAULT_BARS = 30.0, 8
STYLE_SAMPLING = {
    "piano": Sampling(temperature=0.9, top_p=0.95, rules=1.0),
    "chorale": Sampling(temperature=0.9, top_p=0.95, rules=1.0),
}
ACCOMPANY_SAMPLING = Sampling(temperature=0.8, top_p=0.95, rules=1.0)
ACCOMPANY_CANDIDATES = 4  # where rules guide: octaves between the melody and what is written come back otherwise
FINAL_SECONDS, FINAL_STEPS = 2.5, 8  # the longest final chord


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

    @property
    def sampling(self) -> Sampling:
        """How to draw unless a request says otherwise: what was found best for the style (docs/music.md)."""
        return ACCOMPANY_SAMPLING if self.accompanies else STYLE_SAMPLING[self.style.kind]

    def generate(self, motif: str | Path | Notes | None = None, **settings: Any) -> list[Composition]:
        """Pieces that begin with the motif; `settings` are those of `Request`, and `compose` says what is raised."""
        return self.compose(motif, **settings).finish()

    def compose(self, motif: str | Path | Notes | None = None, **settings: Any) -> Composing:
        """Start to compose; the result is iterated for progress.

        motif: a MIDI file, score or recording or, for a piano, notes; None begins from nothing. A chorale's motif that
        lacks voices is completed first. settings: see `Request`. Raises InputError for a motif that cannot be used,
        UsageError for settings that are out of bounds or have no effect on this model.
        """
        if self.accompanies:
            raise UsageError("this model accompanies a melody", hint="use `attn music accompany`")
        request = checked(Request, **settings)
        if request.seconds is not None and request.bars is not None:
            raise UsageError("the length is given in seconds and in bars", hint="give one of them")
        if isinstance(self.style, Chorale):
            request.refuse("density", "pitches", by="a chorale, whose voices have their ranges")
            voices = self._grid_motif(self.style, motif, request)
            if request.fill is None and request.before is None:
                return self._compose_grid(self.style, voices, request)
            return self._within(self.style, self._open(self.style, voices, motif, request), request)
        request.refuse("voices", "chords", by="a piano piece")
        if not (request.sampling or self.sampling).rules:
            request.refuse("density", by="sampling without rules")
        low, high = request.pitches or (self.style.low, self.style.high)
        if low > self.style.high or high < self.style.low:
            raise UsageError(f"the model has no pitch in that register: it has {self.style.low} to {self.style.high}")
        if request.fill is not None or request.before is not None:
            return self._piano_within(self.style, motif, request)
        if motif is None:
            notation = PianoNotation(TempoMap.of_bpm(self.style.bpm))
            begin = PianoMotif(self.style.encode(Notes.none()), notation)
        else:
            begin = piano_motif(self.style, motif, request)
        how = begin.notation
        total = how.until - how.start + how.length(request.seconds, request.bars, DEFAULT_SECONDS)
        final = how.final_seconds(how.start + total, FINAL_SECONDS) if request.end else None
        wanted: dict[str, Any] = {"density": request.density, "pitches": request.pitches}
        grammar = PerformanceGrammar(self.style.vocabulary, len(request.row_seeds), total, begin.known, final, **wanted)
        ranked = Candidates(request.each) if request.each > 1 else None
        source = self._ids(begin.known, grammar, request, ranked)
        return Composing(self.style, how, begin.known, how.until, grammar, source, request.seeds, ranked)

    def continue_grid(self, grid_tv: np.ndarray, **settings: Any) -> list[Composition]:
        """Chorales that begin with a grid (T, 4) of pitches, -1 for silence; a voice silent throughout is written."""
        if not isinstance(self.style, Chorale) or self.accompanies:
            raise UsageError("this model does not write chorales", hint="use the bundled one for them")
        request = checked(Request, **settings)
        request.refuse(
            "motif_seconds", "track", "channel", "voices", "fill", "before", "density", "pitches", by="a grid"
        )
        sounding_tv = grid_tv != SILENCE
        forced_tv = np.broadcast_to(sounding_tv.any(0), sounding_tv.shape)
        notation = GridNotation(TempoMap.of_bpm(self.style.bpm), steps=len(grid_tv))
        return self._compose_grid(self.style, GridMotif(grid_tv, forced_tv, notation), request).finish()

    def accompany(self, melody: str | Path, **settings: Any) -> list[Composition]:
        """Alto, tenor and bass to the melody of a MIDI file. Raises what `compose` raises."""
        return self.compose_accompaniment(melody, **settings).finish()

    def compose_accompaniment(self, melody: str | Path, **settings: Any) -> Composing:
        """Start to accompany; the result is iterated for progress."""
        if not self.accompanies or not isinstance(self.style, Chorale):
            raise UsageError("this model does not accompany", hint="use the bundled one, or train with --accompany")
        request = checked(Request, **settings)
        length = "an accompaniment, which is as long as its melody"
        request.refuse("seconds", "bars", "motif_seconds", by=length)
        by = "an accompaniment, whose melody is the soprano"
        request.refuse("voices", "fill", "before", "density", "pitches", "guide", "policy", by=by)
        motif = melody_motif(self.style, melody, request)
        melody_t = self.style.encode(motif.grid[:, :1], melody)
        forced_tv = np.full(motif.grid.shape, -1)
        forced_tv[:, 0] = melody_t
        sampling = request.sampling or self.sampling
        if request.candidates is None and sampling.rules > 0 and sampling.temperature > 0:
            request = request.model_copy(update={"candidates": ACCOMPANY_CANDIDATES})
        guided = sampling.rules > 0 and request.chords is None
        key, final = _cadence(motif.grid[:, 0]) if guided else (None, 0)
        grammar = self._grid_grammar(self.style, request, forced_tv, motif.notation, len(melody_t), key, final, 0)
        nothing_l = np.zeros(0, np.int64)
        ranked = Candidates(request.each) if request.each > 1 else None
        source = self._ids(nothing_l, grammar, request, ranked, melody_t)
        return Composing(self.style, motif.notation, nothing_l, 0.0, grammar, source, request.seeds, ranked)

    def _compose_grid(self, style: Chorale, motif: GridMotif, request: Request) -> Composing:
        how = motif.notation
        forced_tv = np.zeros((0, style.voices), np.int64)
        if len(motif.grid):
            forced_tv = np.where(motif.forced, style.encode(motif.grid).reshape(-1, style.voices), -1)
        if request.end and request.chords is not None:
            raise UsageError("chords say how a piece ends", hint="leave out --end")
        steps = len(forced_tv) + how.length(request.seconds, request.bars, DEFAULT_BARS)
        key = key_of(np.bincount(motif.grid[motif.grid >= 0] % 12, minlength=12)) if request.end else None
        final = min(FINAL_STEPS, max(1, (steps - len(forced_tv)) // 2)) if request.end else 0
        grammar = self._grid_grammar(style, request, forced_tv, how, steps, key, final, len(forced_tv))
        ranked = Candidates(request.each) if request.each > 1 else None
        return self._composing(style, how, forced_tv, how.until, grammar, request, ranked)

    def _within(self, style: Chorale, motif: GridMotif, request: Request) -> Composing:
        """Write what is free between what is given on both sides."""
        self._refuse_within(request)
        gap_tv = ~motif.forced
        forced_tv = np.where(motif.forced, style.encode(motif.grid).reshape(-1, style.voices), -1)
        first = int(gap_tv.any(1).argmax())
        grammar = self._grid_grammar(style, request, forced_tv, motif.notation, len(forced_tv), None, 0, first)
        judged_tv = heard_after(gap_tv, motif.forced, STEPS_PER_BAR)
        judged_l = judged_tv.reshape(-1)[grammar.heard :]
        ranked = Candidates(request.each, lambda step: bool(judged_l[step]))
        return self._composing(style, motif.notation, forced_tv, 0.0, grammar, request, ranked)

    def _piano_within(self, style: Piano, motif: str | Path | Notes | None, request: Request) -> Composing:
        """The same for a performance: its beginning, the gap, and the first seconds after it, by which it is judged."""
        self._refuse_within(request)
        if motif is None:
            raise UsageError("there is no piece to fill", hint="give a motif")
        joins, bars = request.before is not None, request.bars or DEFAULT_BARS
        gap = joining(style, motif, request, bars) if joins else within(style, motif, request)
        known_l, how = gap.before.known, gap.before.notation
        total = how.until - how.start + gap.seconds + gap.coda_seconds
        asked: dict[str, Any] = {"coda_l": gap.coda_l, "coda_seconds": gap.coda_seconds}
        asked |= {"density": request.density, "pitches": request.pitches}
        grammar = PerformanceGrammar(style.vocabulary, len(request.row_seeds), total, known_l, **asked)
        ranked = Candidates(request.each, lambda step: grammar.begun_b)
        source = self._ids(known_l, grammar, request, ranked)
        return Composing(style, how, known_l, 0.0, grammar, source, request.seeds, ranked)

    @staticmethod
    def _refuse_within(request: Request) -> None:
        """Raise UsageError for what has no effect between two given parts, or for two gaps."""
        by = "a fill, which is as long as its gap" if request.fill is not None else "what ends with a given piece"
        request.refuse("seconds", *(["bars"] if request.fill is not None else []), by=by)
        if request.end:
            raise UsageError(f"end has no effect on {by}", hint="leave it out")
        if request.fill is not None and request.before is not None:
            raise UsageError("a gap is asked for in a piece and between two", hint="fill one, then the other")

    def _composing(
        self,
        style: Chorale,
        how: GridNotation,
        forced_tv: np.ndarray,
        motif_seconds: float,
        grammar: GridGrammar,
        request: Request,
        ranked: Candidates | None,
    ) -> Composing:
        known_l = forced_tv.reshape(-1)[: grammar.heard]
        source = self._ids(known_l, grammar, request, ranked)
        return Composing(style, how, known_l, motif_seconds, grammar, source, request.seeds, ranked)

    def _ids(
        self,
        known_l: np.ndarray,
        grammar: Grammar,
        request: Request,
        ranked: Candidates | None,
        source_s: np.ndarray | None = None,
    ) -> Iterator[np.ndarray]:
        prompt_l = np.concatenate([[EDGE], known_l]).astype(np.int64)
        return generate(
            self.model,
            self._repeated(prompt_l, len(request.row_seeds)),
            grammar,
            request.sampling or self.sampling,
            seeds=request.row_seeds,
            length=self.context,
            source_bs=None if source_s is None else self._repeated(source_s, len(request.row_seeds)),
            hear=None if ranked is None else ranked.hear,
            guide=request.guide,
            policy=request.policy,
        )

    def _repeated(self, ids_l: np.ndarray, samples: int) -> Tensor:
        return torch.from_numpy(np.tile(ids_l, (samples, 1))).to(self.model.embedding.weight.device)

    @staticmethod
    def _open(style: Chorale, begin: GridMotif, motif: str | Path | Notes | None, request: Request) -> GridMotif:
        """The motif with a gap in it, or between it and another."""
        if motif is None:
            raise UsageError("there is no piece to fill", hint="give a motif")
        if request.before is not None:
            whole = request.model_copy(update={"motif_seconds": None})
            return between(begin, chorale_motif(style, request.before, whole), request.bars or DEFAULT_BARS)
        return opened(begin, Fill.of(str(request.fill)).gap(begin.notation))

    def _grid_motif(self, style: Chorale, motif: str | Path | Notes | None, request: Request) -> GridMotif:
        if isinstance(motif, Notes):
            raise UsageError("a chorale begins with a MIDI file, whose tempo gives the grid")
        if motif is not None:
            return chorale_motif(style, motif, request)
        nothing_tv = np.zeros((0, style.voices), np.int64)
        return GridMotif(nothing_tv, nothing_tv > 0, GridNotation(TempoMap.of_bpm(style.bpm)))

    @staticmethod
    def _grid_grammar(
        style: Chorale,
        request: Request,
        forced_tv: np.ndarray,
        notation: GridNotation,
        steps: int,
        key: Key | None,
        final: int,
        begin: int,
    ) -> GridGrammar:
        first = (style.silence + 1, style.low)
        ranges, clock = style.range_ids(), notation.clock
        harmony = None if request.chords is None else notation.harmony(request.chords, begin, steps)
        closing: dict[str, Any] = {"first_pitch": first, "key": key, "final": final, "harmony": harmony}
        return GridGrammar(style.size, ranges, steps, len(request.row_seeds), forced_tv, clock, **closing)


def _cadence(pitch_t: np.ndarray) -> tuple[Key | None, int]:
    """The key in which a melody (T,) closes, and the steps of its last note; None if that is no tonic chord's."""
    sounding_t = pitch_t[pitch_t >= 0]
    last = int(sounding_t[-1])
    key = key_of(np.bincount(sounding_t % 12, minlength=12), last % 12)
    held = int(np.argmin(np.append(pitch_t[::-1] == last, False)))
    return (key, min(FINAL_STEPS, held)) if key is not None and key.triad[last % 12] else (None, 0)
