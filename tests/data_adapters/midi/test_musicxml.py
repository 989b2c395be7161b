"""Scores, by music21 where it is installed; and what is said where it is not."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from midi_files import random_notes

from attn.core.errors import InputError, UsageError
from attn.data_adapters.midi import musicxml
from attn.data_adapters.midi.chorales import grid_to_voices
from attn.data_adapters.midi.file import read_midi
from attn.data_adapters.midi.metre import Metre
from attn.data_adapters.midi.music import read_music
from attn.data_adapters.midi.musicxml import require_music21, write_score
from attn.data_adapters.midi.tempo import TempoMap
from attn.data_adapters.midi.voices import notes_to_grid
from attn.data_adapters.midi.writer import write_midi

needs_music21 = pytest.mark.skipif(find_spec("music21") is None, reason="music21 is not installed")
GRID = np.repeat(
    [[72, 67, 60, 48], [74, 67, 62, 55], [71, 67, 62, 55], [72, 64, 60, 48], [76, 67, 60, 36], [72] * 4], 2, 0
)


def test_a_midi_file_is_read_as_ever(tmp_path: Path) -> None:
    write_midi(tmp_path / "a.mid", random_notes(3))
    assert len(read_music(tmp_path / "a.mid").notes) == len(read_midi(tmp_path / "a.mid").notes)


def test_without_music21_a_score_is_refused_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(musicxml, "find_spec", lambda name: None)
    for path in (tmp_path / "a.musicxml", tmp_path / "a.MXL"):
        with pytest.raises(UsageError, match=r"is a MusicXML score.*pip install attn\[score\]"):
            read_music(path)
    require_music21(tmp_path / "a.mid")


@needs_music21
@pytest.mark.slow
def test_a_score_gives_back_voices_tempo_and_metre(tmp_path: Path) -> None:
    tempo, metre = TempoMap.of_bpm(100.0), Metre(((0.0, 3, 4),))
    write_midi(tmp_path / "a.mid", grid_to_voices(GRID, bpm=100.0), tempo=tempo, metre=metre)
    write_score(tmp_path / "a.mid", tmp_path / "a.musicxml")
    again = read_music(tmp_path / "a.musicxml")
    assert [track.name for track in again.tracks] == ["Soprano", "Alto", "Tenor", "Bass"]
    assert again.tempo.bpm == pytest.approx([100.0], abs=0.01) and again.signatures[0][1:] == (3, 4)
    np.testing.assert_array_equal(notes_to_grid(again), GRID)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.mid", "a.musicxml"]


@needs_music21
@pytest.mark.slow
def test_what_is_no_score_is_one_sentence(tmp_path: Path) -> None:
    for content in (b"", b"<score-partwise>", b"no xml", bytes(range(256))):
        (tmp_path / "a.musicxml").write_bytes(content)
        with pytest.raises(InputError):
            read_music(tmp_path / "a.musicxml")
    with pytest.raises(InputError, match="no such file"):
        read_music(tmp_path / "none.xml")
