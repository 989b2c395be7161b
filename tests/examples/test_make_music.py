"""The example MIDI files are what their script writes, and what it says of them."""

import importlib.util
from pathlib import Path

import numpy as np

from attn.data_adapters.midi.chorales import read_jsb
from attn.data_adapters.midi.file import read_midi
from attn.data_adapters.midi.writer import write_midi

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def script():
    spec = importlib.util.spec_from_file_location("make_music", EXAMPLES / "make_music.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_motif_is_what_the_script_writes(tmp_path: Path) -> None:
    made = script()
    write_midi(tmp_path / "motif.mid", made.motif(), bpm=60 / made.BEAT)
    write_midi(tmp_path / "melody.mid", made.melody(100), bpm=100)
    for name in ("motif.mid", "melody.mid"):
        assert (tmp_path / name).read_bytes() == (EXAMPLES / name).read_bytes()


def test_the_motif_lasts_eight_seconds() -> None:
    notes = read_midi(EXAMPLES / "motif.mid").notes
    assert 7.5 < notes.seconds < 8.5
    assert len(notes) > 20


def test_the_melody_is_one_line() -> None:
    notes = read_midi(EXAMPLES / "melody.mid").notes
    np.testing.assert_allclose(notes.start[1:], notes.end[:-1], atol=1e-3)
    assert set(notes.pitch % 12) == {2, 4, 6, 7, 9}


def test_the_chorales_are_what_the_script_draws() -> None:
    assert (EXAMPLES / "chorales.json").read_text(encoding="utf-8") == script().chorales()
    pieces = [grid for grids in read_jsb(EXAMPLES / "chorales.json").values() for grid in grids]
    assert len(pieces) == 56 and {grid.shape for grid in pieces} == {(64, 4)}
    assert all((np.diff(grid, axis=1) <= 0).all() for grid in pieces), "voices do not cross"
    assert len({grid.tobytes() for grid in pieces}) == 56
