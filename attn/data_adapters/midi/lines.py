"""Who plays what in a MIDI file: its parts, which of them are single lines, and which one is the melody.

Shapes: N notes of a part. Beats are quarter notes from the start of the piece.
"""

import re
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from attn.core.errors import UsageError
from attn.data_adapters.midi.file import MidiFile, Track
from attn.data_adapters.midi.notes import Notes

LEGATO = 0.5  # of the shorter of two notes: so far they may overlap and still be one voice
STRAY = 0.02  # of the notes of a line may overlap more
MELODIES = re.compile("melod|lead|vocal|sopran|tune|cantus|sing", re.IGNORECASE)
FEWEST_MOVES = 0.25  # of those of the part that moves most: a melody moves
HARDLY_MOVES = 3  # changes of pitch


@dataclass(frozen=True, eq=False)
class Player:
    """What one track plays on one channel: notes as struck, in seconds and in beats (start and end, the same order)."""

    number: int
    channel: int
    name: str
    notes: Notes
    beats: Notes

    @property
    def label(self) -> str:
        """`track 2 (Lead)`."""
        return f"track {self.number}" + (f" ({self.name})" if self.name else "")

    @cached_property
    def line(self) -> np.ndarray | None:
        """Ends (N,) in beats if the part is one voice, cut off where the next note begins; None for chords."""
        start, length = self.beats.start, self.beats.end - self.beats.start
        overlap = np.maximum.accumulate(self.beats.end)[:-1] - start[1:]
        allowed = LEGATO * np.minimum(length[:-1], length[1:])
        bad = (overlap > allowed + 1e-9) | (np.diff(start) < 1e-9)
        if bad.sum() > STRAY * len(start):
            return None
        return np.asarray(np.minimum(self.beats.end, np.append(start[1:], np.inf)))

    @cached_property
    def top(self) -> np.ndarray:
        """(N,) bool: the notes of the highest line. A note below one that still sounds is not of it."""
        if self.line is not None:
            return np.ones(len(self.notes), bool)
        beats, mask = self.beats, np.zeros(len(self.beats), bool)
        sounding: list[tuple[float, int]] = []
        for k in sorted(range(len(beats)), key=lambda k: (beats.start[k], -beats.pitch[k])):
            start, end, pitch = float(beats.start[k]), float(beats.end[k]), int(beats.pitch[k])
            # What ends soon after this note begins is a legato before it, and no voice above it.
            mask[k] = all(p < pitch for e, p in sounding if e > start + LEGATO * (end - start) / 2)
            sounding = [(e, p) for e, p in sounding if e > start and (e > end or p > pitch)] + [(end, pitch)]
        return mask

    @property
    def moves(self) -> int:
        """How often the pitch of the highest line changes."""
        return int(np.count_nonzero(np.diff(self.notes.pitch[self.top])))

    def highest(self) -> "Player":
        """The highest line alone."""
        return Player(self.number, self.channel, self.name, self.notes.where(self.top), self.beats.where(self.top))


def chosen(midi: MidiFile, track: str | None = None, channel: int | None = None) -> MidiFile:
    """The file with only the tracks that `track` (a number or a name) and `channel` choose, drums aside.

    Raises UsageError for a choice that holds no notes.
    """
    there = [played for played in midi.tracks if len(played.notes) and not played.drum]
    if track is None and channel is None:
        return replace(midi, tracks=tuple(there))
    tracks = [t for t in there if channel in (None, t.channel) and (track is None or _is_called(t, track))]
    if not tracks:
        what = f"no notes in track {track!r}" if track is not None else f"no notes on channel {channel}"
        named = [f"track {t.number}" + (f" ({t.name})" if t.name else "") + f" on channel {t.channel}" for t in there]
        raise UsageError(what, hint=f"there are {', '.join(named[:8])}" if named else None)
    return replace(midi, tracks=tuple(tracks))


def players(midi: MidiFile) -> list[Player]:
    """The parts of a file in its order, drums aside."""
    parts: dict[tuple[int, int], list[Notes]] = {}
    names = {}
    for played in midi.tracks:
        if len(played.notes) and not played.drum:
            parts.setdefault((played.number, played.channel), []).append(played.notes)
            names[played.number] = played.name
    found = []
    for (number, on), pieces in parts.items():
        notes = pieces[0]
        for more in pieces[1:]:
            notes = notes.joined(more)
        start, end = midi.tempo.quarters(notes.start), midi.tempo.quarters(notes.end)
        found.append(Player(number, on, names[number], notes, Notes(start, end, notes.pitch, notes.velocity)))
    return found


def melody_of(parts: list[Player]) -> tuple[Player, str]:
    """The part with the melody, and a phrase that says which it is where there was a choice.

    A part whose name says so; else, of those that move at least a quarter as much as the one that moves most, single
    lines before chords and high before low.
    """
    most = max(part.moves for part in parts)
    named = [part for part in parts if MELODIES.search(part.name) and part.moves >= min(most, HARDLY_MOVES)]
    moving = named or [part for part in parts if part.moves >= FEWEST_MOVES * most]
    best = max(moving, key=lambda p: (p.line is not None, float(p.notes.pitch[p.top].mean())))
    if best.moves < HARDLY_MOVES and len(best.notes) > 2 * HARDLY_MOVES:
        another = ": --track names another" if len(parts) > 1 else ""
        return best, f"the melody, the highest line of {best.label}, hardly moves{another}"
    if len(parts) == 1:
        return best, ""
    return best, f"the melody is that of {best.label}"


def _is_called(played: Track, name: str) -> bool:
    return name == str(played.number) or (not name.isdigit() and name.lower() in played.name.lower())
