"""Reading and writing MIDI: against pretty_midi, hand-made files, the pedal second by second, and round trips."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
from midi_files import END, TEMPO_60, random_notes, rows, smf

from attn.data_adapters.midi.file import MidiFile, read_midi, with_sustain, without_overlaps
from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.writer import write_midi


def read(tmp_path: Path, *tracks: bytes, division: int = 10) -> MidiFile:
    path = tmp_path / "made.mid"
    path.write_bytes(smf(*tracks, division=division))
    return read_midi(path)


def oracle_rows(path: Path) -> list[tuple[float, float, int, int]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        midi = pretty_midi.PrettyMIDI(str(path))
    return sorted(
        (note.start, note.end, note.pitch, note.velocity)
        for instrument in midi.instruments
        if not instrument.is_drum
        for note in instrument.notes
    )


@pytest.mark.real_data
def test_a_sample_of_maestro_is_equal_to_pretty_midi(data_dir: Path) -> None:
    for path in sorted((data_dir / "music" / "maestro").rglob("*.midi"))[::110]:
        assert rows(read_midi(path).notes) == oracle_rows(path)


@pytest.mark.parametrize(
    ("track", "expected"),
    [
        (b"\0\x90\x3c\x50\x14\xff\x2f\0", [(0.0, 2.0, 60, 80)]),  # to the end of the track
        (b"\x0a\x90\x3c\x50\0\xff\x2f\0", [(1.0, 2.0, 60, 80)]),  # struck at the end: a quarter
        (b"\0\x90\x3c\x50\x0a\x90\x3c\x40\x0a\xff\x2f\0", [(0.0, 1.0, 60, 80), (1.0, 2.0, 60, 64)]),
    ],
)
def test_what_is_never_released_ends_with_its_track(tmp_path: Path, track: bytes, expected: list[object]) -> None:
    midi = read(tmp_path, TEMPO_60 + track)
    assert rows(with_sustain(midi)) == expected
    assert midi.flags == (f"hanging_notes:{len(expected)}",)
    assert midi.seconds == 2.0 or expected[0] == (1.0, 2.0, 60, 80)


def test_programs_of_another_track_are_those_of_the_channel(tmp_path: Path) -> None:
    conductor = TEMPO_60 + b"\0\xc0\x28\0\xc1\x38\x0a\xc0\x05" + END
    first = b"\0\x90\x3c\x50\x0a\x80\x3c\0\0\x90\x3c\x50\x0a\x80\x3c\0" + END
    second = b"\0\xc1\x07\0\x91\x30\x50\x0a\x81\x30\0" + END  # its own program counts
    midi = read(tmp_path, conductor, first, second)
    assert [(t.program, t.number, t.channel, len(t.notes)) for t in midi.tracks] == [
        (40, 2, 1, 1),
        (5, 2, 1, 1),
        (7, 3, 2, 1),
    ]


def test_a_pedal_holds_for_its_port_only(tmp_path: Path) -> None:
    pedalled = b"\0\xff\x21\x01\0\0\xb0\x40\x7f\0\x90\x3c\x50\x0a\x80\x3c\0\x0a\xb0\x40\0" + END
    other = b"\0\xff\x21\x01\x01\0\x90\x40\x50\x0a\x80\x40\0" + END
    assert rows(with_sustain(read(tmp_path, TEMPO_60, pedalled, other))) == [(0, 1, 64, 80), (0, 2, 60, 80)]


@pytest.mark.slow
@pytest.mark.real_data
def test_all_of_maestro_is_equal_to_pretty_midi(data_dir: Path) -> None:
    paths = sorted((data_dir / "music" / "maestro").rglob("*.midi"))
    assert len(paths) == 655
    for path in paths:
        assert rows(read_midi(path).notes) == oracle_rows(path), path.name


@pytest.mark.parametrize("seed", range(40))
def test_tangled_notes_are_equal_to_pretty_midi(tmp_path: Path, seed: int) -> None:
    """Few pitches, many events at one tick, programs that change, releases without a strike, running status."""
    random = np.random.default_rng(seed)
    tracks = []
    for _ in range(2):
        body = bytearray(b"\0\x90\x01\x40")
        for _ in range(200):
            body += bytes([random.integers(0, 3)])
            kind = random.integers(0, 10)
            if kind < 5:
                body += bytes([0x90 | random.integers(8, 11), random.integers(60, 63), random.integers(0, 3)])
            elif kind < 8:
                body += bytes([0x80 | random.integers(8, 11), random.integers(60, 63), 64, 1, 0x80, 61, 0])
            elif kind < 9:
                body += bytes([0xC0 | random.integers(8, 11), random.integers(0, 3)])
            else:
                body += bytes([0xE0 | random.integers(8, 11), 0, 64])
        tracks.append(bytes(body) + b"\x05" + END[1:])
    path = tmp_path / "made.mid"
    path.write_bytes(smf(TEMPO_60 + b"\x14\xff\x51\x03\x07\xa1\x20" + END, *tracks))
    oracle = pretty_midi.PrettyMIDI(str(path))
    # What hangs is kept here and left out there: released by hand where the tracks end, it is the same.
    places = [(0, 1), *((channel, pitch) for channel in (8, 9, 10) for pitch in (60, 61, 62))]
    released = b"".join(bytes([0, 0x80 | channel, pitch, 64]) for channel, pitch in places)
    ended = [track[:-3] + released[1:] + END for track in tracks]
    path.write_bytes(smf(TEMPO_60 + b"\x14\xff\x51\x03\x07\xa1\x20" + END, *ended))
    assert rows(read_midi(path).notes) == oracle_rows(path)
    played = pretty_midi.PrettyMIDI(str(path)).instruments
    path.write_bytes(smf(TEMPO_60 + b"\x14\xff\x51\x03\x07\xa1\x20" + END, *tracks))
    midi = read_midi(path)
    assert sorted((track.program, track.drum, len(track.notes)) for track in midi.tracks) == sorted(
        (instrument.program, instrument.is_drum, len(instrument.notes)) for instrument in played
    )
    missing = sum(map(len, (i.notes for i in played))) - sum(len(i.notes) for i in oracle.instruments)
    assert midi.flags == ((f"hanging_notes:{missing}",) if missing else ())


def test_tempo_signature_name_and_drums(tmp_path: Path) -> None:
    tempo = TEMPO_60 + b"\x14\xff\x51\x03\x07\xa1\x20" + b"\0\xff\x58\x04\x03\x03\x18\x08" + END  # double from tick 20
    piano = b"\0\xff\x03\x05Piano\0\xc1\x05\x0a\x91\x3c\x50\x14\x81\x3c\0" + END  # ticks 10 to 30
    drums = b"\0\x99\x24\x60\x0a\x89\x24\0" + END
    midi = read(tmp_path, tempo, piano, drums)
    assert rows(midi.notes) == [(1.0, 2.5, 60, 80)]
    assert [(track.name, track.program, track.drum) for track in midi.tracks] == [("Piano", 5, False), ("", 0, True)]
    assert midi.signatures == ((2.0, 3, 8),)
    assert midi.tempo.bpm.tolist() == [60, 120]
    assert midi.tempo.quarters(np.array([1.0, 2.0, 2.5])).tolist() == [1, 2, 3]
    assert midi.resolution == 10 and midi.flags == ()


def test_smpte_division_counts_seconds_and_not_quarters(tmp_path: Path) -> None:
    track = TEMPO_60 + b"\0\x90\x3c\x50\x87\x68\x80\x3c\0" + END  # 1000 ticks
    midi = read(tmp_path, track, division=(256 - 25) << 8 | 40)
    assert rows(midi.notes) == [(0.0, 1.0, 60, 80)]
    assert midi.flags == ("smpte:25x40",)


def test_a_tempo_of_zero_is_passed_over(tmp_path: Path) -> None:
    midi = read(tmp_path, TEMPO_60 + b"\0\xff\x51\x03\0\0\0" + b"\0\x90\x3c\x50\x0a\x80\x3c\0" + END)
    assert rows(midi.notes) == [(0.0, 1.0, 60, 80)]
    assert midi.flags == ("tempo_ignored",)


def test_the_pretty_midi_object_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "made.mid"
    write_midi(path, {"left": random_notes(1), "right": random_notes(2)}, program=3, bpm=90)
    midi = read_midi(path)
    public = midi.to_pretty_midi()
    assert [(i.name, i.program) for i in public.instruments] == [("left", 3), ("right", 3)]
    assert public.get_tempo_changes()[1] == pytest.approx([90], rel=1e-6)
    public.write(str(path))
    again = read_midi(path)
    assert len(again.notes) == len(midi.notes)
    assert np.abs(again.notes.start - midi.notes.start).max() < 1e-3


def pedal_file(
    tmp_path: Path, strikes: Sequence[tuple[int, int, int, int]], pedals: Sequence[tuple[int, int, int]]
) -> MidiFile:
    """strikes: (tick, channel, pitch, 1 or 0); pedals: (tick, channel, value). Pedals come first at one tick."""
    events = [(tick, 0, bytes([0xB0 | channel, 64, value])) for tick, channel, value in pedals]
    events += [(tick, 1, bytes([0x90 | channel, pitch, 70 * on])) for tick, channel, pitch, on in strikes]
    body, before = bytearray(TEMPO_60), 0
    for tick, _, message in sorted(events):
        body += bytes([tick - before]) + message
        before = tick
    return read(tmp_path, bytes(body) + END)


def test_the_pedal_holds_until_it_rises(tmp_path: Path) -> None:
    strikes = [(0, 0, 60, 1), (10, 0, 60, 0), (0, 1, 72, 1), (10, 1, 72, 0)]
    midi = pedal_file(tmp_path, strikes, [(5, 0, 127), (30, 0, 0)])
    assert rows(with_sustain(midi)) == [(0.0, 1.0, 72, 70), (0.0, 3.0, 60, 70)]  # the other channel has no pedal
    assert rows(midi.notes) == [(0.0, 1.0, 60, 70), (0.0, 1.0, 72, 70)]


def test_a_held_note_ends_where_its_pitch_is_struck_again(tmp_path: Path) -> None:
    strikes = [(0, 0, 60, 1), (10, 0, 60, 0), (20, 0, 60, 1), (25, 0, 60, 0)]
    midi = pedal_file(tmp_path, strikes, [(5, 0, 64), (24, 0, 63)])  # 64 is down, 63 is up
    assert rows(with_sustain(midi)) == [(0.0, 2.0, 60, 70), (2.0, 2.5, 60, 70)]


def test_a_pedal_that_never_rises_ends_with_the_last_release(tmp_path: Path) -> None:
    midi = pedal_file(tmp_path, [(0, 0, 60, 1), (10, 0, 60, 0), (0, 0, 64, 1), (40, 0, 64, 0)], [(5, 0, 100)])
    assert rows(with_sustain(midi)) == [(0.0, 4.0, 60, 70), (0.0, 4.0, 64, 70)]


def test_a_pedal_on_another_track_of_the_channel_counts(tmp_path: Path) -> None:
    notes = b"\0\x90\x3c\x46\x0a\x80\x3c\0" + END
    pedal = b"\0\xb0\x40\x7f\x14\xb0\x40\0" + END
    assert rows(with_sustain(read(tmp_path, TEMPO_60 + notes, pedal))) == [(0.0, 2.0, 60, 70)]


@pytest.mark.parametrize("seed", range(20))
def test_sustain_equals_the_string_of_each_pitch_tick_by_tick(tmp_path: Path, seed: int) -> None:
    """A string sounds while its key or the pedal is down, and starts anew with each strike."""
    random = np.random.default_rng(seed)
    pedals = [(int(tick), 0, int(random.integers(0, 128))) for tick in sorted(random.choice(100, 12, replace=False))]
    pedals.append((101, 0, 0))
    strikes, keys = [], {}
    for pitch in (60, 61, 62):
        ticks = sorted(random.choice(np.arange(100), 12, replace=False).tolist())
        keys[pitch] = list(zip(ticks[::2], ticks[1::2], strict=True))
        strikes += [(tick, 0, pitch, on) for pair in keys[pitch] for tick, on in zip(pair, (1, 0), strict=True)]
    expected = []
    for pitch, pressed in keys.items():
        starts = {down for down, _ in pressed}
        for down, up in pressed:
            tick = down + 1
            while tick not in starts and (tick < up or [v for t, _, v in pedals if t <= tick][-1:] > [63]):
                tick += 1
            expected.append((down, tick, pitch, 70))
    sounds = rows(with_sustain(pedal_file(tmp_path, strikes, pedals)))
    assert [(round(10 * a), round(10 * b), *rest) for a, b, *rest in sounds] == sorted(expected)


@pytest.mark.parametrize("seed", range(10))
def test_without_overlaps_keeps_what_sounds_and_every_strike(seed: int) -> None:
    random = np.random.default_rng(seed)
    start = random.integers(0, 50, 60).astype(float)
    notes = Notes.of(start, start + random.integers(1, 9, 60), random.integers(60, 63, 60), random.integers(1, 128, 60))
    clean = without_overlaps(notes)

    def sounding(some: Notes) -> set[tuple[int, int]]:
        return {(t, p) for a, b, p, _ in rows(some) for t in range(int(a), int(b))}

    struck = {(start, pitch) for start, _, pitch, _ in rows(notes)}
    assert {(start, pitch) for start, _, pitch, _ in rows(clean)} == struck and len(clean) == len(struck)
    assert sum(b - a for a, b, _, _ in rows(clean)) == len(sounding(clean))  # no moment twice
    assert sounding(clean) <= sounding(notes)
