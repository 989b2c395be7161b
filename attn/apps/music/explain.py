"""Which past notes a model attended to when it predicted each note of a piece.

Shapes: B batch, H heads, L tokens, N notes.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from attn.apps.music.arcs import draw_arcs
from attn.apps.music.predict import MusicGenerator
from attn.apps.music.styles import BAR_SECONDS, CHORALE_BPM, EDGE, Chorale, Piano
from attn.core.attention.watch import AttentionRecord, record
from attn.core.errors import InputError, UsageError
from attn.core.files import replacing
from attn.data_adapters.midi.notes import Notes

MOST_TOKENS = 4096


@dataclass(frozen=True, eq=False)
class Listening:
    """What a model attended to in a piece.

    notes: in order of start, then pitch. weights: (N, N), the attention to note j in the prediction of note i, 0 unless
    j is earlier. bar_seconds: length of a bar, for music in bars.
    """

    notes: Notes
    weights: np.ndarray
    bar_seconds: float | None

    def save(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Write `name`.png and `name`.npz (weights, and the columns of the notes) to `folder`; their paths."""
        picture, arrays = folder / f"{name}.png", folder / f"{name}.npz"
        draw_arcs(self.notes, self.weights, picture, bar_seconds=self.bar_seconds, title=name)
        columns = {field: getattr(self.notes, field) for field in ("start", "end", "pitch", "velocity")}
        with replacing(arrays) as part:
            np.savez_compressed(part, weights=self.weights, **columns)
        return picture, arrays


def listen(generator: MusicGenerator, path: Path, *, seconds: float = 15.0, layer: int | None = None) -> Listening:
    """Run the model over the first `seconds` of a MIDI file and record its attention.

    The weights are the mean over the heads of one `layer`, or over the heads of all layers. The token before a note
    predicts the note: a note's row holds that token's weights on the tokens that strike the earlier notes. Raises
    InputError for a piece without notes or with more than MOST_TOKENS tokens, UsageError for a layer that the model
    does not have and for a model that accompanies.
    """
    if generator.accompanies:
        raise UsageError("this model accompanies; explain shows a model that continues", hint="give another --model")
    style = generator.style
    if isinstance(style, Piano):
        notes = style.notes(style.read(path))
        notes = notes.shifted(-float(notes.start.min())).between(0, seconds)
        ids_l = style.encode(notes)
    else:
        steps = max(1, round(seconds * CHORALE_BPM / 60 * 4))
        ids_l = style.read(path)[: steps * style.voices]
    if not len(ids_l) or len(ids_l) > MOST_TOKENS:
        raise InputError(
            f"has {len(ids_l)} tokens in {seconds:g} s, between 1 and {MOST_TOKENS} can be drawn",
            where=path,
            hint="change --seconds",
        )
    notes, place_n = _strikes(style, ids_l)
    weights_nn = np.tril(_weights(generator, ids_l, place_n, layer), -1)
    return Listening(notes, weights_nn, BAR_SECONDS if isinstance(style, Chorale) else None)


def _weights(generator: MusicGenerator, ids_l: np.ndarray, place_n: np.ndarray, layer: int | None) -> np.ndarray:
    """(N, N) from the token before each strike to each strike, the mean over heads and layers."""
    ids_bl = torch.from_numpy(np.concatenate([[EDGE], ids_l]))[None].to(generator.model.embedding.weight.device)
    strike_n = torch.from_numpy(place_n).to(ids_bl.device) + 1  # after the edge

    def between_notes(seen: AttentionRecord) -> Tensor:
        # Each layer is reduced at once: the weights of all heads and tokens would take gigabytes.
        return seen.mean_over_heads().dense(ids_bl.shape[1])[0, 0][strike_n - 1][:, strike_n]

    with torch.inference_mode(), record(generator.model, "blocks.*.mixer", keep=between_notes) as seen:
        generator.model(ids_bl)
    layers = list(seen.values())
    if not layers:
        raise UsageError(
            f"the mixer {generator.model.config.mixer!r} has no attention weights from every note to those before it",
            hint="`attn mixers` lists the mixers that have weights",
        )
    if layer is not None and not 0 <= layer < len(layers):
        raise UsageError(f"no layer {layer}", hint=f"there are 0 to {len(layers) - 1}")
    weights: np.ndarray = torch.stack(layers if layer is None else [layers[layer]]).mean(0).cpu().numpy()
    return weights


def _strikes(style: Piano | Chorale, ids_l: np.ndarray) -> tuple[Notes, np.ndarray]:
    """The notes, and the place (N,) of the token that strikes each note."""
    if isinstance(style, Piano):
        on = style.vocabulary.note_on
        place = np.flatnonzero((ids_l >= on.start) & (ids_l < on.stop))
        pitch = ids_l[place] - on.start + style.low
        shift = style.vocabulary.time_shift
        step_l = np.where((ids_l >= shift.start) & (ids_l < shift.stop), ids_l - shift.start + 1, 0).cumsum()
        onset = step_l[place] / 100
    else:
        grid_tv = style.grid(ids_l)
        struck_tv = (grid_tv >= 0) & (np.diff(grid_tv, axis=0, prepend=-2) != 0)
        place = np.flatnonzero(struck_tv.reshape(-1)[: len(ids_l)])
        pitch = grid_tv.reshape(-1)[place]
        onset = place // style.voices * BAR_SECONDS / 16
    notes = style.notes(ids_l)
    order = np.lexsort((pitch, onset))
    return notes, place[order][: len(notes)]
