"""Damaged MIDI files, chorales and token caches."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
from fuzz.mutate import fuzz, json_mutants, mutants

from attn.data_adapters.midi.chorales import grid_to_notes, read_jsb
from attn.data_adapters.midi.events import EventVocabulary
from attn.data_adapters.midi.file import read_midi, with_sustain
from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.token_cache import tokenise
from attn.data_adapters.midi.voices import notes_to_grid
from attn.data_adapters.midi.writer import write_midi


def written(**options: float) -> bytes:
    dice = np.random.default_rng(0)
    start = np.sort(dice.uniform(0, 8, 30))
    notes = Notes.of(start, start + dice.uniform(0.1, 1, 30), dice.integers(40, 80, 30), dice.integers(1, 127, 30))
    buffer = io.BytesIO()
    write_midi(buffer, {"right": notes, "left": notes.transposed(-12)}, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def played() -> bytes:
    """Running status, a pedal, tempo changes, a system-exclusive message, a drum, all in one track of type 0."""
    events = b"\0\xff\x51\x03\x07\xa1\x20\0\xb0\x40\x7f\0\x90\x3c\x40\x10\x40\x40\x10\x3c\0\0\x40\0"
    events += b"\0\xff\x58\x04\x03\x02\x18\x08"
    events += b"\0\xf0\x03\x01\x02\xf7\0\x99\x24\x40\x20\x89\x24\0\0\xff\x51\x03\x03\xd0\x90\0\xb0\x40\0\0\xe0\0\x40"
    events += b"\0\xc0\x05\0\x90\x30\x40\x60\x80\x30\0\0\xff\x2f\0"
    return b"MThd\0\0\0\x06\0\0\0\x01\0\x60MTrk" + len(events).to_bytes(4, "big") + events


def wrapped() -> bytes:
    inner = written(bpm=90)
    return b"RIFF" + (len(inner) + 12).to_bytes(4, "little") + b"RMIDdata" + len(inner).to_bytes(4, "little") + inner


def test_midi(tmp_path: Path, fuzz_count: int) -> None:
    path, vocabulary = tmp_path / "x.mid", EventVocabulary()

    def read(data: bytes) -> None:
        path.write_bytes(data)
        midi = read_midi(path)
        vocabulary.encode(with_sustain(midi))
        notes_to_grid(midi)

    outcomes = fuzz(read, mutants([written(), played(), wrapped()], fuzz_count, "midi"))
    assert outcomes["read"] and outcomes["InputError"]


CHORALES = {
    "train": [[[74, 70, 65, 58]] * 8 + [[75, 70], [], [74, 70, 65.0, -1]]] * 2,
    "test": [[[60, 55, 52, 48]] * 4],
}


def test_chorales(tmp_path: Path, fuzz_count: int) -> None:
    path = tmp_path / "x.json"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        for grids in read_jsb(path).values():
            for grid in grids:
                grid_to_notes(grid)

    half = fuzz_count // 2
    documents = (json.dumps(each).encode() for each in json_mutants(CHORALES, half, "chorales"))
    outcomes = fuzz(read, documents) + fuzz(read, mutants([json.dumps(CHORALES).encode()], half, "chorales"))
    assert outcomes["read"] and outcomes["InputError"]


def test_token_caches(tmp_path: Path, fuzz_count: int) -> None:
    """A damaged cache is built anew; it never gives other tokens, nor an error."""
    folder, cache, kept = tmp_path / "midi", tmp_path / "cache", tmp_path / "kept"
    folder.mkdir()
    (folder / "x.mid").write_bytes(played())
    (folder / "y.mid").write_bytes(b"MThd")
    vocabulary = EventVocabulary()
    good = tokenise(folder, vocabulary, cache)
    tokens = [piece.tolist() for piece in good.of()]
    shutil.copytree(cache, kept)
    index = next(kept.glob("*.json"))
    document = json.loads(index.read_bytes())

    def read(data: bytes) -> None:
        (cache / index.name).write_bytes(data)
        found = tokenise(folder, vocabulary, cache)
        assert [piece.tolist() for piece in found.of()] == tokens
        assert [piece.path for piece in found.failed] == ["y.mid"]

    part = fuzz_count // 2
    documents = (json.dumps(each).encode() for each in json_mutants(document, part, "tokens"))
    assert fuzz(read, documents) + fuzz(read, mutants([index.read_bytes()], part, "tokens")) == {"read": 2 * part}


def test_tables_of_maestro(tmp_path: Path, fuzz_count: int) -> None:
    (tmp_path / "2004").mkdir()
    (tmp_path / "2004/x.mid").write_bytes(played())
    table = b'canonical_composer,midi_filename,split\nBach,2004/x.mid,train\n"Bach, J.",2004/y.mid,test\n'

    def read(data: bytes) -> None:
        (tmp_path / "maestro.csv").write_bytes(data)
        tokenise(tmp_path, EventVocabulary(), tmp_path / "cache")

    outcomes = fuzz(read, mutants([table], fuzz_count // 2, "maestro"))
    assert outcomes["read"] and outcomes["InputError"]
