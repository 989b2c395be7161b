"""What music may come in as: a MIDI file, a score, a recording. Each is read as a MIDI file."""

from pathlib import Path

from attn.data_adapters.midi.audio import AUDIO_SUFFIXES
from attn.data_adapters.midi.file import MidiFile, read_midi
from attn.data_adapters.midi.musicxml import SCORE_SUFFIXES, read_score, require_music21


def read_music(path: str | Path) -> MidiFile:
    """A MIDI file, or a score or a recording as if it were one; by the ending of its name.

    Raises InputError for a file that cannot be read, UsageError where what reads it is not installed.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind in SCORE_SUFFIXES:
        return read_score(path)
    if kind in AUDIO_SUFFIXES:
        from attn.data_adapters.midi.transcription import read_recording

        return read_recording(path)
    return read_midi(path)


def require_reader(where: Path) -> None:
    """Raise UsageError for a score or a recording where what reads it is not installed."""
    kind = where.suffix.lower()
    if kind in SCORE_SUFFIXES:
        require_music21(where)
    if kind in AUDIO_SUFFIXES:
        from attn.data_adapters.midi.transcription import require_transcriber

        require_transcriber(where)
