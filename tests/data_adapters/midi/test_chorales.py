"""Chorales: the JSB files, and grids to notes and MIDI and back."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from midi_files import rows

from attn.core.errors import InputError
from attn.data_adapters.midi.chorales import SILENCE, VOICES, grid_to_notes, grid_to_voices, read_jsb
from attn.data_adapters.midi.file import read_midi
from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.voices import notes_to_grid
from attn.data_adapters.midi.writer import write_midi


def trimmed(grid: np.ndarray) -> np.ndarray:
    return grid[: np.flatnonzero((grid != SILENCE).any(axis=1))[-1] + 1]


@pytest.mark.real_data
def test_the_files_of_the_author_hold_the_same_pieces(data_dir: Path) -> None:
    """One has the voices apart, the other the pitches of each step from high to low, in another order of pieces."""
    separated = read_jsb(data_dir / "music" / "jsb" / "Jsb16thSeparated.json")
    plain = read_jsb(data_dir / "music" / "jsb" / "jsb-chorales-16th.json")
    assert {split: len(pieces) for split, pieces in separated.items()} == {"train": 229, "valid": 76, "test": 77}
    for split, pieces in separated.items():
        one, other = ({np.sort(grid, axis=1).tobytes() for grid in some} for some in (pieces, plain[split]))
        assert one == other and len(one) == len(pieces)


@pytest.mark.real_data
@pytest.mark.parametrize("bpm", [80.0, 117.0])
def test_chorales_come_back_from_midi(data_dir: Path, tmp_path: Path, bpm: float) -> None:
    path = tmp_path / "chorale.mid"
    for grid in read_jsb(data_dir / "music" / "jsb" / "Jsb16thSeparated.json")["test"][:20]:
        write_midi(path, grid_to_voices(grid, bpm=bpm), bpm=bpm)
        assert np.array_equal(notes_to_grid(read_midi(path)), trimmed(grid))


def test_equal_neighbours_are_one_note() -> None:
    grid = np.array([[72, 60, 50, 40], [72, 62, -1, 40], [72, 62, 50, 41]])
    voices = grid_to_voices(grid, bpm=60)
    assert tuple(voices) == VOICES
    assert rows(voices["Soprano"]) == [(0.0, 0.75, 72, 80)]
    assert [row[:3] for row in rows(voices["Tenor"])] == [(0.0, 0.25, 50), (0.5, 0.75, 50)]
    assert len(grid_to_notes(grid)) == 1 + 2 + 2 + 2
    assert len(grid_to_notes(np.full((3, 4), SILENCE))) == 0 == len(grid_to_notes(np.zeros((0, 4), int)))


def test_four_tracks_are_the_voices_from_high_to_low(tmp_path: Path) -> None:
    voices = grid_to_voices(np.array([[60, 72, 64, 55], [60, 72, 50, 55]]))  # the tenor crosses the bass
    path = tmp_path / "voices.mid"
    write_midi(path, dict(reversed(voices.items())), bpm=80)
    assert notes_to_grid(read_midi(path)).tolist() == [[60, 72, 64, 55], [60, 72, 50, 55]]  # as they are called
    write_midi(path, {f"{n}": part for n, part in enumerate(reversed(voices.values()))}, bpm=80)
    assert notes_to_grid(read_midi(path)).tolist() == [[72, 60, 64, 55], [72, 60, 50, 55]]


@pytest.mark.parametrize(
    ("pitches", "row"),
    [
        ([60], [60, -1, -1, -1]),
        ([60, 72], [72, 60, -1, -1]),
        ([50, 60, 72], [72, 60, 50, -1]),
        ([40, 45, 50, 55, 60, 72], [72, 60, 55, 40]),
    ],
)
def test_one_track_fills_the_voices_from_the_top(tmp_path: Path, pitches: list[int], row: list[int]) -> None:
    many = len(pitches)
    write_midi(tmp_path / "one.mid", Notes.of([0.0] * many, [0.25] * many, pitches, [80] * many))
    assert notes_to_grid(read_midi(tmp_path / "one.mid")).tolist() == [row, row]


def test_a_short_note_keeps_its_sixteenth_and_silence_stays(tmp_path: Path) -> None:
    write_midi(tmp_path / "short.mid", Notes.of([0.25, 0.5], [0.26, 0.75], [60, 62], [80, 80]))
    column = notes_to_grid(read_midi(tmp_path / "short.mid"))[:, 0]
    assert column.tolist() == [-1, -1, 60, -1, 62, 62]


def test_too_long_or_empty_is_refused(tmp_path: Path) -> None:
    for notes, sentence in (
        (Notes.none(), "no notes"),
        (Notes.of([0.0], [9000.0], [60], [80]), "sixteenth notes, more"),
    ):
        write_midi(tmp_path / "odd.mid", notes)
        with pytest.raises(InputError, match=sentence):
            notes_to_grid(read_midi(tmp_path / "odd.mid"))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "not a JSON"),
        ("[" * 100_000, "not a JSON"),
        ("[]", "not a file of chorales"),
        ('{"train": 3}', "not a file of chorales"),
        ('{"train": [[]]}', "train, piece 0: is not a list"),
        ('{"train": [[[60, 60, 60, 60]], [[60], [60, 61, 62, 63, 64]]]}', "train, piece 1: step 1"),
        ('{"train": [[[128]]]}', "step 0"),
        ('{"train": [[[60.5]]]}', "step 0"),
        ('{"train": [[[NaN]]]}', "step 0"),
        ('{"train": [[["60"]]]}', "step 0"),
        ('{"train": [[[true]]]}', "step 0"),
    ],
)
def test_a_broken_file_is_one_sentence(tmp_path: Path, content: str, sentence: str) -> None:
    path = tmp_path / "jsb.json"
    path.write_text(content)
    with pytest.raises(InputError, match=sentence):
        read_jsb(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_jsb(tmp_path / "none.json")


@pytest.mark.parametrize("content", ["[]," * 400_000, "[[60.0]]," * 180_000, "[" + "[60,60.0]," * 160_000 + "[]],"])
def test_repeated_structures_take_little_time_and_memory(tmp_path: Path, content: str) -> None:
    path = tmp_path / "jsb.json"
    path.write_text(f'{{"train": [{content}[]]}}')
    start = time.process_time()
    with pytest.raises(InputError, match=r"is not a list of 1 to|more than the"):
        read_jsb(path)
    assert time.process_time() - start < 2


def test_whole_floats_and_short_steps_are_read(tmp_path: Path) -> None:
    path = tmp_path / "jsb.json"
    path.write_text(json.dumps({"test": [[[72.0, 60], []]]}))
    assert read_jsb(path)["test"][0].tolist() == [[72, 60, -1, -1], [-1, -1, -1, -1]]
