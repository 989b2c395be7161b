"""A folder of MIDI files as events on disk: read once in parallel, found again by content.

A cache is two files, named by the SHA-256 of the MIDI files, their names and splits, and the vocabulary: `KEY.u16`, the
events of all pieces one after another as little-endian uint16, and `KEY.json`, which says where each piece is. A file
that cannot be read is a piece with an error.

Shapes: L events of a piece.
"""

import csv
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from attn.core.errors import InputError
from attn.core.files import replacing
from attn.data_adapters.boundary import boundary
from attn.data_adapters.midi.events import EventVocabulary
from attn.data_adapters.midi.file import read_midi, with_sustain
from attn.data_adapters.midi.parser import MAX_BYTES
from attn.data_adapters.paths import below

MIDI_SUFFIXES = (".mid", ".midi", ".rmi", ".kar")
VERSION = 2  # of the layout and of what events a file gives; another number finds no older cache
FILES_PER_PROCESS = 64  # starting a process costs about as much as reading that many
DTYPE = np.dtype("<u2")


@dataclass(frozen=True)
class Piece:
    """One file: its path in the folder, its split (empty when the folder has none), and its events [start, stop).

    error: why the file has no events, or None.
    """

    path: str
    split: str
    start: int
    stop: int
    error: str | None


@dataclass(frozen=True, eq=False)
class Tokens:
    """Every piece of a folder. events: all of them, memory-mapped uint16, read-only."""

    pieces: tuple[Piece, ...]
    events: np.ndarray

    def of(self, split: str | None = None) -> list[np.ndarray]:
        """The (L,) events of each readable piece of a split, or of all; views, nothing is read yet."""
        return [
            self.events[piece.start : piece.stop]
            for piece in self.pieces
            if piece.error is None and split in (None, piece.split)
        ]

    @property
    def failed(self) -> tuple[Piece, ...]:
        """The pieces that have an error."""
        return tuple(piece for piece in self.pieces if piece.error is not None)


def tokenise(
    folder: str | Path, vocabulary: EventVocabulary, cache: str | Path, *, workers: int | None = None
) -> Tokens:
    """The events of every MIDI file in `folder` and below, pedal applied, from the folder `cache` or put there now.

    A `maestro*.csv` in the folder names the files and their official splits; without one there are no splits.
    workers: processes that read; None takes the processors, fewer for few files.
    InputError: no MIDI file in the folder, a broken CSV file, or a cache that cannot be written.
    """
    folder, cache = Path(folder), Path(cache)
    splits = _files(folder)
    key = _key(folder, splits, vocabulary)
    if (found := _open(cache, key)) is not None:
        return found
    try:
        cache.mkdir(parents=True, exist_ok=True)
        _build(folder, splits, vocabulary, cache, key, workers)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror or error})", where=cache) from error
    built = _open(cache, key)
    if built is None:
        raise InputError("was changed while it was written", where=cache, hint="try again")
    return built


def _files(folder: Path) -> dict[str, str]:
    """The split of each file, by its path in the folder."""
    if not folder.is_dir():
        raise InputError("is not a folder", where=folder)
    tables = sorted(folder.glob("maestro*.csv"))
    if tables:
        return _maestro(tables[-1])
    paths = (path for path in below(folder) if path.suffix.lower() in MIDI_SUFFIXES and path.is_file())
    splits = dict.fromkeys(sorted(path.relative_to(folder).as_posix() for path in paths), "")
    if not splits:
        raise InputError(f"has no MIDI files ({', '.join(MIDI_SUFFIXES)})", where=folder)
    return splits


def _maestro(table: Path) -> dict[str, str]:
    what = "is not MAESTRO's table of midi_filename and split"
    with boundary(table, what), table.open(encoding="utf-8", newline="") as file:
        splits = {row["midi_filename"]: row["split"] for row in csv.DictReader(file)}
    if not splits or None in splits or None in splits.values():
        raise InputError("has no rows, or rows without a file or split", where=table)
    return splits


def _key(folder: Path, splits: Mapping[str, str], vocabulary: EventVocabulary) -> str:
    contents = [(name, split, _digest(folder / name)) for name, split in splits.items()]
    described = json.dumps([VERSION, vocabulary.low, vocabulary.high, contents])
    return hashlib.sha256(described.encode()).hexdigest()[:32]


def _digest(path: Path) -> str:
    """SHA-256 of a file that may be read, else why not."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            return "not read"
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return str(error.strerror)


def _open(cache: Path, key: str) -> Tokens | None:
    """The cache of that key; None when it is not there or is damaged."""
    binary, index = cache / f"{key}.u16", cache / f"{key}.json"
    try:
        content = json.loads(index.read_bytes())
        if _seal(_digest(binary), content["pieces"]) != content["sha256"]:
            return None
        pieces = tuple(Piece(**row) for row in content["pieces"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    empty = binary.stat().st_size == 0  # which cannot be mapped
    return Tokens(pieces, np.zeros(0, DTYPE) if empty else np.memmap(binary, DTYPE, mode="r"))


def _build(
    folder: Path, splits: Mapping[str, str], vocabulary: EventVocabulary, cache: Path, key: str, workers: int | None
) -> None:
    pieces = []
    position = 0
    content = hashlib.sha256()
    with replacing(cache / f"{key}.json") as index, replacing(cache / f"{key}.u16") as binary:
        with binary.open("wb") as file:
            for (name, split), (events, error) in zip(
                splits.items(), _read_all(folder, splits, vocabulary, workers), strict=True
            ):
                content.update(events)
                file.write(events)
                pieces.append(Piece(name, split, position, position + len(events) // DTYPE.itemsize, error))
                position = pieces[-1].stop
        rows = [asdict(piece) for piece in pieces]
        index.write_text(json.dumps({"sha256": _seal(content.hexdigest(), rows), "pieces": rows}))


def _seal(events: str, rows: object) -> str:
    """SHA-256 of the events' own and of where the pieces are, so that a change of either file is noticed."""
    return hashlib.sha256(json.dumps([events, rows]).encode()).hexdigest()


def _read_all(
    folder: Path, names: Iterable[str], vocabulary: EventVocabulary, workers: int | None
) -> Iterator[tuple[bytes, str | None]]:
    jobs = [(folder / name, vocabulary) for name in names]
    processes = workers or min(os.cpu_count() or 1, len(jobs) // FILES_PER_PROCESS)
    if processes < 2:
        yield from map(_read, jobs)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:  # a fork would copy torch's threads
        yield from pool.map(_read, jobs, chunksize=8)


def _read(job: tuple[Path, EventVocabulary]) -> tuple[bytes, str | None]:
    path, vocabulary = job
    try:
        events = vocabulary.encode(with_sustain(read_midi(path)))
    except InputError as error:
        return b"", str(InputError(error.what, hint=error.hint))  # without the path, as the folder may move
    if not len(events):
        return b"", f"has no notes from {vocabulary.low} to {vocabulary.high}"
    return events.astype(DTYPE).tobytes(), None
