"""Collections of pieces to train on: chorales in JSON, a MAESTRO folder, any folder of MIDI files; split by piece.

A folder without official splits is split 8 : 1 : 1 by the hash of each file's name, so that a piece stays in its part
when other files are added or removed. Copies of a piece, whatever their files are called, are one piece.
"""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from attn.apps.music.corpus import Piece
from attn.apps.music.styles import AnyStyle, Chorale, Piano
from attn.core.errors import InputError, TrainingError, UsageError
from attn.core.files import legible
from attn.data_adapters.midi.chorales import read_jsb
from attn.data_adapters.midi.token_cache import MIDI_SUFFIXES, tokenise
from attn.data_adapters.paths import expand_inputs

PARTS = ("train", "validation", "test")
TEMPOS = (1.0, 0.95, 0.975, 1.025, 1.05)  # the stretches of the Music Transformer's public code
NAMES = {"valid": "validation"}


@dataclass(frozen=True)
class Collection:
    """Pieces by part.

    failed: for each file that could not be read the reason. copies: for each piece that is left out the one with the
    same tokens.
    """

    train: list[Piece]
    validation: list[Piece]
    test: list[Piece]
    fingerprint: dict[str, Any]
    failed: dict[str, str] = field(default_factory=dict)
    copies: dict[str, str] = field(default_factory=dict)

    def part(self, name: str) -> list[Piece]:
        """The pieces of the part `train`, `validation` or `test`, or of all three (`all`)."""
        return [*self.train, *self.validation, *self.test] if name == "all" else list(getattr(self, name))


def open_collection(source: Path, style: AnyStyle, cache: Path, *, stretched: bool = False) -> Collection:
    """The pieces of `source`; the folder `cache` keeps the events of performances for the next time.

    stretched: each performance is there at five tempos, for training. Raises InputError if no file can be read.
    """
    if source.suffix.lower() == ".json":
        if isinstance(style, Piano):
            raise InputError("is grid music", where=source, hint="use --style chorale")
        return _from_grids(source, style)
    if isinstance(style, Chorale):
        return _from_midi_grids(source, style)
    tokens = tokenise(source, style.vocabulary, cache)
    parts: dict[str, list[Piece]] = {name: [] for name in PARTS}
    for row in tokens.pieces:
        name = legible(row.path)
        if row.error is None:
            ids = np.asarray(tokens.events[row.start : row.stop], np.int16)
            tempos = _stretched(ids, style) if stretched else (ids,)
            part = _official(row.split, source) if row.split else _part_of(name)
            parts[part].append(Piece(name, tempos))
    failed = {legible(row.path): str(row.error) for row in tokens.failed}
    return _collection(source, parts, failed, official=any(row.split for row in tokens.pieces))


def token_folder() -> Path:
    """The default folder for the events of performances, in the user's cache (XDG Base Directory Specification).

    Raises UsageError for an account without a home.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():
        try:
            base = Path.home() / ".cache"
        except RuntimeError as error:
            hint = "give --cache, or set XDG_CACHE_HOME"
            raise UsageError("this account has no home folder to keep tokens in", hint=hint) from error
    return base / "attn" / "tokens"


def require_training(collection: Collection, source: Path) -> None:
    """Raise TrainingError unless there are pieces for training and for validation."""
    for name in PARTS[:2]:
        if not collection.part(name):
            raise TrainingError(
                f"has no {name} piece among {len(collection.part('all'))} readable ones",
                where=source,
                hint="give more files: three or more are split into parts",
            )


def _from_grids(source: Path, style: Chorale) -> Collection:
    parts: dict[str, list[Piece]] = {name: [] for name in PARTS}
    for split, grids in read_jsb(source).items():
        name = _official(split, source)
        for number, grid in enumerate(grids):
            where = f"{source.name}, {split}, piece {number}"
            parts[name].append(Piece(f"{split} {number}", (style.encode(grid, where).astype(np.int16),)))
    return _collection(source, parts, {}, official=True)


def _from_midi_grids(source: Path, style: Chorale) -> Collection:
    parts: dict[str, list[Piece]] = {name: [] for name in PARTS}
    failed = {}
    for path in expand_inputs([source], MIDI_SUFFIXES):
        name = legible(str(path.relative_to(source)) if path.is_relative_to(source) else path.name)
        try:
            parts[_part_of(name)].append(Piece(name, (style.read(path).astype(np.int16),)))
        except InputError as error:
            failed[name] = str(error)
    return _collection(source, parts, failed, official=False)


def _collection(source: Path, parts: dict[str, list[Piece]], failed: dict[str, str], *, official: bool) -> Collection:
    copies = _without_copies(parts)
    if not official:
        _fill_empty(parts)
    pieces = [piece for name in PARTS for piece in parts[name]]
    if not pieces:
        raise InputError("has no piece that can be read", where=source, hint="`attn music inspect` says why")
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece.name.encode() + piece.ids[0].tobytes())
    fingerprint = {
        "source": source.name,
        "sha256": digest.hexdigest(),
        "pieces": {name: len(parts[name]) for name in PARTS},
        "tokens": {name: sum(len(piece.ids[0]) for piece in parts[name]) for name in PARTS},
        "unreadable": len(failed),
    }
    if copies:
        fingerprint["copies"] = len(copies)
    return Collection(parts["train"], parts["validation"], parts["test"], fingerprint, failed, copies)


def _without_copies(parts: dict[str, list[Piece]]) -> dict[str, str]:
    """Leave one of the pieces with the same tokens, in training if one of them is there; see `Collection.copies`.

    So a piece of the training never becomes an unseen one when a copy is added.
    """
    kept: dict[bytes, str] = {}
    copies = {}
    for name in PARTS:
        pieces, parts[name] = parts[name], []
        for piece in pieces:
            content = hashlib.sha256(piece.ids[0].tobytes()).digest()
            if content in kept:
                copies[piece.name] = kept[content]
            else:
                kept[content] = piece.name
                parts[name].append(piece)
    return copies


def _official(split: str, source: Path) -> str:
    name = NAMES.get(split, split)
    if name not in PARTS:
        raise InputError(f"has a split {split!r}", where=source, hint="it may have train, validation and test")
    return name


def _fill_empty(parts: dict[str, list[Piece]]) -> None:
    """Fill empty parts of a small folder: the piece with the lowest hash is for validation, the next one for test."""
    pieces = sorted((piece for name in PARTS for piece in parts[name]), key=lambda piece: _share_of(piece.name))
    if len(pieces) < 3 or all(parts.values()):
        return
    parts["validation"], parts["test"], parts["train"] = pieces[:1], pieces[1:2], pieces[2:]


def _part_of(name: str) -> str:
    share = _share_of(name)
    return "validation" if share < 0.1 else "test" if share < 0.2 else "train"


def _share_of(name: str) -> float:
    """A number in 0..1 that only the name decides."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big") / 2**48


def _stretched(ids: np.ndarray, style: Piano) -> tuple[np.ndarray, ...]:
    notes = style.notes(ids)
    others = (style.vocabulary.encode(notes.stretched(tempo)).astype(np.int16) for tempo in TEMPOS[1:])
    return (ids, *others)
