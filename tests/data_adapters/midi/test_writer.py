"""Notes to MIDI files: what is written is read again."""

import io
from pathlib import Path

import numpy as np
import pytest
from midi_files import END, TEMPO_60, random_notes, rows, smf

from attn.core.errors import InputError
from attn.data_adapters.midi.file import read_midi, with_sustain, without_overlaps
from attn.data_adapters.midi.metre import Metre
from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.tempo import TempoMap
from attn.data_adapters.midi.writer import Part, write_midi


@pytest.mark.parametrize("bpm", [40.0, 120.0, 187.3])
def test_what_is_written_is_read(tmp_path: Path, bpm: float) -> None:
    notes = without_overlaps(random_notes(7))
    path = tmp_path / "out.mid"
    write_midi(path, notes, program=19, bpm=bpm)
    midi = read_midi(path)
    assert midi.tracks[0].program == 19 and midi.flags == ()
    again = midi.notes
    assert len(again) == len(notes)
    order, order_again = (np.lexsort((n.start, n.pitch)) for n in (notes, again))
    half_tick = 60 / bpm / 960 / 2 + 1e-4  # and the tempo is whole microseconds
    assert np.abs(again.start[order_again] - notes.start[order]).max() < half_tick
    assert np.abs(again.end[order_again] - notes.end[order]).max() < half_tick
    assert (again.velocity[order_again] == notes.velocity[order]).all()


def test_the_same_notes_give_the_same_bytes(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    write_midi(buffer, random_notes(3))
    write_midi(tmp_path / "out.mid", random_notes(3))
    assert buffer.getvalue() == (tmp_path / "out.mid").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["out.mid"]


def test_a_release_is_written_before_the_strike_at_its_tick(tmp_path: Path) -> None:
    """Players that take messages one by one would else silence the new note."""
    write_midi(tmp_path / "out.mid", Notes.of([0.0, 1.0], [1.0, 2.0], [60, 60], [70, 80]))
    assert b"\x90\x3c\x46\x8f\x00\x90\x3c\x00\x00\x90\x3c\x50" in (tmp_path / "out.mid").read_bytes()


def test_no_notes_are_a_file_too(tmp_path: Path) -> None:
    write_midi(tmp_path / "out.mid", Notes.none())
    assert len(read_midi(tmp_path / "out.mid").notes) == 0
    assert len(with_sustain(read_midi(tmp_path / "out.mid"))) == 0


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write_midi(tmp_path / "no" / "out.mid", random_notes(1))
    with pytest.raises(InputError, match="before the start"):
        write_midi(tmp_path / "out.mid", random_notes(1).shifted(-5))
    with pytest.raises(InputError, match="per minute"):
        write_midi(tmp_path / "out.mid", random_notes(1), bpm=0)
    assert not list(tmp_path.iterdir())


def test_tempo_metre_pedal_programs_and_length_come_back(tmp_path: Path) -> None:
    """At the resolution of the source or a multiple, so that no tick moves."""
    conductor = (
        TEMPO_60 + b"\0\xff\x58\x04\x01\x02\x18\x08\x0a\xff\x58\x04\x03\x03\x18\x08\x07\xff\x51\x03\x07\xa1\x20" + END
    )
    first = b"\0\xc0\x28\0\xb0\x40\x7f\x03\x90\x3c\x50\x0b\x80\x3c\0\x01\xb0\x40\0\x09" + END[1:]
    second = b"\x11\x91\x30\x50\x05\x81\x30\0\x20" + END[1:]
    path, again = tmp_path / "in.mid", tmp_path / "out.mid"
    path.write_bytes(smf(conductor, first, second))
    midi = read_midi(path)
    metre = Metre.of(midi.signatures, midi.tempo)
    assert metre.changes == ((0.0, 1, 4), (1.0, 3, 8))
    parts = [Part(track.name, track.notes, track.pedal, track.program) for track in midi.tracks]
    write_midi(again, parts, tempo=midi.tempo, metre=metre, seconds=midi.seconds)
    back = read_midi(again)
    assert back.resolution == 960 and back.seconds == pytest.approx(midi.seconds, abs=1e-9)
    assert np.array(back.signatures) == pytest.approx(np.array(midi.signatures)) and back.tempo.bpm.tolist() == [
        60,
        120,
    ]
    assert [track.program for track in back.tracks] == [40, 0]
    for one, other in zip(midi.tracks, back.tracks, strict=True):
        assert np.array(rows(one.notes)) == pytest.approx(np.array(rows(other.notes))) and one.pedal == pytest.approx(
            other.pedal
        )


def test_tempos_after_the_end_are_left_out_and_endless_rests_refused(tmp_path: Path) -> None:
    tempo = TempoMap.of([(0, 500_000), (1 << 37, 1)], 480)
    write_midi(tmp_path / "a.mid", Notes.of([0.0], [1.0], [60], [70]), tempo=tempo)
    assert read_midi(tmp_path / "a.mid").tempo.bpm.tolist() == [120]
    with pytest.raises(InputError, match="ticks cannot be written"):
        write_midi(tmp_path / "b.mid", Notes.of([80_000.0], [80_001.0], [60], [70]), tempo=TempoMap.of([(0, 1)], 480))
    assert not (tmp_path / "b.mid").exists()
