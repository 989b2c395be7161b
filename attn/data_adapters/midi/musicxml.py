"""Scores as MusicXML, read and written by music21 where it is installed (`pip install attn[score]`).

A score becomes a MIDI file as music21 plays it, with repeats unfolded. A MIDI file becomes a score with what MIDI
knows: notes on a grid of sixteenths and triplets, tempo, metre, and names of parts.
"""

import tempfile
import warnings
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from attn.core.errors import InputError, UsageError
from attn.core.files import MADE_BY, replacing
from attn.data_adapters.boundary import boundary
from attn.data_adapters.midi.file import MidiFile, read_midi

SCORE_SUFFIXES = (".musicxml", ".mxl", ".xml")
MOST_BYTES = 32 << 20


def require_music21(where: Path) -> None:
    """Raise UsageError for a score where music21 is missing."""
    if where.suffix.lower() in SCORE_SUFFIXES and find_spec("music21") is None:
        raise UsageError("is a MusicXML score", where=where, hint="pip install attn[score], which brings music21")


def read_score(path: Path) -> MidiFile:
    """A score as if it were a MIDI file.

    Raises InputError for a file that cannot be read, UsageError without music21.
    """
    require_music21(path)
    if not path.is_file():
        raise InputError("there is no such file", where=path)
    if (size := path.stat().st_size) > MOST_BYTES:
        raise InputError(f"has {size:,} bytes, more than {MOST_BYTES:,}", where=path)
    if zipfile.is_zipfile(path):
        with boundary(path, "is not a readable MusicXML score"), zipfile.ZipFile(path) as packed:
            size = sum(member.file_size for member in packed.infolist())
        if size > MOST_BYTES:
            raise InputError(f"unpacks to {size:,} bytes, more than {MOST_BYTES:,}", where=path)
    with tempfile.TemporaryDirectory() as folder:
        midi = Path(folder) / "score.mid"
        with boundary(path, "is not a readable MusicXML score"):
            _parsed(path, "musicxml").write("midi", fp=midi)
        return read_midi(midi)


def write_score(midi: Path, path: Path) -> None:
    """Write the MIDI file `midi` as the score `path`, which appears whole. Raises what `read_score` does."""
    require_music21(path)
    with replacing(path) as part, tempfile.TemporaryDirectory() as folder:
        with boundary(midi, "cannot be written as MusicXML"):
            written = _parsed(midi, "midi").write("musicxml", fp=Path(folder) / "score.musicxml")
        content = Path(written).read_bytes()
        part.write_bytes(content.replace(b"?>", f"?>\n<!-- {MADE_BY} -->".encode(), 1))


def _parsed(path: Path, kind: str) -> Any:
    """The music21 score of a file. Nothing is kept: its cache would be pickles."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it imports, and about MIDI files
        from music21 import converter

        return converter.parse(path, format=kind, forceSource=True, storePickle=False)
