"""Odd and broken MIDI files: a result, or one sentence; in bounded time and memory."""

import os
import struct
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from midi_files import END, TEMPO_60, rows, smf

from attn.core.errors import InputError
from attn.data_adapters.midi import file as midi_module
from attn.data_adapters.midi import parser as midi_parser
from attn.data_adapters.midi.file import read_midi, with_sustain

NOTE = b"\0\x90\x3c\x50\x0a\x80\x3c\0"
HEADER_BYTES = 14 + 8  # of the file and of its first track


def test_every_hostile_file_is_read_or_named(data_dir: Path) -> None:
    paths = sorted((data_dir / "music" / "hostile").iterdir())
    assert len(paths) >= 80
    read, refused = {}, {}
    for path in paths:
        try:
            read[path.name] = len(with_sustain(read_midi(path)))
        except InputError as error:
            refused[path.name] = str(error)
            assert str(error).startswith(str(path)) and len(str(error).splitlines()) == 1
    assert len(read) >= 60 and read["Beethoven.rmi"] > 1000 and read["test-running-status-sysex.mid"] == 8
    assert read["ValueError_Control168.mid"] > 0
    assert "MIDI 2.0" in refused["test-data.midi2"]
    assert "is empty" in refused["test-empty-file.mid"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"hello", "not a MIDI file"),
        (b"MThd\0\0", "ends inside its header"),
        (smf(division=0), r"0 ticks per quarter"),
        (smf(END, kind=3), "type 3"),
        (smf(END, END, kind=2), "type 2"),
        (smf(END, division=(256 - 23) << 8 | 4), "SMPTE division"),
        (smf(), "has no track"),
        (b"MThd" + struct.pack(">IHHH", 6, 1, 2, 96) + b"?" * 20, "track 1 at byte 14 should begin here"),
        (smf(TEMPO_60 + b"\0\x90\x3c"), f"track 1 at byte {HEADER_BYTES + 7} ends inside"),
        (smf(b"") + b"\0\x90\x3c\x50", "track 1 says it has 0 bytes, and 4 bytes that belong to no track follow"),
        (smf(b"\0\x3c\x3c" + END), f"byte {HEADER_BYTES + 1} has 60 where a status byte"),
        (smf(b"\0\xf4" + END), f"byte {HEADER_BYTES} has the undefined status byte 0xF4"),
        (smf(b"\xff\xff\xff\xff\x7f\x90\x3c\x50"), f"more than 4 bytes at byte {HEADER_BYTES}"),
        (smf(b"\0\xf0\x8f\xff\xff\x7fabc"), f"byte {HEADER_BYTES} ends inside"),
        (smf(b"\0\xff\x03\x20abc"), f"byte {HEADER_BYTES} ends inside"),
        (smf(NOTE + END)[:-6], "ends inside|is cut off"),
        (smf(NOTE)[:-4], "track 1 at byte 26 is cut off: 4 of 8 bytes"),
        (smf(b"\0\x90\x3c\x50" + b"\xff\xff\xff\x7f\xa0\x3c\0" * 20 + b"\0\x80\x3c\0" + END), "hours"),
        (b"RIFF\x10\0\0\0RMIDfoo \0\0\0\0", "RIFF file without MIDI"),
        (b"RIFF\x10\0\0\0WAVEdata\0\0\0\0", "RIFF file without MIDI"),
    ],
)
def test_a_broken_file_is_one_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "broken.mid"
    path.write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        read_midi(path)


@pytest.mark.parametrize(
    ("content", "flag"),
    [
        (smf(NOTE), "no_end_of_track"),
        (smf(NOTE + END + b"junk"), "after_end_of_track"),
        (smf(NOTE + END) + b"junk", "trailing_bytes:4"),
        (smf(NOTE + END) + b"XFIH\0\0\0\2ab", "trailing_bytes:10"),
        (smf(NOTE + END).replace(b"MTrk", b"Junk\0\0\0\2abMTrk"), "foreign_chunk:Junk"),
        (smf(NOTE + END).replace(b"MTrk\0\0\0\x0c", b"MTrk\0\0\1\x0c"), "track_length"),
        (smf(NOTE + END)[:10] + b"\0\5" + smf(NOTE + END)[12:], "tracks:1 of 5"),
        (smf(END, TEMPO_60 + NOTE + END), "tempo_outside_first_track"),
        (smf(b"\0\x90\x3c\x50\x0a" + END[1:]), "hanging_notes:1"),
        (smf(NOTE + b"\0\xb0\x07\xff\0\xb0\xa8\x01" + END), "data_byte_clipped:2"),
        (smf(b"\x80\x80\x80\x80" + NOTE + END), "long_number"),
        (smf(b"\0\x90\x3c\x50\0\xf0\2a\xf7\x0a\x3c\0" + END), "running_status_over_sysex"),
        (smf(NOTE + b"\0\xff\x58\x02\0\x02" + END), "signature_ignored"),
    ],
)
def test_an_odd_file_is_read_and_flagged(tmp_path: Path, content: bytes, flag: str) -> None:
    path = tmp_path / "odd.mid"
    path.write_bytes(content)
    midi = read_midi(path)
    assert [row[2:] for row in rows(midi.notes)] == [(60, 80)]
    assert flag in midi.flags


def test_riff_is_unwrapped(tmp_path: Path) -> None:
    inner = smf(TEMPO_60 + NOTE + END)
    chunks = b"RMID" + b"DISP\3\0\0\0abc\0" + b"data" + struct.pack("<I", len(inner)) + inner + b"LIST\0\0\0\0"
    path = tmp_path / "wrapped.rmi"
    path.write_bytes(b"RIFF" + struct.pack("<I", len(chunks)) + chunks)
    midi = read_midi(path)
    assert rows(midi.notes) == [(0.0, 1.0, 60, 80)] and midi.flags == ("riff",)


def test_what_is_not_a_file_is_refused_without_waiting(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.mid"
    os.mkfifo(pipe)
    for path, sentence in ((pipe, "regular file"), (tmp_path, "regular file"), (tmp_path / "none.mid", "No such file")):
        with pytest.raises(InputError, match=sentence):
            read_midi(path)


def test_a_hundred_megabytes_of_sysex_cost_nothing(tmp_path: Path) -> None:
    size = 100 << 20
    length = bytes([size >> 21 & 0x7F | 0x80, size >> 14 & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size & 0x7F])
    path = tmp_path / "sysex.mid"
    with path.open("wb") as file:  # sparse: the disk holds next to nothing either
        file.write(b"MThd" + struct.pack(">IHHH", 6, 1, 1, 10) + b"MTrk")
        file.write(struct.pack(">I", 6 + size + len(TEMPO_60 + NOTE + END)) + b"\0\xf0" + length)
        file.seek(size, os.SEEK_CUR)
        file.write(TEMPO_60 + NOTE + END)
    tracemalloc.start()
    begin = time.process_time()
    midi = read_midi(path)
    assert time.process_time() - begin < 1
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    assert rows(midi.notes) == [(0.0, 1.0, 60, 80)]


def test_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "big.mid"
    path.write_bytes(smf(NOTE * 30 + END))
    for module, limit in ((midi_parser, "MAX_BYTES"), (midi_parser, "MAX_EVENTS"), (midi_module, "MAX_NOTES")):
        with monkeypatch.context() as patch:
            patch.setattr(module, limit, 20)
            with pytest.raises(InputError, match=r"more than (the )?20 (read|events|notes)"):
                read_midi(path)


def test_a_tempo_far_out_does_not_take_memory(tmp_path: Path) -> None:
    path = tmp_path / "far.mid"
    path.write_bytes(smf(NOTE + b"\xff\xff\xff\x7f\xff\x51\x03\x0f\x42\x40" * 50 + END))
    tracemalloc.start()
    assert len(read_midi(path).notes) == 1
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("seed", range(6))
def test_damage_anywhere_is_a_result_or_a_sentence(data_dir: Path, tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    whole = (data_dir / "music" / "hostile" / "test12.mid").read_bytes()
    path = tmp_path / "damaged.mid"
    for _ in range(150):
        damaged = bytearray(whole)
        for place in random.integers(0, len(damaged), random.integers(1, 6)):
            damaged[place] = random.integers(0, 256)
        path.write_bytes(bytes(damaged[: random.integers(1, len(damaged) + 1)] if random.random() < 0.3 else damaged))
        try:
            notes = with_sustain(read_midi(path))
        except InputError:
            continue
        assert (notes.end > notes.start).all() and (notes.velocity > 0).all() and (notes.start >= 0).all()
