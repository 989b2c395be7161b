"""`attn music generate` and `accompany`: their options, the refusals before torch is loaded, the writing."""

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attn import console
from attn.core.errors import InputError, UsageError
from attn.core.files import require_free, require_unread
from attn.options import AsJson, Device, Model, Seed, Strict, Weights, count, no_effect, number

if TYPE_CHECKING:
    from attn.apps.music.compose import Composing
    from attn.apps.music.decode import Sampling
    from attn.apps.music.predict import MusicGenerator

DEFAULT_STYLE = "piano"
Style = Annotated[
    str | None, typer.Option(help="piano (performances) or chorale (four voices on a grid); piano when not given.")
]
Seconds = Annotated[float | None, number("Length of the music in seconds.", least=0.01, most=3600)]
Samples = Annotated[int, count("Pieces to write.", most=1000)]
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


def generate(
    motif: Annotated[
        Path | None, typer.Option(help="MIDI file to continue; begins from nothing when not given.")
    ] = None,
    motif_seconds: Annotated[
        float | None, number("Use only this many seconds from the beginning of the motif.", least=0.01, most=3600)
    ] = None,
    track: Track = None,
    channel: Channel = None,
    voices: Annotated[
        str | None, typer.Option(help="The voices that a chorale's motif gives, as in soprano,bass.")
    ] = None,
    seconds: Seconds = None,
    bars: Annotated[int | None, count("Length of the new music in bars of the motif.", most=1000)] = None,
    end: Annotated[bool, typer.Option("--end", help="Close on the tonic of the motif.")] = False,
    style: Style = None,
    model: Model = None,
    transpose: Transpose = 0,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    strict: Strict = False,
    seed: Seed = 0,
    samples: Samples = 1,
    weights: Weights = "float32",
    device: Device = None,
    out: OutMidi = Path("piece.mid"),
    wav: Wav = False,
    as_json: AsJson = False,
) -> None:
    """Continue a motif, or begin from nothing: MIDI, a piano roll with the motif marked, and sound on request.

    A piano piece gets 30 new seconds and a chorale 8 new bars unless --seconds or --bars says otherwise. The motif
    keeps its tempo, metre and notes.
    """
    if motif is None:
        given = {"motif_seconds": motif_seconds, "track": track, "channel": channel, "voices": voices}
        no_effect("without --motif", transpose=transpose, end=end or None, **given)
    prepare(motif, out, samples, wav, temperature, top_k)
    generator = load(model, style, weights=weights, device=device)
    if generator.style.voices == 1:
        no_effect("on a piano piece, which has no voices", strict=strict or None)
    composing = generator.compose(
        motif,
        seconds=seconds,
        bars=bars,
        motif_seconds=motif_seconds,
        track=track,
        channel=channel,
        voices=None if voices is None else tuple(voice.strip().lower() for voice in voices.split(",")),
        end=end,
        transpose=transpose,
        samples=samples,
        sampling=sampling_of(generator, temperature, top_k, top_p, strict),
        seed=seed,
    )
    write(composing, out, wav=wav, as_json=as_json)


def accompany(
    melody: Annotated[Path, typer.Argument(help="MIDI file; of several tracks the one with the melody is found.")],
    track: Track = None,
    channel: Channel = None,
    model: Model = None,
    transpose: Transpose = 0,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    strict: Strict = False,
    seed: Seed = 0,
    samples: Samples = 1,
    weights: Weights = "float32",
    device: Device = None,
    out: OutMidi = Path("accompanied.mid"),
    wav: Wav = False,
    as_json: AsJson = False,
) -> None:
    """Write alto, tenor and bass to a melody, which keeps its notes, tempo and metre."""
    prepare(melody, out, samples, wav, temperature, top_k)
    generator = load(model, None, "accompany", weights=weights, device=device)
    composing = generator.compose_accompaniment(
        melody,
        track=track,
        channel=channel,
        transpose=transpose,
        samples=samples,
        sampling=sampling_of(generator, temperature, top_k, top_p, strict),
        seed=seed,
    )
    write(composing, out, wav=wav, as_json=as_json)


def load(
    model: str | None,
    style: str | None,
    otherwise: str = DEFAULT_STYLE,
    *,
    weights: str = "float32",
    device: str | None = None,
) -> "MusicGenerator":
    """The model, or the bundled one of a style, which is `otherwise` if no style is given."""
    from attn.apps.music.predict import MusicGenerator
    from attn.apps.music.styles import style_named

    if model is not None:
        no_effect("with --model, which has its style", style=style)
    if style is not None:
        style_named(style)
    if weights not in ("float32", "int8"):
        raise UsageError(f"no weights of type {weights!r}", hint="there are float32 and int8")
    return MusicGenerator.load(model, bundled=style or otherwise, int8=weights == "int8", device=device)


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
