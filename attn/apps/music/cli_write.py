"""What `attn music generate` and `accompany` share: their options, the refusals before torch is loaded, the writing."""

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attn import console
from attn.core.errors import InputError
from attn.core.files import require_free, require_unread
from attn.options import count, no_effect, number

if TYPE_CHECKING:
    from attn.apps.music.compose import Composing
    from attn.apps.music.decode import Sampling
    from attn.apps.music.predict import MusicGenerator

Track = Annotated[str | None, typer.Option(help="Read only this track: its number from 1, or its name.")]
Channel = Annotated[int | None, count("Read only this channel.", most=16)]
Transpose = Annotated[int, count("Transpose the motif or melody by this many semitones.", least=-127, most=127)]
Temperature = Annotated[
    float | None,
    number("Below 1 safer, above 1 wilder; 0 takes the likeliest note. The style has its own.", least=0, most=100),
]
TopK = Annotated[int | None, count("Sample from this many of the likeliest tokens.")]
TopP = Annotated[
    float | None,
    number(
        "Sample from the likeliest tokens that together have this probability; the style has its own.",
        least=1e-6,
        most=1,
    ),
]
OutMidi = Annotated[Path, typer.Option("--out", help="The MIDI file to write; the piano roll (.png) goes beside it.")]
Wav = Annotated[bool, typer.Option("--wav", help="Write sound as well.")]


def prepare(
    read: Path | None, out: Path, samples: int, wav: bool, temperature: float | None, top_k: int | None
) -> None:
    """Refuse a missing file, an option without effect and a place that is taken, before torch takes seconds to load.

    What lies beside --out is not overwritten unless attn wrote it.
    """
    if read is not None and not read.exists():
        raise InputError("there is no such file", where=read)
    if temperature == 0:
        no_effect("with temperature 0", top_k=top_k)
    from attn.apps.music.pieces import files_of

    implied = files_of(out, samples, wav=wav)[1]
    for path in implied:
        require_unread(path, [] if read is None else [read])
    require_free(*implied)


def sampling_of(
    generator: "MusicGenerator", temperature: float | None, top_k: int | None, top_p: float | None, strict: bool
) -> "Sampling":
    """The model's own way of drawing with what was typed instead."""
    given: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    given |= {"rules": math.inf if strict else None}
    return replace(generator.sampling, **{name: value for name, value in given.items() if value is not None})


def write(composing: "Composing", out: Path, *, wav: bool, as_json: bool) -> None:
    """Compose with a bar that counts seconds of music, and write what there is, also after Ctrl-C."""
    from attn.apps.music.pieces import write_pieces

    interrupted, done = False, 0
    with console.progress(round(composing.total_seconds), "seconds of music") as advance:
        try:
            for now in composing:
                for _ in range(int(now) - done):
                    advance()
                done = max(done, int(now))
        except KeyboardInterrupt:  # what there is, is kept
            interrupted = True
    console.show_table(write_pieces(composing.pieces(), out, wav=wav), as_json=as_json)
    if interrupted:
        raise KeyboardInterrupt(f"interrupted after {done} seconds of music, which were written")
