"""Inspection: what a MIDI file holds, what its events lose, and a row for every file however broken."""

import numpy as np
import pytest

from attn import console
from attn.apps.music.inspect import COLUMNS, SUFFIXES, inspect_file, signatures_text
from attn.core.errors import InputError
from attn.data_adapters.midi.events import EventVocabulary
from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.writer import write_midi


def chunk(name: bytes, body: bytes) -> bytes:
    return name + len(body).to_bytes(4, "big") + body


@pytest.fixture
def piece() -> Notes:
    return Notes.of([0, 0.5, 1, 1.5], [0.5, 1, 1.5, 2.5], [60, 64, 67, 20], [70, 71, 90, 90])


def test_a_row_says_what_the_file_holds_and_what_is_lost(piece, tmp_path):
    write_midi(tmp_path / "a.mid", {"right": piece, "left": piece.where(piece.pitch == 60)}, bpm=90)
    row = inspect_file(tmp_path / "a.mid")
    assert (row["tracks"], row["notes"], row["seconds"], row["bpm"]) == (2, 5, 2.5, "90")
    assert row["time_signatures"] == "4/4"
    # 70 and 71 fall into the bin of 69 to 72; one note has no event; one is in both tracks.
    assert row["lost"] == "1 note outside 21 to 108; 1 note struck twice at once; 3 velocities become 2"
    # On and off for three notes, 0.5 s three times, and a velocity for the first and the third note.
    assert row["tokens"] == 3 * 2 + 3 + 2
    wide = inspect_file(tmp_path / "a.mid", EventVocabulary(0, 127))
    assert "outside" not in wide["lost"] and wide["tokens"] == 11 + 3


def test_drums_bends_and_instruments_are_lost(tmp_path):
    strike = b"\x00\x99\x24\x50\x60\x89\x24\x00" * 2  # bass drum, twice
    first = b"\x00\xc0\x00\x00\x90\x3c\x50\x00\xe0\x00\x50\x60\x80\x3c\x00"
    second = b"\x00\xc1\x28\x00\x91\x3e\x50\x60\x81\x3e\x00"
    body = strike + first + second + b"\x00\xff\x2f\x00"
    header = chunk(b"MThd", bytes([0, 0, 0, 1, 0, 96]))
    (tmp_path / "a.mid").write_bytes(header + chunk(b"MTrk", body))
    row = inspect_file(tmp_path / "a.mid")
    assert (row["notes"], row["tracks"]) == (2, 3)
    assert row["lost"] == "2 drum notes; pitch bends; 2 instruments become one"


@pytest.mark.parametrize(
    ("length", "said"),
    [
        (1 / 4, ""),
        (1 / 8, "4 notes shorter than a sixteenth or beyond four voices; 4 notes between the sixteenths, as triplets"),
        (1 / 3, "5 notes between the sixteenths, as triplets"),
    ],
)
def test_what_a_grid_of_sixteenths_loses_is_counted(tmp_path, length, said):
    start = np.arange(8) * length
    write_midi(tmp_path / "a.mid", Notes.of(start, start + length, [60, 62] * 4, [80] * 8), bpm=60)
    found = inspect_file(tmp_path / "a.mid")["grid"]
    assert found.startswith(said) and bool(found) == bool(said)


def test_tempo_changes_are_counted(tmp_path):
    tempos = b"\x00\xff\x51\x03\x0f\x42\x40" + b"\x60\xff\x51\x03\x07\xa1\x20"  # 60, then 120
    body = tempos + b"\x00\x90\x3c\x50\x60\x80\x3c\x00\x00\xff\x2f\x00"
    (tmp_path / "a.mid").write_bytes(chunk(b"MThd", bytes([0, 0, 0, 1, 0, 96])) + chunk(b"MTrk", body))
    row = inspect_file(tmp_path / "a.mid")
    assert row["bpm"] == "60 to 120 (1 change)" and row["seconds"] == 1.5 and row["time_signatures"] == ""


def test_signatures_are_named_once_while_they_hold():
    often = [(0.0, 4, 4), (1.0, 4, 4), (2.0, 3, 4), (3.0, 4, 4)]
    assert signatures_text(often) == "4/4, 3/4, 4/4"
    assert signatures_text([(float(k), k, 8) for k in range(2, 9)]) == "2/8, 3/8, 4/8, 5/8, 3 more"


@pytest.mark.real_data
def test_every_hostile_file_has_one_row(data_dir):
    folder = data_dir / "music" / "hostile"
    files = [path for path in folder.iterdir() if path.name.lower().endswith(SUFFIXES)]
    rows = console.each(files, lambda path, _: inspect_file(path), COLUMNS, label="reading")
    assert sorted(row["id"] for row in rows) == sorted(map(str, files)) and len(rows) == 85
    for row in rows:
        if row["error"]:
            assert "\n" not in row["error"] and row["notes"] is None
        else:
            assert row["tokens"] >= 2 * min(row["notes"], 1) and row["lost"] is not None
    assert 10 < sum(bool(row["error"]) for row in rows) < 30


def test_a_missing_file_and_text_have_a_reason(tmp_path):
    (tmp_path / "a.mid").write_text("<html>")
    for name in ("a.mid", "b.mid"):
        with pytest.raises(InputError, match=name):
            inspect_file(tmp_path / name)
