"""The token cache: what is in it, when it is found again, and what it does with bad files."""

from pathlib import Path

import numpy as np
import pytest
from midi_files import random_notes

from attn.core.errors import InputError
from attn.data_adapters.midi.events import EventVocabulary
from attn.data_adapters.midi.file import read_midi, with_sustain
from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.token_cache import tokenise
from attn.data_adapters.midi.writer import write_midi

PIANO = EventVocabulary()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pieces = tmp_path / "pieces"
    (pieces / "more").mkdir(parents=True)
    for number, name in enumerate(["b.mid", "a.midi", "more/c.MID"]):
        write_midi(pieces / name, random_notes(number, count=50))
    (pieces / "broken.mid").write_bytes(b"MThd")
    (pieces / "readme.txt").write_text("no music")
    return pieces


@pytest.mark.parametrize("workers", [1, 2])
def test_every_file_is_a_piece_with_its_events_or_an_error(folder: Path, tmp_path: Path, workers: int) -> None:
    tokens = tokenise(folder, PIANO, tmp_path / "cache", workers=workers)
    assert [piece.path for piece in tokens.pieces] == ["a.midi", "b.mid", "broken.mid", "more/c.MID"]
    good = [piece for piece in tokens.pieces if piece.error is None]
    for piece, events in zip(good, tokens.of(), strict=True):
        assert np.array_equal(events, PIANO.encode(with_sustain(read_midi(folder / piece.path))))
    assert [(piece.path, piece.error) for piece in tokens.failed] == [
        ("broken.mid", "ends inside its header, at byte 4")
    ]
    assert tokens.events.dtype == np.uint16 and not tokens.events.flags.writeable


def test_the_same_files_are_not_read_again(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = tokenise(folder, PIANO, cache)
    made = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    again = tokenise(folder, PIANO, cache)
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == made and len(made) == 2
    assert again.pieces == first.pieces and np.array_equal(again.events, first.events)


def test_another_content_name_or_vocabulary_is_another_cache(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    before = tokenise(folder, PIANO, cache)
    tokenise(folder, EventVocabulary(0, 127), cache)
    assert len(list(cache.iterdir())) == 4
    write_midi(folder / "b.mid", random_notes(9, count=50))
    changed = tokenise(folder, PIANO, cache)
    assert len(list(cache.iterdir())) == 6
    assert not np.array_equal(changed.of()[1], before.of()[1]) and np.array_equal(changed.of()[0], before.of()[0])
    (folder / "b.mid").rename(folder / "z.mid")
    assert [piece.path for piece in tokenise(folder, PIANO, cache).pieces][-1] == "z.mid"


@pytest.mark.parametrize("suffix", ["u16", "json"])
def test_a_damaged_cache_is_built_again(folder: Path, tmp_path: Path, suffix: str) -> None:
    cache = tmp_path / "cache"
    expected = np.array(tokenise(folder, PIANO, cache).events)
    (path,) = cache.glob(f"*.{suffix}")
    content = path.read_bytes()
    path.unlink()  # else the mapped file above would change
    path.write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:-1])
    assert np.array_equal(tokenise(folder, PIANO, cache).events, expected)


def test_maestro_names_files_and_splits(folder: Path, tmp_path: Path) -> None:
    table = folder / "maestro-v3.0.0.csv"
    table.write_text(
        "canonical_composer,split,midi_filename\nBach,test,b.mid\nBach,train,more/c.MID\nBach,train,lost.midi\n"
    )
    tokens = tokenise(folder, PIANO, tmp_path / "cache")
    assert [(piece.path, piece.split) for piece in tokens.pieces] == [
        ("b.mid", "test"),
        ("more/c.MID", "train"),
        ("lost.midi", "train"),
    ]
    assert len(tokens.of("test")) == 1 == len(tokens.of("train")) and len(tokens.of()) == 2
    assert tokens.failed[0].path == "lost.midi"
    for content in (
        "a,b\n1,2\n",
        "midi_filename,split\n",
        "midi_filename,split\nx.mid\n",
        "midi_filename,split\n\xff\n",
    ):
        table.write_text(content, encoding="latin1")
        with pytest.raises(InputError, match=r"MAESTRO's table|rows without"):
            tokenise(folder, PIANO, tmp_path / "cache")


def test_no_music_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no MIDI files"):
        tokenise(tmp_path, PIANO, tmp_path / "cache")
    with pytest.raises(InputError, match="not a folder"):
        tokenise(tmp_path / "none", PIANO, tmp_path / "cache")
    write_midi(tmp_path / "low.mid", Notes.of([0.0], [1.0], [5], [80]))
    tokens = tokenise(tmp_path, PIANO, tmp_path / "cache")
    assert tokens.failed[0].error == "has no notes from 21 to 108" and len(tokens.events) == 0


@pytest.mark.slow
@pytest.mark.real_data
def test_the_whole_of_maestro(data_dir: Path, tmp_path: Path) -> None:
    tokens = tokenise(data_dir / "music" / "maestro", PIANO, tmp_path)
    assert [len(tokens.of(split)) for split in ("train", "validation", "test")] == [400, 107, 148]
    assert not tokens.failed and len(tokens.events) > 11_000_000
