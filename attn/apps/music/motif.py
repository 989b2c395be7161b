"""What a piece begins with: the notes of a file for a piano, its voices for a chorale, its melody for an accompaniment.

Shapes: T grid steps, L tokens.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attn.apps.music.compose import Request
from attn.apps.music.notation import GridNotation, PianoNotation
from attn.apps.music.styles import Chorale, Piano
from attn.core.errors import InputError
from attn.data_adapters.midi.chorales import MAX_STEPS, SILENCE, STEPS_PER_QUARTER, VOICES
from attn.data_adapters.midi.events import STEPS_PER_SECOND
from attn.data_adapters.midi.file import MidiFile, with_sustain
from attn.data_adapters.midi.lines import chosen, melody_of, players
from attn.data_adapters.midi.metre import Metre
from attn.data_adapters.midi.music import read_music
from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.tempo import TempoMap
from attn.data_adapters.midi.voices import FourVoices, line_on_grid, read_voices
from attn.data_adapters.midi.writer import Part

OCTAVE = 12


@dataclass(frozen=True, eq=False)
class PianoMotif:
    """known: events (L,) from the first note to the end, rests included. notation: how the piece is written down."""

    known: np.ndarray
    notation: PianoNotation


def piano_motif(style: Piano, motif: str | Path | Notes, request: Request) -> PianoMotif:
    """The notes to continue, as a pianist hears them and as the file has them.

    Raises InputError for a file without notes for a piano, or without any in its first `motif_seconds`.
    """
    where = None if isinstance(motif, Notes) else motif
    flags: tuple[str, ...] = ()
    if isinstance(motif, Notes):
        heard, until, tempo, metre = motif, motif.seconds, TempoMap.of_bpm(style.bpm), Metre()
        given = [Part("", motif)]
    else:
        midi = _chosen(motif, request)
        heard, tempo, metre = with_sustain(midi), midi.tempo, Metre.of(midi.signatures, midi.tempo)
        until = max(midi.seconds, heard.seconds)
        given = [Part(track.name, track.notes, track.pedal, track.program) for track in midi.tracks]
        flags = midi.flags
    heard = _moved(heard, request.transpose, where)
    mask = style.vocabulary.covers(heard)
    if outside := int((~mask).sum()):
        what = "1 note" if outside == 1 else f"{outside:,} notes"
        flags += (f"{what} outside {style.low} to {style.high} {'is' if outside == 1 else 'are'} left out",)
    heard = heard.where(mask)
    if not len(heard):
        raise InputError("has no notes to begin with", where=where, hint="`attn music inspect` shows what is in it")
    if request.motif_seconds is not None:
        until = min(until, request.motif_seconds)
        heard = _beginning(heard, until, where)
    start = float(heard.start.min())
    given = [_as_given(part, style, request.transpose, until, where) for part in given]
    known_l = style.encode(heard)
    rest = round((until - start) * STEPS_PER_SECOND) - _steps(style, known_l)
    known_l = np.concatenate([known_l, rest_of(style, rest)])
    parts = tuple(part for part in given if len(part.notes))
    return PianoMotif(known_l, PianoNotation(tempo, metre, flags, start=start, until=until, given=parts))


@dataclass(frozen=True, eq=False)
class GridMotif:
    """grid: (T, 4) pitches in the model's range; forced: (T, 4) bool, cells that the file gives. notation: as above."""

    grid: np.ndarray
    forced: np.ndarray
    notation: GridNotation


def chorale_motif(style: Chorale, motif: str | Path, request: Request) -> GridMotif:
    """The voices to continue. Raises InputError for a file without notes, or without any in its first seconds."""
    midi = _chosen(motif, request)
    with naming(motif):
        found = read_voices(midi, request.voice_numbers)
    grid_tv, phrases = found.grid, found.said
    until = midi.seconds
    notes = tuple(_moved(part, request.transpose, motif) for part in found.notes)
    if request.motif_seconds is not None:
        until = min(until, request.motif_seconds)
        notes = tuple(part.between(0.0, until) for part in notes)
        steps = round(float(midi.tempo.quarters(np.array([until]))[0]) * STEPS_PER_QUARTER) - found.lead
        if not any(map(len, notes)):
            _beginning(midi.notes, until, motif)
        grid_tv = grid_tv[: max(1, steps)]
    moved_tv = np.where(grid_tv == SILENCE, SILENCE, grid_tv + request.transpose)
    fitted_tv, octaves = fitted(moved_tv, style)
    forced_tv = found.given[: len(grid_tv)]
    flags = (*midi.flags, *phrases, *octaves, *_lost(found))
    notation = _notation(midi, found.lead, len(grid_tv), until, notes, forced_tv, flags)
    return GridMotif(fitted_tv, forced_tv, notation)


def melody_motif(style: Chorale, melody: str | Path, request: Request) -> GridMotif:
    """The melody to accompany, as the soprano: that of a track or a channel, else the one that `melody_of` finds."""
    midi = _chosen(melody, request)
    parts = players(midi)
    if not parts:
        raise InputError("has no notes", where=melody, hint="give a file with a melody")
    best, phrase = melody_of(parts)
    top = best.highest()
    length = math.ceil(float(top.beats.end.max()) * STEPS_PER_QUARTER) + 2
    if length > MAX_STEPS:
        raise InputError(f"has {length:,} sixteenth notes, more than {MAX_STEPS:,}", where=melody, hint="shorten it")
    pitch_t, lost = line_on_grid(top, length)
    lead, last = (int(k) for k in np.flatnonzero(pitch_t != SILENCE)[[0, -1]])
    pitch_t = pitch_t[lead : last + 1]
    soprano = _moved(top.notes, request.transpose, melody)
    grid_tv = np.full((len(pitch_t), len(VOICES)), SILENCE)
    grid_tv[:, 0] = np.where(pitch_t == SILENCE, SILENCE, pitch_t + request.transpose)
    grid_tv, octaves = fitted(grid_tv, style)
    forced_tv = np.zeros(grid_tv.shape, bool)
    forced_tv[:, 0] = True
    notes = (soprano, *[Notes.none()] * 3)
    gone = (f"the grid of sixteenths loses {lost:,} of {len(top.notes):,} notes, which the soprano keeps",)
    flags = (*midi.flags, *([phrase] if phrase else []), *octaves, *(gone if lost else ()))
    notation = _notation(midi, lead, len(grid_tv), midi.seconds, notes, forced_tv, flags)
    return GridMotif(grid_tv, forced_tv, notation)


def fitted(grid_tv: np.ndarray, style: Chorale) -> tuple[np.ndarray, list[str]]:
    """Every voice moved by whole octaves to where it is sung, single notes beyond the model's range too; and phrases.

    What is written down stays where it was: only the model hears it there.
    """
    fitted_tv, said = grid_tv.copy(), []
    for voice, name in enumerate(VOICES):
        sounding_t = fitted_tv[:, voice] >= 0
        if not sounding_t.any():
            continue
        pitch = fitted_tv[sounding_t, voice]
        low, high = style.ranges[voice]
        median = float(np.median(pitch))
        octaves = math.ceil((low - median) / OCTAVE) if median < low else -math.ceil(max(0.0, median - high) / OCTAVE)
        pitch = pitch + OCTAVE * octaves
        if octaves:
            direction = "higher" if octaves > 0 else "lower"
            count = "an octave" if abs(octaves) == 1 else f"{abs(octaves)} octaves"
            said.append(f"the {name.lower()} is read {count} {direction}")
        beyond = (pitch < style.low) | (pitch > style.high)
        if beyond.any():
            said.append(f"{name.lower()} notes beyond {style.low} to {style.high} are read an octave or more nearer")
            pitch = np.where(pitch < style.low, style.low + (pitch - style.low) % OCTAVE, pitch)
            pitch = np.where(pitch > style.high, style.high - (style.high - pitch) % OCTAVE, pitch)
        fitted_tv[sounding_t, voice] = pitch
    return fitted_tv, said


def _notation(
    midi: MidiFile,
    lead: int,
    steps: int,
    until: float,
    notes: tuple[Notes, ...],
    forced_tv: np.ndarray,
    flags: tuple[str, ...],
) -> GridNotation:
    end = math.ceil(float(midi.tempo.quarters(np.array([until]))[0]) * STEPS_PER_QUARTER - 1e-6)
    metre = Metre.of(midi.signatures, midi.tempo)
    rest = max(0, end - lead - steps)
    return GridNotation(midi.tempo, metre, flags, lead=lead, steps=steps, rest=rest, given=notes, forced=forced_tv)


def _chosen(path: str | Path, request: Request) -> MidiFile:
    return chosen(read_music(path), request.track, request.channel)


def _lost(found: FourVoices) -> list[str]:
    notes = sum(map(len, found.notes))
    return [f"the grid of sixteenths loses {found.lost:,} of {notes:,} notes"] if found.lost else []


def _beginning(notes: Notes, until: float, where: str | Path | None) -> Notes:
    kept = notes.between(0.0, until)
    if not len(kept):
        first = float(notes.start.min())
        raise InputError(
            f"has no note in its first {until:g} s: the first begins at {first:.2f} s",
            where=where,
            hint="give more --motif-seconds",
        )
    return kept


def _as_given(part: Part, style: Piano, semitones: int, until: float, where: str | Path | None) -> Part:
    """The part transposed, without what the vocabulary lacks, cut off at `until`."""
    notes = _moved(part.notes, semitones, where)
    notes = notes.where(style.vocabulary.covers(notes)).between(0.0, until)
    pedal = part.pedal[part.pedal[:, 0] < until].clip(max=until)
    return Part(part.name, notes, pedal, part.program)


@contextmanager
def naming(where: str | Path) -> Iterator[None]:
    """An InputError of a reader that does not know the file gets its name."""
    try:
        yield
    except InputError as error:
        raise InputError(error.what, where=error.where or where, hint=error.hint) from error


def rest_of(style: Piano, steps: int) -> np.ndarray:
    """The time shifts (L,) of a rest; none where it has no length."""
    shift = style.vocabulary.time_shift
    whole, part = divmod(max(0, steps), len(shift))
    return np.array([shift.stop - 1] * whole + ([shift.start + part - 1] if part else []), np.int64)


def _steps(style: Piano, ids_l: np.ndarray) -> int:
    shift = style.vocabulary.time_shift
    return int(np.where((ids_l >= shift.start) & (ids_l < shift.stop), ids_l - shift.start + 1, 0).sum())


def _moved(notes: Notes, semitones: int, where: str | Path | None) -> Notes:
    """Transposed. Raises InputError for notes that leave the MIDI range."""
    try:
        return notes.transposed(semitones)
    except ValueError as error:
        raise InputError(str(error), where=where) from error
