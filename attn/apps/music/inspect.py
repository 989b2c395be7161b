"""What is in MIDI files before any model sees them, and what a model would not hear of it."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from attn.core.errors import InputError
from attn.data_adapters.midi.events import EventVocabulary
from attn.data_adapters.midi.file import MidiFile, with_sustain
from attn.data_adapters.midi.music import read_music
from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.tempo import TempoMap
from attn.data_adapters.midi.token_cache import MIDI_SUFFIXES
from attn.data_adapters.midi.voices import read_voices

SUFFIXES = (*MIDI_SUFFIXES, ".midi2")  # clip files of MIDI 2.0 get a row, which says that they cannot be read
COLUMNS = ("tracks", "notes", "seconds", "bpm", "time_signatures", "tokens", "lost", "grid", "flags")
MOST_SIGNATURES = 4  # named in a row; the rest is counted


def inspect_file(path: Path, vocabulary: EventVocabulary | None = None) -> dict[str, object]:
    """The cells of `COLUMNS` for a MIDI file, and for a score or a recording as it is read.

    `tracks` counts track and program pairs, `notes` all but drums, `seconds` to the last release, `bpm` quarters per
    minute, `tokens` the events in `vocabulary` (the piano's unless given), `lost` what the events do not say, `grid`
    what the sixteenths of a chorale cannot hold, `flags` what was odd about the file. Raises InputError for a file that
    cannot be read, UsageError where what reads it is not installed.
    """
    vocabulary = vocabulary or EventVocabulary()
    midi = read_music(path)
    sounding = with_sustain(midi)
    ids = vocabulary.encode(sounding)
    return {
        "tracks": len(midi.tracks),
        "notes": len(midi.notes),
        "seconds": round(sounding.seconds, 3),
        "bpm": tempo_text(midi.tempo),
        "time_signatures": signatures_text(midi.signatures),
        "tokens": len(ids),
        "lost": "; ".join(lost(midi, sounding, vocabulary.decode(ids), vocabulary)),
        "grid": "; ".join(off_grid(midi)),
        "flags": ";".join(midi.flags),
    }


def tempo_text(tempo: TempoMap) -> str:
    """`120`, or `60 to 96 (12 changes)`."""
    low, high = (f"{bpm:.4g}" for bpm in (tempo.bpm.min(), tempo.bpm.max()))
    changes = len(tempo.bpm) - 1
    return low if not changes else f"{low} to {high} ({_count(changes, 'change')})"


def signatures_text(signatures: Iterable[tuple[float, int, int]]) -> str:
    """`3/4`, or `4/4, 3/4, 4/4` in the order of the file; empty if the file has no signature."""
    texts = [f"{top}/{bottom}" for _, top, bottom in signatures]
    changed = [text for text, before in zip(texts, [None, *texts], strict=False) if text != before]
    more = [f"{len(changed) - MOST_SIGNATURES} more"] if len(changed) > MOST_SIGNATURES else []
    return ", ".join(changed[:MOST_SIGNATURES] + more)


def lost(midi: MidiFile, sounding: Notes, decoded: Notes, vocabulary: EventVocabulary) -> list[str]:
    """What of a file its events do not say, each as a phrase; times move by up to 10 ms in any file.

    `sounding` is what was encoded, `decoded` what the events give back.
    """
    played = [track for track in midi.tracks if not track.drum]
    covered = vocabulary.covers(sounding)
    velocities, bins = len(np.unique(sounding.velocity[covered])), len(np.unique(decoded.velocity))
    counts = (
        (sum(len(track.notes) for track in midi.tracks if track.drum), "drum note", ""),
        (int((~covered).sum()), "note", f" outside {vocabulary.low} to {vocabulary.high}"),
        (len(midi.notes) - len(sounding), "note", " struck twice at once"),
        (int(covered.sum()) - len(decoded), "note", " within 10 ms of another of the pitch"),
    )
    texts = [_count(count, noun) + rest for count, noun, rest in counts if count]
    if any(track.bends for track in played):
        texts.append("pitch bends")
    programs = len({track.program for track in played})
    if programs > 1:
        texts.append(f"{programs} instruments become one")
    if bins < velocities:
        texts.append(f"{velocities} velocities become {bins}")
    return texts


def off_grid(midi: MidiFile) -> list[str]:
    """What four voices on a grid of sixteenths lose of a file, each as a phrase; empty if they hold all."""
    if not len(midi.notes):
        return []
    try:
        found = read_voices(midi)
    except InputError as error:
        return [error.what]
    counts = (
        (found.lost, "note", " shorter than a sixteenth or beyond four voices"),
        (found.moved, "note", " between the sixteenths, as triplets and free playing"),
    )
    return [_count(count, noun) + rest for count, noun, rest in counts if count]


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
