"""`attn music generate` and `accompany`: their options, and the refusals before torch is loaded."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attn import console
from attn.apps.music.cli_decoding import Decoding
from attn.apps.music.cli_sound import Sounds
from attn.apps.music.cli_written import Written
from attn.core.errors import InputError, UsageError
from attn.core.files import require_free, require_unread
from attn.options import AsJson, Device, Model, Resume, Seed, Strict, Weights, count, grouped, no_effect, number

if TYPE_CHECKING:
    from attn.apps.music.decode import Sampling
    from attn.apps.music.predict import MusicGenerator
    from attn.apps.music.sound import Sound

DEFAULT_STYLE = "piano"
Style = Annotated[
    str | None,
    typer.Option(
        help="piano (performances), chorale (four voices on a grid); evaluate and export also take accompany."
    ),
]
Seconds = Annotated[float | None, number("Length of the music in seconds.", least=0.01, most=3600)]
Samples = Annotated[int, count("Pieces to write.", most=1000)]
Track = Annotated[str | None, typer.Option(help="Read only this track: its number from 1, or its name.")]
Channel = Annotated[int | None, count("Read only this channel.", most=16)]
Chords = Annotated[
    str | None,
    typer.Option(help='Chords for chorales and accompaniments: one a bar ("C G Am F"), or between lines ("C G | Am").'),
]
Candidates = Annotated[
    int | None,
    count(
        "Write so many candidates for each piece and keep the best; 1 unless given, to a melody 4, in a gap 16.",
        most=256,
    ),
]
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
Instrument = Annotated[
    str | None, typer.Option(help="Who plays: a number from 1 to 128 or a name of General MIDI, as Church Organ.")
]
Score = Annotated[
    bool, typer.Option("--musicxml", help="Write a score as well; needs music21 (pip install attn[score]).")
]


@grouped
def generate(
    motif: Annotated[
        Path | None, typer.Option(help="MIDI file, score or recording to continue; begins from nothing when not given.")
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
    end: Annotated[
        bool, typer.Option("--end", help="Close on the tonic of the motif, or of what was written without one.")
    ] = False,
    chords: Chords = None,
    fill: Annotated[
        str | None, typer.Option(help='Write these bars, or voices of a chorale, anew: "bars 5-8", "alto", "alto 5-8".')
    ] = None,
    between: Annotated[
        tuple[Path, Path] | None, typer.Option(help="Write --bars bars (8 if not given) between two files.")
    ] = None,
    density: Annotated[float | None, number("Notes a second that a piano is to play.", least=0.1, most=50)] = None,
    register: Annotated[
        str | None, typer.Option(help="Lowest and highest note that a piano is to play: C3-C6 (C4 is 60), or 48-84.")
    ] = None,
    candidates: Candidates = None,
    style: Style = None,
    model: Model = None,
    transpose: Transpose = 0,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    strict: Strict = False,
    decoding: Decoding = Decoding(),
    seed: Seed = 0,
    samples: Samples = 1,
    weights: Weights = "float32",
    device: Device = None,
    out: OutMidi = Path("piece.mid"),
    instrument: Instrument = None,
    sounds: Sounds = Sounds(),
    musicxml: Score = False,
    resume: Resume = False,
    as_json: AsJson = False,
) -> None:
    """Continue a motif, or begin from nothing: MIDI, a piano roll with the motif marked, and sound on request.

    A piano piece gets 30 new seconds and a chorale 8 new bars unless --seconds or --bars says otherwise. The motif
    keeps its tempo, metre and notes. Without --style, --voices and --chords take the chorale model; --fill and
    --between take it for four voices on a grid of sixteenths without a pedal, else the piano.
    """
    if between is not None:
        no_effect("with --between", motif=motif, fill=fill, motif_seconds=motif_seconds)
        motif, before = between
    else:
        before = None
    if motif is None:
        given = {"motif_seconds": motif_seconds, "track": track, "channel": channel, "voices": voices, "fill": fill}
        no_effect("without --motif", transpose=transpose, **given)
    decoding.refuse()
    from attn.apps.music.chords import pitches_of

    pitches = None if register is None else pitches_of(register)
    sound = sounds.asked()
    read = [motif, before, decoding.guide, decoding.policy]
    prepare(read, out, samples, sound, musicxml, temperature, top_k, instrument)
    pieces = [path for path in (motif, before) if path is not None]
    of_piano, of_voices = density is not None or pitches is not None, chords is not None or voices is not None
    otherwise = "chorale" if of_voices else DEFAULT_STYLE
    gap = fill is not None or before is not None
    if gap and not of_piano and not of_voices and style is None and model is None:
        from attn.apps.music.fill import Fill, style_of_gap

        otherwise = style_of_gap(pieces, None if fill is None else Fill.of(fill), track, channel)
        console.say(f"the {otherwise} model writes, which fits the notes; --style names another")
    generator = load(model, style, otherwise, weights=weights, device=device)
    if generator.style.voices == 1:
        no_effect("on a piano piece, which has no voices", strict=strict or None)
    from attn.apps.music.compose import FILL_CANDIDATES

    if candidates is None and (fill is not None or between is not None):
        candidates = FILL_CANDIDATES
    settings: dict[str, Any] = {
        "seconds": seconds,
        "bars": bars,
        "motif_seconds": motif_seconds,
        "track": track,
        "channel": channel,
        "voices": None if voices is None else tuple(voice.strip().lower() for voice in voices.split(",")),
        "end": end,
        "chords": chords,
        "fill": fill,
        "density": density,
        "pitches": pitches,
        "candidates": candidates,
        "transpose": transpose,
        "sampling": sampling_of(generator, temperature, top_k, top_p, strict),
    } | decoding.settings(generator)
    written = Written(out, samples, seed, sound, musicxml, instrument, resume, as_json)
    asked = settings | {"model": generator.record.model_dump_json(), "weights": weights}
    written.write(lambda **few: generator.compose(motif, before=before, **settings, **few), asked, [motif, before])


@grouped
def accompany(
    melody: Annotated[
        Path, typer.Argument(help="MIDI file, score or recording; of several tracks the one with the melody is found.")
    ],
    track: Track = None,
    channel: Channel = None,
    chords: Chords = None,
    candidates: Candidates = None,
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
    instrument: Instrument = None,
    sounds: Sounds = Sounds(),
    musicxml: Score = False,
    resume: Resume = False,
    as_json: AsJson = False,
) -> None:
    """Write alto, tenor and bass to a melody, which keeps its notes, tempo and metre."""
    sound = sounds.asked()
    prepare([melody], out, samples, sound, musicxml, temperature, top_k, instrument)
    generator = load(model, None, "accompany", weights=weights, device=device)
    sampling = sampling_of(generator, temperature, top_k, top_p, strict)
    if candidates is None and sampling.rules > 0 and sampling.temperature > 0:
        from attn.apps.music.predict import ACCOMPANY_CANDIDATES

        candidates = ACCOMPANY_CANDIDATES
    settings: dict[str, Any] = {
        "track": track,
        "channel": channel,
        "chords": chords,
        "candidates": candidates,
        "transpose": transpose,
        "sampling": sampling,
    }
    written = Written(out, samples, seed, sound, musicxml, instrument, resume, as_json)
    asked = settings | {"model": generator.record.model_dump_json(), "weights": weights}
    written.write(lambda **few: generator.compose_accompaniment(melody, **settings, **few), asked, [melody])


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
    if style not in (None, "accompany"):
        style_named(str(style))
    if weights not in ("float32", "int8"):
        raise UsageError(f"no weights of type {weights!r}", hint="there are float32 and int8")
    return MusicGenerator.load(model, bundled=style or otherwise, int8=weights == "int8", device=device)


def prepare(
    given: Sequence[Path | None],
    out: Path,
    samples: int,
    sound: "Sound | None",
    score: bool,
    temperature: float | None,
    top_k: int | None,
    instrument: str | None,
) -> None:
    """Refuse a missing file, an option without effect and a place that is taken, before torch takes seconds to load.

    What lies beside --out is not overwritten unless attn wrote it.
    """
    read = [path for path in given if path is not None]
    for path in read:
        if not path.exists():
            raise InputError("there is no such file", where=path)
    from attn.data_adapters.midi.music import require_reader

    for path in [*read, *([out.with_suffix(".musicxml")] if score else [])]:
        require_reader(path)
    if temperature == 0:
        no_effect("with temperature 0", top_k=top_k)
    from attn.apps.music.pieces import files_of, program_of

    if instrument is not None:
        program_of(instrument)
    implied = files_of(out, samples, sound=None if sound is None else sound.suffix, score=score)[1]
    for path in [out, *implied]:
        require_unread(path, read)
    require_free(*implied)


def sampling_of(
    generator: "MusicGenerator", temperature: float | None, top_k: int | None, top_p: float | None, strict: bool
) -> "Sampling":
    """The model's own way of drawing with what was typed instead."""
    given: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    given |= {"rules": math.inf if strict else None}
    return replace(generator.sampling, **{name: value for name, value in given.items() if value is not None})
