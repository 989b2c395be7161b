"""What a piece begins with: the notes of a file, transposed; its grid; its melody.

Shapes: T grid steps.
"""

from pathlib import Path

import numpy as np

from attn.apps.music.styles import Chorale
from attn.core.errors import InputError
from attn.data_adapters.midi.chorales import SILENCE, notes_to_grid
from attn.data_adapters.midi.file import MidiFile, read_midi
from attn.data_adapters.midi.notes import Notes


def grid_of(midi: MidiFile | str | Path, where: str | Path | None = None) -> np.ndarray:
    """The four-voice grid of a MIDI file. Raises InputError that names the file."""
    where = where or (midi if isinstance(midi, str | Path) else None)
    try:
        return notes_to_grid(midi if isinstance(midi, MidiFile) else read_midi(midi))
    except InputError as error:
        raise InputError(error.what, where=error.where or where, hint=error.hint) from error


def melody_ids(grid_tv: np.ndarray, style: Chorale, transpose: int, where: str | Path) -> np.ndarray:
    """Ids (T,) of the highest voice, moved by whole octaves to where a soprano sings."""
    pitch_t = np.where(grid_tv == SILENCE, -1000, grid_tv).max(1)
    sounding_t = pitch_t >= 0
    pitch_t = pitch_t + transpose
    low, high = style.ranges[0]
    octaves = round((float(np.median(pitch_t[sounding_t])) - (low + high) / 2) / 12)
    pitch_t = pitch_t - 12 * octaves
    return style.encode(np.where(sounding_t, pitch_t, SILENCE)[:, None], where)


def moved(notes: Notes, semitones: int, where: str | Path | None) -> Notes:
    """Transposed. Raises InputError for notes that leave the MIDI range."""
    try:
        return notes.transposed(semitones)
    except ValueError as error:
        raise InputError(str(error), where=where) from error
