"""Pieces of an earlier run: what is kept of them, and what is made anew."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pretty_midi
import pytest
from music_fixtures import performance, tiny_generator

from attn.apps.music.cli_written import Written
from attn.apps.music.sound import Sound
from attn.apps.music.styles import Piano
from attn.core.errors import UsageError


def test_what_is_asked_for_plays_the_pieces_that_are_kept_too(tmp_path: Path) -> None:
    """Where there is no FluidSynth, the refusal shows that it was to play."""
    pianist, asked = tiny_generator(Piano()), {"candidates": None}
    first = Written(tmp_path / "p.mid", 1, 4, Sound(), score=False, instrument=None, resume=False, as_json=True)
    first.write(lambda **few: pianist.compose(performance(0, 8), seconds=0.2, **few), asked, [])
    sound, notes = (tmp_path / "p.wav").read_bytes(), (tmp_path / "p.mid").read_bytes()

    def compose(**few: object) -> None:
        raise AssertionError("the piece is kept")

    for left in (b"of another soundfont", None):
        (tmp_path / "p.wav").unlink() if left is None else (tmp_path / "p.wav").write_bytes(left)
        replace(first, resume=True).write(compose, asked, [])
        assert (tmp_path / "p.wav").read_bytes() == sound
    font = Path(pretty_midi.__file__).parent / "TimGM6mb.sf2"
    again = replace(first, resume=True, sound=Sound(soundfont=font), instrument=None)
    if find_spec("fluidsynth") is None:
        with pytest.raises(UsageError, match="played by FluidSynth, which is not installed"):
            again.write(compose, asked, [])
    else:
        (tmp_path / "p.wav").write_bytes(b"")
        again.write(compose, asked, [])
        assert (tmp_path / "p.wav").stat().st_size > 1000
    assert (tmp_path / "p.mid").read_bytes() == notes


def test_music_that_is_too_long_to_play_is_refused_before_it_is_written(tmp_path: Path) -> None:
    pianist, asked = tiny_generator(Piano()), {"candidates": None}
    long = Written(tmp_path / "p.mid", 1, 4, Sound(), score=False, instrument=None, resume=False, as_json=True)
    with pytest.raises(UsageError, match="s of music are too long to render"):
        long.write(lambda **few: pianist.compose(performance(0, 8), seconds=600, **few), asked, [])
    assert not list(tmp_path.iterdir())
