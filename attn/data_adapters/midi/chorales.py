"""Four-part chorales on a grid of sixteenth notes: the JSB files, and notes.

Source: the JSB chorales of Boulanger-Lewandowski et al. 2012 in the sixteenth-note form of Huang et al. 2017
("Counterpoint by Convolution"). The grid has no hold marks, so that a repeated pitch and a held one look the same; here
it is held.

Shapes: T sixteenths, 4 voices, soprano first. A grid is (T, 4) int64 MIDI pitches, -1 for silence.
"""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np

from attn.core.errors import InputError
from attn.data_adapters.boundary import boundary
from attn.data_adapters.midi.notes import PITCHES, Notes

VOICES = ("Soprano", "Alto", "Tenor", "Bass")
SILENCE = -1
STEPS_PER_QUARTER = 4
MAX_STEPS = 1 << 16  # of a piece: more than an hour
MAX_PIECES = 1 << 16
MAX_BYTES = 1 << 23  # of JSON, which takes up to forty times as much memory
VELOCITY = 80
_PITCHES = frozenset(range(SILENCE, PITCHES))  # in which a whole float is found too


def read_jsb(path: str | Path) -> dict[str, list[np.ndarray]]:
    """The grids of a JSON file `{split: [[[soprano, alto, tenor, bass], ...], ...]}`, by split.

    A step with fewer than four pitches fills the voices from the soprano down.
    InputError: not such a file, with the split, piece and step (counted from 0) that are wrong.
    """
    path = Path(path)
    with boundary(path, "cannot be read"):
        if (size := path.stat().st_size) > MAX_BYTES:
            raise InputError(f"has {size:,} bytes, more than the {MAX_BYTES:,} read", where=path)
        content = path.read_bytes()
    with boundary(path, "is not a JSON file"):
        content = json.loads(content)
    if not isinstance(content, dict) or not all(isinstance(pieces, list) for pieces in content.values()):
        raise InputError("is not a file of chorales: a list of pieces for each split is expected", where=path)
    if (pieces := sum(map(len, content.values()))) > MAX_PIECES:
        raise InputError(f"has {pieces:,} pieces, more than the {MAX_PIECES:,} read", where=path)
    return {
        split: [_grid(piece, f"{path}, {split}, piece {number}") for number, piece in enumerate(pieces)]
        for split, pieces in content.items()
    }


def grid_to_voices(grid: np.ndarray, *, bpm: float = 80.0) -> dict[str, Notes]:
    """The notes of each voice, by its name, at `bpm` quarters per minute; equal neighbours are one note."""
    return {name: _voice(grid[:, voice], bpm) for voice, name in enumerate(VOICES)}


def grid_to_notes(grid: np.ndarray, *, bpm: float = 80.0) -> Notes:
    """The notes of all voices together; voices in unison are two notes."""
    notes = Notes.none()
    for voice in grid_to_voices(grid, bpm=bpm).values():
        notes = notes.joined(voice)
    return notes


def _grid(piece: object, where: str) -> np.ndarray:
    if not isinstance(piece, list) or not 0 < len(piece) <= MAX_STEPS:
        raise InputError(f"is not a list of 1 to {MAX_STEPS:,} steps", where=where)
    grid = np.full((len(piece), len(VOICES)), SILENCE)
    for step, pitches in enumerate(piece):
        if not isinstance(pitches, list) or len(pitches) > len(VOICES) or not all(map(_is_pitch, pitches)):
            raise InputError(f"step {step} is not up to four pitches (0 to 127, -1 for silence)", where=where)
        grid[step, : len(pitches)] = pitches
    return grid


def _is_pitch(value: object) -> bool:
    return type(value) in (int, float) and value in _PITCHES


def _voice(pitch: np.ndarray, bpm: float) -> Notes:
    bounds = np.r_[0, np.flatnonzero(np.diff(pitch)) + 1, len(pitch)]
    spans = [(a, b, pitch[a]) for a, b in pairwise(bounds.tolist()) if a < b and pitch[a] != SILENCE]
    seconds = 60.0 / bpm / STEPS_PER_QUARTER
    start, end, pitches = np.array(spans).reshape(-1, 3).T
    return Notes.of(start * seconds, end * seconds, pitches, np.full(len(spans), VELOCITY))
