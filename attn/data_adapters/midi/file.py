"""MIDI files to notes.

Reading is bounded and our own (`parser`): note for note what `pretty_midi` gives, many times faster.

Shapes: N notes, P pedal strokes, T tempo changes.
"""

from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from attn.core.errors import InputError
from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.parser import RawTrack, parse_midi
from attn.data_adapters.midi.tempo import TempoMap

DRUM_CHANNEL = 9
PEDAL, RESET_CONTROLLERS = 64, 121
MAX_SECONDS = 86_400.0  # a piece of more than a day is a damaged file
MAX_NOTES = 1 << 20


@dataclass(frozen=True, eq=False)
class Track:
    """What one program plays on one channel of one track.

    number: of the track in its file, from 1; channel: 1 to 16, as people count both. notes: as struck and released,
    without the pedal. pedal: (P, 2) seconds, down and up, disjoint and in order; the pedal of a channel holds for all
    tracks of its port. bends: number of pitch-bend events, which `Notes` cannot say.
    """

    name: str
    program: int
    drum: bool
    notes: Notes
    pedal: np.ndarray
    bends: int
    number: int
    channel: int


@dataclass(frozen=True, eq=False)
class MidiFile:
    """A MIDI file as read, or what else is read as one.

    signatures: (seconds, numerator, denominator). flags: those of `parse_midi`, `tempo_outside_first_track`, and
    `hanging_notes:3` (struck and never released: they end with their track, a quarter after their strike at the least).
    Scores and recordings have phrases of their own there. seconds: when the last of the tracks with notes ends, rests
    included.
    """

    tracks: tuple[Track, ...]
    tempo: TempoMap
    signatures: tuple[tuple[float, int, int], ...]
    flags: tuple[str, ...]
    seconds: float

    @property
    def notes(self) -> Notes:
        """The notes of all tracks but drums, without the pedal."""
        return _together([track.notes for track in self.tracks if not track.drum])

    @property
    def resolution(self) -> int:
        """Ticks per quarter note."""
        return self.tempo.resolution

    def to_pretty_midi(self) -> Any:
        """The file as a `pretty_midi.PrettyMIDI`: instruments with notes and pedal, tempo, time signatures."""
        import pretty_midi

        midi = pretty_midi.PrettyMIDI(resolution=self.resolution)
        # It has no public way to take a tempo map.
        midi._tick_scales = list(zip(self.tempo.tick.tolist(), self.tempo.scale.tolist(), strict=True))
        midi._update_tick_to_time(int(self.tempo.tick[-1]) + 1)
        midi.time_signature_changes = [pretty_midi.TimeSignature(n, d, s) for s, n, d in self.signatures]
        for track in self.tracks:
            instrument = pretty_midi.Instrument(track.program, track.drum, track.name)
            notes = track.notes
            columns = (notes.velocity.tolist(), notes.pitch.tolist(), notes.start.tolist(), notes.end.tolist())
            instrument.notes = [pretty_midi.Note(*row) for row in zip(*columns, strict=True)]
            instrument.control_changes = [
                pretty_midi.ControlChange(PEDAL, value, time)
                for stroke in track.pedal.tolist()
                for value, time in zip((127, 0), stroke, strict=True)
            ]
            midi.instruments.append(instrument)
        return midi


def read_midi(path: str | Path) -> MidiFile:
    """The MIDI file at `path`, of type 0 or 1 or one sequence of type 2, also inside RIFF (`.rmi`).

    A file without notes is read; it is for the caller to say whether that will do.
    InputError: as `parse_midi`, and more than MAX_NOTES notes or MAX_SECONDS seconds.
    """
    raw = parse_midi(path)
    flags = list(raw.flags)
    if raw.ticks_per_second:
        tempo = TempoMap.steady(raw.ticks_per_second)
    else:
        tempo = TempoMap.of(
            sorted((t for track in raw.tracks for t in track.tempos), key=lambda t: t[0]), raw.resolution
        )
        if any(track.tempos for track in raw.tracks[1:]):
            flags.append("tempo_outside_first_track")
    programs = _programs(raw.tracks)
    played = [_played(track, raw.resolution or round(raw.ticks_per_second or 0) // 2, programs) for track in raw.tracks]
    if sum(len(rows) for parts, _ in played for rows in parts.values()) > MAX_NOTES:
        raise InputError(f"has more than {MAX_NOTES:,} notes", where=path)
    hanging = sum(left for _, left in played)
    if hanging:
        flags.append(f"hanging_notes:{hanging}")
    last = max((max(row[1] for row in rows) for parts, _ in played for rows in parts.values()), default=0)
    if (seconds := float(tempo.at(np.array(last)))) > MAX_SECONDS:
        raise InputError(f"plays for {seconds / 3600:,.0f} hours; the most that is read is a day", where=path)
    ends = [track.end for track, (parts, _) in zip(raw.tracks, played, strict=True) if parts]
    seconds = min(MAX_SECONDS, float(tempo.at(np.array(max([last, *ends])))))
    ports = {track.port for track in raw.tracks}
    pedals = {port: _pedals([t for t in raw.tracks if t.port == port], tempo, last) for port in ports}
    tracks = []
    for number, (track, (parts, _)) in enumerate(zip(raw.tracks, played, strict=True), start=1):
        bent = np.bincount((track.status[track.status >> 4 == 0xE]) & 0xF, minlength=16)
        for (channel, program), rows in parts.items():
            start, end, pitch, velocity = np.array(rows, np.int64).T
            tracks.append(
                Track(
                    name=track.name,
                    program=program,
                    drum=channel == DRUM_CHANNEL,
                    notes=Notes.of(tempo.at(start), tempo.at(end), pitch, velocity),
                    pedal=pedals[track.port][channel],
                    bends=int(bent[channel]),
                    number=number,
                    channel=channel + 1,
                )
            )
    signatures = sorted((s for track in raw.tracks for s in track.signatures), key=lambda s: s[0])
    timed = tuple((float(tempo.at(np.array(tick))), top, bottom) for tick, top, bottom in signatures)
    return MidiFile(tuple(tracks), tempo, timed, tuple(flags), seconds)


def with_sustain(midi: MidiFile) -> Notes:
    """All notes but drums as they sound: one released under the pedal ends when the pedal rises.

    A note also ends where its pitch is struck again, so that no two notes of one pitch overlap. A pedal that never
    rises ends with the last release.
    """
    return without_overlaps(_together([_sustained(track) for track in midi.tracks if not track.drum]))


def without_overlaps(notes: Notes) -> Notes:
    """Each note cut off where its pitch starts again; notes that start together become one, as long and loud as any of
    them.
    """
    if not len(notes):
        return notes
    order = np.lexsort((notes.start, notes.pitch))
    start, pitch = notes.start[order], notes.pitch[order]
    first = np.flatnonzero(np.r_[True, (np.diff(start) != 0) | (np.diff(pitch) != 0)])
    end = np.maximum.reduceat(notes.end[order], first)
    velocity = np.maximum.reduceat(notes.velocity[order], first)
    start, pitch = start[first], pitch[first]
    following = np.where(np.r_[np.diff(pitch) == 0, False], np.r_[start[1:], np.inf], np.inf)
    return Notes.of(start, np.minimum(end, following), pitch, velocity)


def _together(parts: list[Notes]) -> Notes:
    columns = ([getattr(notes, name) for notes in parts] for name in ("start", "end", "pitch", "velocity"))
    return Notes.of(*map(np.concatenate, columns)) if parts else Notes.none()


def _sustained(track: Track) -> Notes:
    notes, (down, up) = track.notes, track.pedal.T
    if not len(down):
        return notes
    stroke = np.searchsorted(down, notes.end, side="right") - 1
    held = (stroke >= 0) & (notes.end < up[stroke])
    return Notes(notes.start, np.where(held, up[stroke], notes.end), notes.pitch, notes.velocity)


def _programs(tracks: list[RawTrack]) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """The (tick, program) changes of each (port, channel), from all tracks and in order of ticks."""
    changes: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for track in tracks:
        mine = track.status >> 4 == 12
        rows = zip(track.tick[mine].tolist(), track.status[mine].tolist(), track.first[mine].tolist(), strict=True)
        for tick, status, program in rows:
            changes.setdefault((track.port, status & 0xF), []).append((tick, program))
    return {place: sorted(rows, key=lambda row: row[0]) for place, rows in changes.items()}


def _played(
    track: RawTrack, quarter: int, changes: dict[tuple[int, int], list[tuple[int, int]]]
) -> tuple[dict[tuple[int, int], list[tuple[int, int, int, int]]], int]:
    """Rows (start tick, end tick, pitch, velocity) by (channel, program), and how many notes are never released.

    The rules are those of `pretty_midi`: a release ends every note of its channel and pitch, but one struck at the same
    tick only if nothing else was there to end, and then it is no note at all. Unlike there, what is never released is
    kept, and a track without programs of its own has those that other tracks give to its channel.
    """
    parts: dict[tuple[int, int], list[tuple[int, int, int, int]]] = {}
    sounding: dict[int, list[tuple[int, int]]] = {}
    programs = [0] * 16
    kind = track.status >> 4
    mine = (kind == 8) | (kind == 9) | (kind == 12)
    key = ((track.status & 0xF) << 7 | track.first)[mine]
    loudness = np.where(kind == 9, track.second, np.where(kind == 8, 0, -1))[mine]
    for tick, place, velocity in zip(track.tick[mine].tolist(), key.tolist(), loudness.tolist(), strict=True):
        if velocity > 0:
            if place in sounding:
                sounding[place].append((tick, velocity))
            else:
                sounding[place] = [(tick, velocity)]
        elif velocity == 0:
            struck = sounding.pop(place, None)
            if struck is None:
                continue
            channel, pitch = place >> 7, place & 0x7F
            ended = [(start, tick, pitch, loud) for start, loud in struck if start != tick]
            if ended:
                parts.setdefault((channel, programs[channel]), []).extend(ended)
                if len(ended) < len(struck):
                    sounding[place] = struck[len(ended) :]
        else:
            programs[place >> 7] = place & 0x7F
    for place, struck in sounding.items():
        channel, pitch = place >> 7, place & 0x7F
        held = [(start, track.end if track.end > start else start + quarter, pitch, loud) for start, loud in struck]
        parts.setdefault((channel, programs[channel]), []).extend(held)
    own = set((track.status[kind == 12] & 0xF).tolist())
    given: dict[tuple[int, int], list[tuple[int, int, int, int]]] = {}
    for (channel, program), rows in parts.items():
        others = [] if channel in own else changes.get((track.port, channel), [])
        ticks = [tick for tick, _ in others]
        for row in rows:
            said = bisect_right(ticks, row[0])
            given.setdefault((channel, others[said - 1][1] if said else program), []).append(row)
    return given, sum(map(len, sounding.values()))


def _pedals(tracks: list[RawTrack], tempo: TempoMap, last: int) -> list[np.ndarray]:
    """(P, 2) seconds for each of the 16 channels of a port, from its tracks; `last` is the tick of the last release."""
    tick = np.concatenate([track.tick for track in tracks])
    status = np.concatenate([track.status for track in tracks])
    first = np.concatenate([track.first for track in tracks])
    second = np.concatenate([track.second for track in tracks])
    pedal = np.flatnonzero((status >> 4 == 0xB) & ((first == PEDAL) | (first == RESET_CONTROLLERS)))
    pedal = pedal[np.argsort(tick[pedal], kind="stable")]
    strokes = []
    for channel in range(16):
        mine = pedal[status[pedal] & 0xF == channel]
        down = (first[mine] == PEDAL) & (second[mine] >= 64)
        change = np.diff(np.r_[0, down.astype(int)])
        pressed, released = tick[mine[change > 0]], tick[mine[change < 0]]
        if len(released) < len(pressed):
            released = np.r_[released, max(last, int(pressed[-1]))]
        lasting = released > pressed
        strokes.append(tempo.at(np.stack([pressed[lasting], released[lasting]], axis=1)))
    return strokes
