"""What `attn look` sees of a music model: pieces, the next token as the answer, notes and bars as distances.

Shapes: L tokens, S source tokens, R predicted tokens, V vocabulary.
"""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from attn.apps.music.likelihood import melody_of
from attn.apps.music.objectives import objectives
from attn.apps.music.predict import MusicGenerator
from attn.apps.music.styles import EDGE, STEPS_PER_BAR, AnyStyle, Chorale
from attn.data_adapters.midi.chorales import VOICES
from attn.data_adapters.midi.token_cache import MIDI_SUFFIXES
from attn.data_adapters.paths import expand_inputs
from attn.look.layout import Layout, in_time
from attn.look.probe import Batch, Probe

MOST_TOKENS, MOST_PIECES = 256, 8  # a report makes a hundred passes, each of which makes all weights of all heads


def probe(folder: Path, device: str | None = None) -> Probe:
    """A music model to look into. Raises ModelError."""
    generator = MusicGenerator.load(folder, device=device)
    model, style = generator.model, generator.style
    most = min(MOST_TOKENS, generator.context)
    voices = style.voices

    def read_one(path: Path) -> Batch:
        ids_l = style.read(path)[: most // voices * voices]
        ids_1l = torch.from_numpy(np.concatenate([[EDGE], ids_l]).astype(np.int64))[None].to(
            model.embedding.weight.device
        )
        seen = style_layout(style, ids_1l[0, :-1].cpu().numpy())
        if not generator.accompanies:
            return Batch((str(path),), (ids_1l[:, :-1],), {"blocks.*.mixer": seen}, ids_1l[:, 1:])
        source_1s = melody_of(ids_1l, voices)
        steps_s = np.arange(source_1s.shape[1])
        scales = {"steps of the melody": steps_s, "bars of the melody": steps_s // STEPS_PER_BAR}
        melody = in_time([_step(step) for step in steps_s], causal=False, **scales)
        layouts = {"blocks.*.mixer": seen, "encoder.*": melody}
        return Batch((str(path),), (ids_1l[:, :-1], source_1s), layouts, ids_1l[:, 1:][:, _added(ids_1l.shape[1] - 1)])

    def read(inputs: Sequence[str]) -> list[Batch]:
        return [read_one(path) for path in islice(expand_inputs(inputs, MIDI_SUFFIXES), MOST_PIECES)]

    def _added(tokens: int) -> Tensor:
        """The places of the voices that are added: the melody is given."""
        return torch.from_numpy(np.flatnonzero(np.arange(tokens) % voices))

    def log_p(ids_bl: Int[Tensor, "B L"], source_bs: Int[Tensor, "B S"] | None = None) -> Float[Tensor, "B R V"]:
        log_p_blv: Tensor = model(ids_bl, source_bs).log_softmax(-1)
        return log_p_blv if source_bs is None else log_p_blv[:, _added(ids_bl.shape[1]).to(log_p_blv.device)]

    answers = "the token that follows each; the true one is that of the piece"
    return Probe("music", generator.record.name, model, read, log_p, answers, objectives=objectives(generator))


def style_layout(style: AnyStyle, ids_l: np.ndarray) -> Layout:
    """Where tokens lie in a piece that begins with the edge: by notes, and by bars or, for performances, seconds."""
    if isinstance(style, Chorale):
        place_l = np.arange(len(ids_l)) - 1
        step_l = np.maximum(place_l, 0) // style.voices
        voice = [VOICES[place % style.voices] for place in place_l]
        names = ["the edge", *(f"{_step(step)}, {name}" for step, name in zip(step_l[1:], voice[1:], strict=True))]
        before_l = np.concatenate([[0] * style.voices, ids_l])[: len(ids_l)]  # the same voice a step earlier
        struck_l = (ids_l > style.silence) & (ids_l != before_l)
        return in_time(names, notes=np.cumsum(struck_l), bars=step_l // STEPS_PER_BAR)
    events = style.vocabulary
    ahead_l = np.where((ids_l >= events.time_shift.start) & (ids_l < events.time_shift.stop), ids_l, 0)
    hundredths_l = np.cumsum(np.where(ahead_l > 0, ahead_l - events.time_shift.start + 1, 0))
    struck_l = (ids_l >= events.note_on.start) & (ids_l < events.note_on.stop)
    names = [f"{time / 100:.2f} s, token {place}" for place, time in enumerate(hundredths_l)]
    return in_time(["the edge", *names[1:]], notes=np.cumsum(struck_l), seconds=hundredths_l // 100)


def _step(step: int | np.integer[Any]) -> str:
    return f"bar {step // STEPS_PER_BAR + 1}, sixteenth {step % STEPS_PER_BAR + 1}"
