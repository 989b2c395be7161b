"""Recordings as samples: what libsndfile reads (`pip install attn[audio]`), and with ffmpeg installed what that reads.

Shapes: S samples.
"""

import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from math import gcd
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from attn.core.errors import InputError, UsageError
from attn.data_adapters.boundary import boundary

BY_LIBSNDFILE = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff", ".opus")
BY_FFMPEG = (".m4a", ".aac", ".wma", ".webm", ".mp4", ".3gp", ".amr", ".caf")  # as phones record
AUDIO_SUFFIXES = (*BY_LIBSNDFILE, *BY_FFMPEG)
LONGEST = 600.0  # seconds
RATES = (1_000, 192_000)  # samples a second
BLOCK = 1 << 16  # samples of all channels that are read at a time


def require_audio_reader(where: Path) -> None:
    """Raise UsageError where the file's reader is missing."""
    if find_spec("soundfile") is None:
        raise UsageError("is a recording", where=where, hint="pip install attn[audio], which brings soundfile")
    if where.suffix.lower() in BY_FFMPEG and shutil.which("ffmpeg") is None:
        hint = "install it, or give a .wav"
        raise UsageError(f"{where.suffix} is read by ffmpeg, which is not installed", where=where, hint=hint)


def read_audio(path: Path, rate: int) -> np.ndarray:
    """The mean of all channels (S,) float32, `rate` a second.

    Raises InputError for what is no sound, has samples that are no numbers, or lasts for more than LONGEST seconds.
    """
    require_audio_reader(path)
    if not path.is_file():
        raise InputError("there is no such file", where=path)
    if path.suffix.lower() not in BY_FFMPEG:
        return _read(path, path, rate)
    with tempfile.TemporaryDirectory() as folder:
        decoded = Path(folder) / "decoded.wav"
        # A second more than the longest: what is cut off there is refused as too long. Without "file:" ffmpeg takes
        # what stands before a colon in a name for a protocol.
        what = ["-i", f"file:{path.absolute()}", "-vn", "-t", str(LONGEST + 1), "-ac", "1", "-ar", str(rate)]
        command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-protocol_whitelist", "file", *what, str(decoded)]
        done = subprocess.run(command, capture_output=True)
        if done.returncode or not decoded.is_file():
            said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise InputError(f"is no sound that ffmpeg can read ({' '.join(said):.160})", where=path)
        return _read(decoded, path, rate)


def _read(path: Path, where: Path, rate: int) -> np.ndarray:
    # Of an open file, since soundfile takes no name that is not UTF-8.
    reading = boundary(where, "is no readable sound", hint="convert it to WAV")
    with reading, path.open("rb") as file, _opened(file, where) as sound:
        of_file = sound.samplerate
        if not RATES[0] <= of_file <= RATES[1]:
            what = f"says it has {of_file:,} samples a second, which is not within {RATES[0]:,} to {RATES[1]:,}"
            raise InputError(what, where=where)
        left, parts = int(LONGEST * of_file), [np.empty(0, np.float32)]
        for block in sound.blocks(BLOCK, dtype="float32", always_2d=True):
            left -= len(block)
            if left < 0:  # whatever the header says
                raise InputError(f"lasts for more than {LONGEST / 60:.0f} minutes", where=where, hint="cut it")
            parts.append(block.mean(axis=1))
    samples_s = np.concatenate(parts)
    if not np.isfinite(samples_s).all():
        raise InputError("has samples that are no numbers", where=where)
    if of_file == rate:
        return samples_s
    from scipy.signal import resample_poly

    common = gcd(rate, of_file)
    return np.asarray(resample_poly(samples_s, rate // common, of_file // common), np.float32)


def _opened(file: BinaryIO, where: Path) -> Any:
    """libsndfile's own reason without the name, which it does not know."""
    import soundfile

    try:
        return soundfile.SoundFile(file)
    except soundfile.LibsndfileError as error:
        what = f"is no readable sound ({error.error_string})"
        raise InputError(what, where=where, hint="convert it to WAV, or name it as what it is") from error
