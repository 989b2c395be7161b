"""The bytes of a standard MIDI file as event arrays: fast, bounded, and exact about what is wrong.

Source: MIDI Manufacturers Association, "Standard MIDI Files 1.0". Files of type 0 and 1, running status, SMPTE
division, foreign chunks between tracks and the RIFF wrapper of `.rmi` files are read. The file is mapped, not read:
system-exclusive data is skipped over and costs nothing, whatever its size.

Shapes: E channel messages of one track, in the order of the file.
"""

import mmap
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from attn.core.errors import InputError
from attn.data_adapters.boundary import boundary

MAX_BYTES = 1 << 28  # of a file; system-exclusive data may well be 100 MB, music is not
MAX_EVENTS = 1 << 22  # of a file: at most some hundred MB of memory and a few seconds
MAX_TICK = 1 << 38  # so that a tick and its message fit one int64
MAX_NAME = 256  # characters kept of a track's name
SYSTEM_DATA_BYTES = {0xF1: 1, 0xF2: 2, 0xF3: 1, 0xF6: 0, 0xF8: 0, 0xFA: 0, 0xFB: 0, 0xFC: 0, 0xFE: 0}
FRAMES_PER_SECOND = {24: 24.0, 25: 25.0, 29: 30000 / 1001, 30: 30.0}


@dataclass
class RawTrack:
    """One MTrk chunk.

    tick, status, first, second: (E,) int64, channel messages with their data bytes; second is 0 in messages with one
    data byte.
    tempos: (tick, microseconds per quarter); signatures: (tick, numerator, denominator).
    port: of several MIDI ports with 16 channels each, the one that the track plays on. end: the tick at which it ends.
    """

    tick: np.ndarray
    status: np.ndarray
    first: np.ndarray
    second: np.ndarray
    name: str = ""
    tempos: list[tuple[int, int]] = field(default_factory=list)
    signatures: list[tuple[int, int, int]] = field(default_factory=list)
    port: int = 0
    end: int = 0


class RawMidi(NamedTuple):
    """A whole file: `resolution` ticks per quarter, or with SMPTE division `ticks_per_second` instead."""

    resolution: int
    ticks_per_second: float | None
    tracks: list[RawTrack]
    flags: list[str]


def parse_midi(path: str | Path) -> RawMidi:
    """All tracks of the file at `path`.

    Flags say what was odd: `riff`, `smpte:25x40`, `foreign_chunk:XFIH`, `tracks:2 of 3`, `trailing_bytes:12`,
    `no_end_of_track`, `after_end_of_track`, `track_length`, `running_status_over_sysex`, `tempo_ignored`,
    `signature_ignored`, `long_number` (with leading zeros, as Ardour writes them), and `data_byte_clipped:2` (above
    127 and read as 127, as `mido` does with clip).
    InputError: not a readable file, not MIDI, MIDI 2.0 clip, type 2 with several sequences, a track of 0 bytes before
    bytes that belong to no track, or damaged: the sentence names the track (counted from 1) and the byte (counted from
    0).
    """
    path = Path(path)
    with boundary(path, "cannot be read"):
        if path.exists() and not path.is_file():  # opening a pipe would wait for ever
            raise InputError("is not a regular file", where=path)
        with path.open("rb") as file:
            size = path.stat().st_size
            if not size:
                raise InputError("is empty", where=path)
            if size > MAX_BYTES:
                raise InputError(f"has {size:,} bytes, more than the {MAX_BYTES:,} read", where=path)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Parser(data, path).file()


class _Parser:
    def __init__(self, data: mmap.mmap, path: Path) -> None:
        self.data = data
        self.path = path
        self.end = len(data)
        self.flags: dict[str, None] = {}
        self.events_left = MAX_EVENTS
        self.clipped = 0

    def file(self) -> RawMidi:
        position = self._unwrap()
        resolution, ticks_per_second, declared, kind, position = self._header(position)
        tracks: list[RawTrack] = []
        empty = 0  # the number of a track without bytes
        while self.end - position >= 8:
            chunk, length = struct.unpack(">4sI", self.data[position : position + 8])
            if chunk != b"MTrk" and (len(tracks) >= declared or not chunk.isalnum()):
                break
            position += 8
            if chunk == b"MTrk":
                if position + length > self.end:
                    self.flags["track_length"] = None
                empty = empty if length else len(tracks) + 1
                tracks.append(self._track(position, min(position + length, self.end), len(tracks) + 1, length))
            else:
                self.flags[f"foreign_chunk:{chunk.decode('ascii')}"] = None
            position += length
        if len(tracks) < declared and position < self.end:
            raise self._fault(len(tracks) + 1, position, "should begin here, but there is no MTrk")
        if not tracks:
            raise InputError("has no track", where=self.path)
        if len(tracks) != declared:
            self.flags[f"tracks:{len(tracks)} of {declared}"] = None
        if position < self.end:
            left = self.end - position
            if empty:
                what = f"track {empty} says it has 0 bytes, and {left:,} bytes that belong to no track follow"
                raise InputError(what, where=self.path, hint="save the file again")
            self.flags[f"trailing_bytes:{left}"] = None
        if self.clipped:
            self.flags[f"data_byte_clipped:{self.clipped}"] = None
        if kind == 2 and len(tracks) > 1:
            raise InputError(
                f"is MIDI type 2 ({len(tracks)} independent sequences, not one piece)",
                where=self.path,
                hint="save it as type 0 or 1",
            )
        return RawMidi(resolution, ticks_per_second, tracks, list(self.flags))

    def _unwrap(self) -> int:
        """Where the header begins; inside RIFF, the end of the data moves too."""
        magic = self.data[:12]
        if magic.startswith(b"SMF2CLIP"):
            raise InputError("is a MIDI 2.0 clip file", where=self.path, hint="save it as a standard MIDI file")
        if not magic.startswith(b"RIFF"):
            return 0
        position = 12
        while magic[8:] == b"RMID" and position + 8 <= self.end:
            chunk, length = struct.unpack("<4sI", self.data[position : position + 8])
            if chunk == b"data":
                self.flags["riff"] = None
                self.end = min(self.end, position + 8 + length)
                return position + 8
            position += 8 + length + length % 2
        raise InputError("is a RIFF file without MIDI data", where=self.path)

    def _header(self, position: int) -> tuple[int, float | None, int, int, int]:
        head = self.data[position : min(position + 14, self.end)]
        if not head.startswith(b"MThd"):
            raise InputError(f"is not a MIDI file (no MThd at byte {position})", where=self.path)
        if len(head) < 14:
            raise InputError(f"ends inside its header, at byte {self.end}", where=self.path)
        length, kind, declared, division = struct.unpack(">IHHH", head[4:])
        if length < 6 or kind > 2 or division == 0:
            fault = f"length {length}" if length < 6 else f"type {kind}" if kind > 2 else "0 ticks per quarter"
            raise InputError(f"has a broken header ({fault})", where=self.path)
        following = position + 8 + length
        if division < 0x8000:
            return division, None, declared, kind, following
        frames, ticks = 256 - (division >> 8), division & 0xFF
        if frames not in FRAMES_PER_SECOND or ticks == 0:
            raise InputError(f"has a broken SMPTE division ({frames} frames of {ticks} ticks)", where=self.path)
        self.flags[f"smpte:{frames}x{ticks}"] = None
        return 0, FRAMES_PER_SECOND[frames] * ticks, declared, kind, following

    def _track(self, position: int, end: int, number: int, length: int) -> RawTrack:
        """Events from `position` to the end-of-track event or `end`; the chunk declares `length` bytes."""
        start = position
        data = self.data
        raw = RawTrack(*(np.zeros(0, np.int64),) * 4)
        messages: list[int] = []
        tick = status = event = used = 0
        ended = after_sysex = False
        try:
            for used in range(self.events_left):  # noqa: B007 - used below
                if position >= end:
                    break
                event = position
                delta = data[position]
                if delta > 0x7F:
                    delta, position = self._quantity(position)
                else:
                    position += 1
                tick += delta
                first = data[position]
                if first > 0x7F:
                    position += 1
                    if first >= 0xF0:
                        if first == 0xFF:
                            ended, position = self._meta(raw, tick, position, end)
                            if ended:
                                break
                        else:
                            position = self._system(first, position, number, event)
                            after_sysex = True
                        continue
                    status = first
                    first = data[position]
                elif after_sysex:
                    self.flags["running_status_over_sysex"] = None
                after_sysex = False
                if not status:
                    raise self._fault(number, position, f"has {first} where a status byte is expected")
                if first > 0x7F:
                    first = 0x7F
                    self.clipped += 1
                if 0xC0 <= status < 0xE0:
                    second = 0
                    position += 1
                else:
                    second = data[position + 1]
                    if second > 0x7F:
                        second = 0x7F
                        self.clipped += 1
                    position += 2
                messages.append(tick << 24 | status << 16 | first << 8 | second)
            else:
                raise InputError(f"has more than {MAX_EVENTS:,} events", where=self.path)
        except IndexError:
            position = self.end + 1
        if position > end:
            raise self._fault(number, event, "ends inside the event that begins here")
        if not ended and end - start < length:
            raise self._fault(number, end, f"is cut off: {end - start:,} of {length:,} bytes are there")
        if tick >= MAX_TICK:
            raise self._fault(number, position, f"has a time of {tick:,} ticks")
        if not ended:
            self.flags["no_end_of_track"] = None
        elif position < end:
            self.flags["after_end_of_track"] = None
        self.events_left -= used
        raw.end = tick
        packed = np.array(messages, np.int64)
        raw.tick, raw.status, raw.first, raw.second = (
            packed >> 24,
            packed >> 16 & 0xFF,
            packed >> 8 & 0xFF,
            packed & 0xFF,
        )
        return raw

    def _quantity(self, position: int) -> tuple[int, int]:
        """A variable-length quantity and what follows it. The standard's four bytes are the limit but for zeros."""
        value, begin = 0, position
        while self.data[begin] == 0x80:
            begin += 1
        for index in range(begin, begin + 4):
            byte = self.data[index]
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                if index - position >= 4:
                    self.flags["long_number"] = None
                return value, index + 1
        raise InputError(f"has a number of more than 4 bytes at byte {position}", where=self.path)

    def _meta(self, raw: RawTrack, tick: int, position: int, end: int) -> tuple[bool, int]:
        """Note what the meta event after the 0xFF at `position` says. True with the end of the track."""
        kind = self.data[position]
        length, begin = self._quantity(position + 1)
        following = begin + length
        if following > end:
            raise IndexError
        if kind == 0x03 and not raw.name:
            raw.name = self.data[begin : begin + min(length, MAX_NAME)].decode("latin1").strip("\0 ")
        elif kind == 0x21 and length == 1:
            raw.port = self.data[begin]
        elif kind == 0x51:
            tempo = int.from_bytes(self.data[begin:following], "big") if length == 3 else 0
            if tempo:
                raw.tempos.append((tick, tempo))
            else:
                self.flags["tempo_ignored"] = None
        elif kind == 0x58:
            numerator, power = self.data[begin : begin + 2] if length >= 2 else (0, 0)
            if numerator and power <= 6:
                raw.signatures.append((tick, numerator, 1 << power))
            else:
                self.flags["signature_ignored"] = None
        return kind == 0x2F, following

    def _system(self, status: int, position: int, number: int, event: int) -> int:
        """What follows the system message with that status byte."""
        if status in (0xF0, 0xF7):
            length, begin = self._quantity(position)
            return begin + length
        if status not in SYSTEM_DATA_BYTES:
            raise self._fault(
                number, event, f"has the undefined status byte 0x{status:02X} in the event that begins here"
            )
        return position + SYSTEM_DATA_BYTES[status]

    def _fault(self, track: int, byte: int, what: str) -> InputError:
        return InputError(f"track {track} at byte {byte} {what}", where=self.path)
