"""The options of `attn music generate` and `accompany` that say how pieces sound."""

import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from attn.core.errors import InputError, UsageError
from attn.options import no_effect

if TYPE_CHECKING:
    from attn.apps.music.sound import Sound

FORMATS = ("wav", "mp3", "ogg")


@dataclass(frozen=True)
class Sounds:
    """What is written beside the MIDI file, and what plays it."""

    wav: Annotated[bool, typer.Option("--wav", help="Write sound as well.")] = False
    sound: Annotated[
        str | None, typer.Option(help="Write sound as well: wav, or with ffmpeg installed mp3 or ogg.")
    ] = None
    soundfont: Annotated[
        Path | None, typer.Option(help="The SoundFont (.sf2) that plays; needs FluidSynth and pyfluidsynth.")
    ] = None

    def asked(self) -> "Sound | None":
        """How pieces are to sound, None for not at all.

        Raises UsageError for another format, for --soundfont without effect, and where FluidSynth or ffmpeg is missing;
        InputError for a file that is no SoundFont.
        """
        if self.wav and self.sound is not None:
            raise UsageError("the sound is asked for twice", hint="give --wav or --sound")
        kind = "wav" if self.wav else self.sound
        if kind is None:
            no_effect("without --wav or --sound", soundfont=self.soundfont)
            return None
        if kind not in FORMATS:
            raise UsageError(f"no sound {kind!r:.40}", hint=f"there are {', '.join(FORMATS)}")
        if kind != "wav" and shutil.which("ffmpeg") is None:
            raise UsageError(f"ffmpeg, which writes {kind}, is not installed", hint="install it, or take --sound wav")
        if self.soundfont is not None:
            _require_soundfont(self.soundfont)
        from attn.apps.music.sound import Sound

        return Sound(f".{kind}", self.soundfont)


def _require_soundfont(path: Path) -> None:
    if not path.is_file():
        raise InputError("there is no such file", where=path)
    with path.open("rb") as file:
        begin = file.read(12)
    if begin[:4] != b"RIFF" or begin[8:] != b"sfbk":
        raise InputError("is no SoundFont (.sf2)", where=path)
    if find_spec("fluidsynth") is None:
        hint = "install FluidSynth, and pip install pyfluidsynth"
        raise UsageError("a SoundFont is played by FluidSynth, which is not installed", hint=hint)
