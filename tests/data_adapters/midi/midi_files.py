"""Hand-made MIDI files and notes for the tests of readers and writers."""

import struct

import numpy as np

from attn.data_adapters.midi.notes import Notes

TEMPO_60 = b"\0\xff\x51\x03\x0f\x42\x40"  # a quarter is a second
END = b"\0\xff\x2f\0"


def smf(*tracks: bytes, kind: int = 1, division: int = 10) -> bytes:
    """A file; with the default division and TEMPO_60 ten ticks are a second."""
    header = b"MThd" + struct.pack(">IHHH", 6, kind, len(tracks), division)
    return header + b"".join(b"MTrk" + struct.pack(">I", len(track)) + track for track in tracks)


def rows(notes: Notes) -> list[tuple[float, float, int, int]]:
    columns = (notes.start.tolist(), notes.end.tolist(), notes.pitch.tolist(), notes.velocity.tolist())
    return sorted(zip(*columns, strict=True))


def random_notes(seed: int, count: int = 300, low: int = 0, high: int = 127) -> Notes:
    random = np.random.default_rng(seed)
    start = random.uniform(0, 20, count)
    length = random.uniform(0.02, 3, count)
    return Notes.of(start, start + length, random.integers(low, high + 1, count), random.integers(1, 128, count))
