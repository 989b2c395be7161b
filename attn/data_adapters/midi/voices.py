"""A MIDI file as four voices on a grid of sixteenth notes, and what the grid cannot hold of it.

Shapes: T sixteenths, 4 voices, soprano first. A grid is (T, 4) int64 MIDI pitches, -1 for silence.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from attn.core.errors import InputError, UsageError
from attn.data_adapters.midi.chorales import MAX_STEPS, SILENCE, STEPS_PER_QUARTER, VOICES
from attn.data_adapters.midi.file import MidiFile
from attn.data_adapters.midi.lines import Player, melody_of, players
from attn.data_adapters.midi.notes import PITCHES, Notes

CENTRES = (70.5, 63.0, 57.5, 51.0)  # of the ranges in which the four voices sing
SLIVER = 0.25  # a lower voice that sounds for a smaller share of the time is not given
OFF_GRID = 0.1  # sixteenths: an onset further from the grid is moved audibly
ALTO, BASS = 1, 3


@dataclass(frozen=True, eq=False)
class FourVoices:
    """What a file gives to each voice.

    grid: (T, 4) from the first sounding sixteenth, which is number `lead` of the file, to the last.
    notes: those of each voice as struck, in seconds.
    given: (T, 4) bool, cells that the file fills, with pitch or with rest; the others are to be written.
    lost: number of notes that the grid cannot hold; moved: number whose onset it moves.
    said: phrases for the reader.
    """

    grid: np.ndarray
    lead: int
    notes: tuple[Notes, ...]
    given: np.ndarray
    lost: int
    moved: int
    said: tuple[str, ...]


def read_voices(midi: MidiFile, voices: Sequence[int] = ()) -> FourVoices:
    """The four voices of a MIDI file, by its tempo map.

    Parts named after the voices are those voices; up to four single lines are voices from high to low, the first of
    them the soprano. Else the melody is the soprano, if it is a line, and below it the pitches of each step fill the
    voices from the highest to the lowest, of which the lowest is the bass. A note lasts at least a sixteenth.
    voices: which voices the file gives instead (0 for the soprano to 3 for the bass).
    InputError: no notes, or more than MAX_STEPS sixteenths. UsageError: lines and voices whose numbers differ.
    """
    parts = players(midi)
    if not parts:
        raise InputError("has no notes", hint="give a file with one to four voices")
    steps = max(float(part.beats.end.max()) for part in parts) * STEPS_PER_QUARTER
    if steps > MAX_STEPS:
        raise InputError(f"has {steps:,.0f} sixteenth notes, more than {MAX_STEPS:,}", hint="give a shorter piece")
    length = math.ceil(steps) + 2
    lines = all(part.line is not None for part in parts)
    if voices and lines and len(voices) != len(parts):
        raise UsageError(f"{len(parts)} lines are there for {len(voices)} voices", hint="choose lines with --track")
    if len(parts) <= len(VOICES) and lines:
        singing = dict(zip(_places(parts, voices), _downwards(parts), strict=True))
        said: tuple[str, ...] = ()
        if len(parts) > 1 and len(parts) < len(VOICES):
            said = ("; ".join(f"{part.label} is the {VOICES[v].lower()}" for v, part in singing.items()),)
        grid, notes, lost = _of_lines(singing, length)
    else:
        grid, notes, lost, said = _stacked(parts, length, voices)
    first, last = np.flatnonzero((grid != SILENCE).any(axis=1))[[0, -1]]
    grid = grid[first : last + 1]
    sounding = grid != SILENCE
    share_v = sounding.mean(0) / max(float(sounding.any(1).mean()), 1e-9)
    sliver_v = (share_v < SLIVER) & (np.arange(len(VOICES)) > 0) & (not lines)
    given = sounding | (sounding.any(0) & ~sliver_v)
    places = np.concatenate([part.beats.start for part in parts]) * STEPS_PER_QUARTER
    moved = int((np.abs(places - np.rint(places)) > OFF_GRID).sum())
    return FourVoices(grid, int(first), notes, given, lost, moved, said)


def notes_to_grid(midi: MidiFile) -> np.ndarray:
    """The grid alone, from the start of the file to the last release. Raises what `read_voices` raises."""
    found = read_voices(midi)
    return np.concatenate([np.full((found.lead, len(VOICES)), SILENCE), found.grid])


def line_on_grid(part: Player, length: int) -> tuple[np.ndarray, int]:
    """(T,) pitches of a single line, and how many of its notes have no sixteenth of their own.

    Of notes that share their sixteenth, the one closest to it stays.
    """
    pitch_t = np.full(length, SILENCE)
    start = part.beats.start * STEPS_PER_QUARTER
    end = np.minimum(part.beats.end, np.append(part.beats.start[1:], np.inf)) * STEPS_PER_QUARTER
    step = np.ceil(start - 0.5 - 1e-6).clip(0).astype(int)
    closest: dict[int, int] = {}
    for k, s in enumerate(step.tolist()):
        if s not in closest or abs(start[k] - s) < abs(start[closest[s]] - s) - 1e-6:
            closest[s] = k
    for s, k in closest.items():
        pitch_t[s : max(math.ceil(end[k] - 0.5 - 1e-6), s + 1)] = part.notes.pitch[k]
    return pitch_t, len(start) - len(closest)


def _downwards(parts: list[Player]) -> list[Player]:
    named = sorted(parts, key=lambda part: _voice_named(part.name))
    if len({_voice_named(part.name) for part in parts} - {len(VOICES)}) == len(parts):
        return named
    return sorted(parts, key=lambda part: -float(part.notes.pitch.mean()))


def _voice_named(name: str) -> int:
    """0 to 3 for soprano to bass, 4 for any other name."""
    name = name.strip(" .")
    return next((v for v, voice in enumerate(VOICES) if name == voice[0] or name.lower() == voice.lower()), len(VOICES))


def _places(parts: list[Player], voices: Sequence[int]) -> Sequence[int]:
    """The voices of up to four lines, from high to low."""
    named = [_voice_named(part.name) for part in _downwards(parts)]
    if voices:
        return sorted(voices)
    if len(set(named) - {len(VOICES)}) == len(parts):
        return named
    means = [float(part.notes.pitch.mean()) for part in _downwards(parts)]
    below = combinations(range(1, len(VOICES)), len(parts) - 1)
    return min(
        ((0, *others) for others in below),
        key=lambda chosen: sum(abs(CENTRES[v] - mean) for v, mean in zip(chosen, means, strict=True)),
    )


def _of_lines(singing: dict[int, Player], length: int) -> tuple[np.ndarray, tuple[Notes, ...], int]:
    grid = np.full((length, len(VOICES)), SILENCE)
    notes, lost = [Notes.none()] * len(VOICES), 0
    for voice, part in singing.items():
        grid[:, voice], gone = line_on_grid(part, length)
        notes[voice] = part.notes
        lost += gone
    return grid, tuple(notes), lost


def _stacked(
    parts: list[Player], length: int, voices: Sequence[int]
) -> tuple[np.ndarray, tuple[Notes, ...], int, tuple[str, ...]]:
    """Chords: the melody of several parts as soprano, the rest from high to low below it, the lowest as bass."""
    best, phrase = melody_of(parts)
    leads = len(parts) > 1 and best.line is not None and not voices
    slots = sorted(voices) if voices else list(range(ALTO if leads else 0, len(VOICES)))
    grid = np.full((length, len(VOICES)), SILENCE)
    together = np.zeros((length + 1, PITCHES), bool)
    for part in parts:
        if not (leads and part is best):
            _mark(together, part)
    together = together[:length]
    if leads:
        grid[:, 0] = line_on_grid(best, length)[0]
        together &= ~((grid[:, :1] != SILENCE) & (np.arange(PITCHES) >= grid[:, :1]))
    for voice in slots:
        pitch_t = _highest(together)
        if voice == BASS:
            pitch_t = np.where(together.any(axis=1), together.argmax(axis=1), SILENCE)
        grid[:, voice] = pitch_t
        together[np.arange(length), pitch_t] &= pitch_t == SILENCE
    owner = [(part, 0 if leads and part is best else None) for part in parts]
    notes, lost = _shared_out(owner, grid, slots)
    return grid, notes, lost, (phrase,) if phrase and leads else ()


def _shared_out(
    parts: list[tuple[Player, int | None]], grid: np.ndarray, slots: Sequence[int]
) -> tuple[tuple[Notes, ...], int]:
    """The notes of each voice: those of a part that is a voice, and of the others each in the voice whose cell is
    closest; and how many have no cell of their own.
    """
    rows: list[list[tuple[float, float, int, int]]] = [[] for _ in VOICES]
    kept: set[tuple[int, int]] = set()
    for part, own in parts:
        notes = part.notes
        step_n = np.rint(part.beats.start * STEPS_PER_QUARTER).astype(int).tolist()
        columns = (notes.start.tolist(), notes.end.tolist(), notes.pitch.tolist(), notes.velocity.tolist())
        for step, row in zip(step_n, zip(*columns, strict=True), strict=True):
            cell_v = grid[step].tolist()
            voice = min(slots, key=lambda v: (abs(cell_v[v] - row[2]), v)) if own is None else own
            if cell_v[voice] == row[2]:
                kept.add((step, voice))
            rows[voice].append(row)
    lost = sum(map(len, rows)) - len(kept)
    return tuple(Notes.of(*np.array(some, float).reshape(-1, 4).T) for some in rows), lost


def _mark(roll: np.ndarray, part: Player) -> None:
    """Set which pitches of a part sound in which sixteenth, in (T, 128) bool."""
    end = part.beats.end if part.line is None else part.line
    first = np.rint(part.beats.start * STEPS_PER_QUARTER).astype(int)
    last = np.maximum(np.rint(end * STEPS_PER_QUARTER).astype(int), first + 1)
    for begin, until, pitch in zip(first.tolist(), last.tolist(), part.notes.pitch.tolist(), strict=True):
        roll[begin:until, pitch] = True


def _highest(roll: np.ndarray) -> np.ndarray:
    """(T,) the highest pitch of each step, -1 in silence."""
    return np.where(roll.any(axis=1), PITCHES - 1 - roll[:, ::-1].argmax(axis=1), SILENCE)
