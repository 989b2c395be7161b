"""Notes as sound: FluidSynth with a soundfont, pretty_midi's own unless one is given, else a synthesised string.

ffmpeg makes other files than WAV of it.

Shapes: S samples.
"""

import os
import struct
import subprocess
import tempfile
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pretty_midi

from attn.core.errors import InputError, UsageError
from attn.core.files import MADE_BY, replacing
from attn.data_adapters.midi.notes import Notes

RATE = 44100  # samples per second
LONGEST = 600.0  # seconds; rendering ten minutes takes less than a gigabyte
PEAK = 0.89  # -1 dB below full scale
AUDIBLE = 8.0  # seconds after which a struck string has died away
PARTIALS, BRIGHTNESS = 8, 0.6  # amplitude of a partial as a share of the next lower one's
DECAY = 0.9  # per second and partial: high partials fade first
DITHER = 4 / 32768  # FluidSynth's noise, where nothing plays
ATTACK = 0.004  # seconds; a shorter attack would click


@dataclass(frozen=True)
class Sound:
    """suffix: .wav, or one that ffmpeg knows. soundfont: what FluidSynth plays; None for pretty_midi's own."""

    suffix: str = ".wav"
    soundfont: Path | None = None

    @staticmethod
    def require_playable(seconds: float) -> None:
        """Raise UsageError for more than ten minutes, before the music is written."""
        if seconds > LONGEST:
            what = f"{seconds:.0f} s of music are too long to render, {LONGEST:.0f} s are the most"
            raise UsageError(what, hint="leave out the sound, or write less")


def render(notes: Notes, path: Path, *, program: int = 0, soundfont: Path | None = None) -> str:
    """Write `notes` as a mono 16-bit WAV of 44.1 kHz; returns what made the sound, `fluidsynth` or `synthesis`.

    A path that does not end in .wav gets what ffmpeg makes of it. program: the General MIDI instrument, 0..127; the
    synthesis has one instrument, a struck string. The loudest sample is 1 dB below full scale. Raises InputError if
    there are no notes, for more than ten minutes, and for a soundfont that is silent; UsageError for a soundfont
    without FluidSynth, and where ffmpeg is missing or fails.
    """
    if path.suffix.lower() == ".wav":
        with replacing(path) as part:
            return _render_wav(notes, part, program, soundfont)
    with tempfile.TemporaryDirectory() as folder, replacing(path) as part:
        maker = _render_wav(notes, Path(folder) / "sound.wav", program, soundfont)
        _convert(Path(folder) / "sound.wav", part)
    return maker


def _convert(path_wav: Path, path: Path) -> None:
    """Have ffmpeg write the sound in the format of the name, with MADE_BY as a comment; the same bytes every time."""
    how = ["-nostdin", "-loglevel", "error", "-y", "-i", str(path_wav), "-metadata", f"comment={MADE_BY}", "-bitexact"]
    try:
        # Without "file:" ffmpeg takes what stands before a colon in a name for a protocol.
        subprocess.run(["ffmpeg", *how, f"file:{path}"], check=True, capture_output=True)
    except FileNotFoundError as error:
        raise UsageError("ffmpeg is not installed", where=path, hint="write a .wav") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise UsageError(f"ffmpeg cannot write {path.suffix} ({' '.join(said):.200})", hint="write a .wav") from error


def _render_wav(notes: Notes, path_wav: Path, program: int, soundfont: Path | None) -> str:
    if not len(notes):
        raise InputError("no notes to play")
    if notes.seconds > LONGEST:
        raise InputError(f"{notes.seconds:.0f} s of music are too long to render, {LONGEST:.0f} s are the most")
    midi = _pretty(notes, program)
    try:
        played = None if soundfont is None else str(soundfont)
        sound_s, maker = midi.fluidsynth(fs=RATE, synthesizer=played, normalize=False), "fluidsynth"
    except ImportError as error:
        if soundfont is not None:
            raise UsageError("a SoundFont is played by FluidSynth, which is not installed", where=soundfont) from error
        sound_s, maker = midi.synthesize(fs=RATE, wave=struck_string, normalize=False), "synthesis"
    if soundfont is not None and np.abs(sound_s).max(initial=0) < DITHER:
        raise InputError("plays none of the notes", where=soundfont, hint="is it a SoundFont with that instrument?")
    # Notes shorter than a sample give silence, whose peak is 0.
    scale = PEAK * 32767 / max(float(np.abs(sound_s).max(initial=0)), 1e-12)
    with wave.open(str(path_wav), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((sound_s * scale).round().astype("<i2").tobytes())
    _sign(path_wav)
    return maker


def struck_string(phase_s: np.ndarray) -> np.ndarray:
    """The wave of one note from its onset: harmonic partials, of which higher ones fade faster.

    phase_s: (S,) the phase in radians at each sample, as pretty_midi gives it. pretty_midi fades out the last tenth of
    a second.
    """
    if len(phase_s) < 2:
        return np.zeros_like(phase_s)
    time_s = np.arange(len(phase_s)) / RATE
    fading_s = BRIGHTNESS * np.exp(-DECAY * time_s)
    rise_s = np.minimum(time_s / ATTACK, 1)
    # Partials by recurrence: sin(k x) = 2 cos(x) sin((k - 1) x) - sin((k - 2) x). Above half the rate they would alias.
    audible = min(PARTIALS, int(np.pi / (phase_s[1] - phase_s[0])))
    double_s, below_s, partial_s = 2 * np.cos(phase_s), np.zeros_like(phase_s), np.sin(phase_s)
    wave_s, loud_s = np.zeros_like(phase_s), rise_s
    for _ in range(audible):
        wave_s += loud_s * partial_s
        loud_s = loud_s * fading_s
        below_s, partial_s = partial_s, double_s * partial_s - below_s
    return wave_s


def _sign(path_wav: Path) -> None:
    """Add a list of information (RIFF, 1991: chunk LIST, form INFO) in which ISFT, the software, is MADE_BY."""
    text = MADE_BY.encode() + bytes(2 - len(MADE_BY) % 2)  # ends in a zero; its length is even
    chunk = b"INFOISFT" + struct.pack("<I", len(text)) + text
    with path_wav.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        file.write(b"LIST" + struct.pack("<I", len(chunk)) + chunk)
        size = file.tell() - 8
        file.seek(4)
        file.write(struct.pack("<I", size))


def _pretty(notes: Notes, program: int) -> pretty_midi.PrettyMIDI:
    """The notes as pretty_midi's object. A note ends when it is no longer audible, which bounds the work per note."""
    midi = pretty_midi.PrettyMIDI()
    instrument = pretty_midi.Instrument(program)
    columns = (notes.velocity, notes.pitch, notes.start, np.minimum(notes.end, notes.start + AUDIBLE))
    instrument.notes = [pretty_midi.Note(*note) for note in zip(*(column.tolist() for column in columns), strict=True)]
    midi.instruments.append(instrument)
    return midi
