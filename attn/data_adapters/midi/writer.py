"""Notes to MIDI files. Writing is deterministic: the same notes give the same bytes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from attn.core.errors import InputError
from attn.core.files import MADE_BY, replacing
from attn.data_adapters.midi.file import DRUM_CHANNEL, MAX_SECONDS, PEDAL, without_overlaps
from attn.data_adapters.midi.metre import Metre
from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.tempo import TempoMap

RESOLUTION = 960  # ticks per quarter, at the least: half a millisecond at 120 quarters per minute
MOST_RESOLUTION = 0x7FFF


@dataclass(frozen=True, eq=False)
class Part:
    """What one track plays: notes as struck and released, and the strokes (P, 2) of the pedal in seconds."""

    name: str
    notes: Notes
    pedal: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    program: int = 0


def write_midi(
    target: str | Path | BinaryIO,
    notes: Notes | Mapping[str, Notes] | Sequence[Part],
    *,
    program: int = 0,
    bpm: float = 120.0,
    tempo: TempoMap | None = None,
    metre: Metre | None = None,
    seconds: float = 0.0,
    text: str = "",
) -> None:
    """Write notes as a type 1 file; a mapping gives each of its names a track and a channel of its own.

    target: a path, which appears whole or not at all, or a binary file. program: General MIDI, 0 to 127 (0 is the grand
    piano); a `Part` has its own. bpm: quarters per minute, or a whole `tempo` map; the notes stay where they are in
    seconds. metre: the time signatures, 4/4 unless given. seconds: the piece lasts at least so long.
    text: a text event at the beginning.
    Times are rounded to 1/960 quarter or finer, such that the ticks of `tempo` remain what they were; a note lasts at
    least one tick; overlaps of one pitch are cut off.
    InputError: notes before 0 s or after a day, a bpm outside 4 to 1000, or a path that cannot be written.
    """
    if not 4 <= bpm <= 1000:
        raise InputError(f"{bpm:g} quarters per minute are outside 4 to 1000")
    tempo = tempo or TempoMap.of_bpm(bpm, RESOLUTION)
    finer = max(1, min(-(-RESOLUTION // tempo.resolution), MOST_RESOLUTION // tempo.resolution))
    resolution = finer * tempo.resolution
    parts = _parts(notes, program)
    seconds = max([seconds, *(part.notes.seconds for part in parts)])
    if seconds > MAX_SECONDS or any(len(part.notes) and part.notes.start.min() < 0 for part in parts):
        raise InputError("notes before the start or after a day cannot be written")
    end = int(_ticks(tempo, resolution, np.array([seconds]))[0])
    conductor = _conductor(tempo, finer, metre or Metre(), resolution, text)
    chunks = [_chunk([event for event in conductor if event[0] <= end], 0)]
    channels = [channel for channel in range(16) if channel != DRUM_CHANNEL]
    for number, part in enumerate(parts):
        chunks.append(_chunk(_events(part, channels[number % len(channels)], tempo, resolution), end))
    header = b"MThd" + b"".join(
        value.to_bytes(size, "big") for value, size in ((6, 4), (1, 2), (len(chunks), 2), (resolution, 2))
    )
    content = header + b"".join(chunks)
    if not isinstance(target, str | Path):
        target.write(content)
        return
    path = Path(target)
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", where=path) from error


def _parts(notes: Notes | Mapping[str, Notes] | Sequence[Part], program: int) -> Sequence[Part]:
    if isinstance(notes, Notes):
        return [Part("", notes, program=program)]
    if isinstance(notes, Mapping):
        return [Part(name, part, program=program) for name, part in notes.items()]
    return notes


def _ticks(tempo: TempoMap, resolution: int, seconds: np.ndarray) -> np.ndarray:
    return np.asarray(np.rint(tempo.quarters(seconds) * resolution))


def _conductor(tempo: TempoMap, finer: int, metre: Metre, resolution: int, text: str) -> list[tuple[int, bytes]]:
    """Who made the file, a text, tempos and time signatures as (tick, event)."""
    micros = np.clip(np.rint(tempo.scale * tempo.resolution * 1e6), 1, (1 << 24) - 1).astype(int)
    texts = [each.encode("latin1", "replace") for each in (MADE_BY, text) if each]
    events = [(0, b"\xff\x01" + _quantity(len(each)) + each) for each in texts]
    events += [
        (tick * finer, b"\xff\x51\x03" + micro.to_bytes(3, "big"))
        for tick, micro in zip(tempo.tick.tolist(), micros.tolist(), strict=True)
    ]
    for quarters, numerator, denominator in metre.changes or ((0.0, 4, 4),):
        power = denominator.bit_length() - 1
        events.append((round(quarters * resolution), b"\xff\x58\x04" + bytes([numerator, power, 24, 8])))
    return sorted(events, key=lambda event: event[0])


def _events(part: Part, channel: int, tempo: TempoMap, resolution: int) -> list[tuple[int, bytes]]:
    """Name, program, notes and pedal as (tick, event)."""
    label = part.name.encode("latin1", "replace")
    begin = [(0, b"\xff\x03" + _quantity(len(label)) + label), (0, bytes([0xC0 | channel, part.program]))]
    start = _ticks(tempo, resolution, part.notes.start)
    end = np.maximum(_ticks(tempo, resolution, part.notes.end), start + 1)
    grid = without_overlaps(Notes.of(start, end, part.notes.pitch, part.notes.velocity))
    tick = np.concatenate([grid.end, grid.start]).astype(int)
    pitch = np.tile(grid.pitch, 2)
    velocity = np.concatenate([np.zeros(len(grid), int), grid.velocity])
    order = np.lexsort((pitch, velocity > 0, tick))  # releases first, as one may end where the next begins
    played = [(int(tick[k]), bytes([0x90 | channel, pitch[k], velocity[k]])) for k in order.tolist()]
    strokes = _ticks(tempo, resolution, part.pedal).astype(int).tolist()
    pedal = [
        (at, bytes([0xB0 | channel, PEDAL, v])) for stroke in strokes for at, v in zip(stroke, (127, 0), strict=True)
    ]
    # At one tick the pedal comes first: it rises before the next strike, and is down before a release.
    return begin + sorted([*pedal, *played], key=lambda event: event[0])


def _chunk(events: Iterable[tuple[int, bytes]], end: int) -> bytes:
    """A track of (tick, event) in order, which lasts to the tick `end`."""
    body, before = bytearray(), 0
    for tick, event in events:
        body += _quantity(tick - before) + event
        before = tick
    body += _quantity(max(0, end - before)) + b"\xff\x2f\0"
    return b"MTrk" + len(body).to_bytes(4, "big") + bytes(body)


def _quantity(value: int) -> bytes:
    """A variable-length quantity: seven bits a byte, the highest first."""
    if value >= 1 << 28:
        raise InputError("a rest of more than 268 million ticks cannot be written")
    parts = [value & 0x7F]
    while value := value >> 7:
        parts.append(value & 0x7F | 0x80)
    return bytes(reversed(parts))
