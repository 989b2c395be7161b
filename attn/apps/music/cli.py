"""The `attn music` commands: they read options, call the other rooms and show what comes back."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attn import console
from attn.core.errors import UsageError
from attn.core.files import claim
from attn.options import AsJson, Model, OutFolder, OutTable, Run, grouped, resumable

if TYPE_CHECKING:
    from attn.apps.music.compose import Composition
    from attn.apps.music.predict import MusicGenerator

app = typer.Typer(no_args_is_help=True, help="Music: MIDI motifs continued, melodies accompanied.")

Style = Annotated[str, typer.Option(help="piano: performances; chorale: four voices on a grid.")]
Temperature = Annotated[float, typer.Option(help="Below 1 safer, above 1 wilder; 0 takes the likeliest note.")]
TopK = Annotated[int | None, typer.Option(help="Draw from the so many likeliest tokens.")]
TopP = Annotated[float, typer.Option(help="Draw from the likeliest tokens that together have this probability.")]
Samples = Annotated[int, typer.Option(min=1, help="How many pieces; files are numbered.")]
OutMidi = Annotated[Path, typer.Option("--out", help="The MIDI file to write; the piano roll (.png) goes beside it.")]
Wav = Annotated[bool, typer.Option("--wav", help="Write sound as well.")]
Transpose = Annotated[int, typer.Option(help="Move what is given by so many semitones.")]
Source = Annotated[Path, typer.Argument(help="A folder of MIDI files (MAESTRO's too), or a JSON file of chorales.")]
Int8 = Annotated[bool, typer.Option("--int8", help="Weights in eight bits: faster token by token, a little rounded.")]


@app.command()
def generate(
    motif: Annotated[Path | None, typer.Option(help="MIDI file to go on from; none starts from nothing.")] = None,
    motif_seconds: Annotated[float | None, typer.Option(help="Use only the first seconds of the motif.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Seconds of new music (piano): 30 when not given.")] = None,
    bars: Annotated[int | None, typer.Option(help="Bars of new music (chorale): 8 when not given.")] = None,
    style: Style = "piano",
    model: Model = None,
    transpose: Transpose = 0,
    temperature: Temperature = 1.0,
    top_k: TopK = None,
    top_p: TopP = 0.98,
    seed: int = 0,
    samples: Samples = 1,
    int8: Int8 = False,
    out: OutMidi = Path("piece.mid"),
    wav: Wav = False,
    as_json: AsJson = False,
) -> None:
    """Continue a motif, or begin from nothing: MIDI, a piano roll with the motif marked, and sound on request."""
    from attn.apps.music.decode import Sampling

    generator = _load(model, style, int8)
    composing = generator.compose(
        motif,
        seconds=seconds,
        bars=bars,
        motif_seconds=motif_seconds,
        transpose=transpose,
        samples=samples,
        sampling=Sampling(temperature=temperature, top_k=top_k, top_p=top_p),
        seed=seed,
    )
    interrupted, done = False, 0
    with console.progress(round(composing.total_seconds), "seconds of music") as advance:
        try:
            for now in composing:
                for _ in range(int(now) - done):
                    advance()
                done = max(done, int(now))
        except KeyboardInterrupt:  # what there is, is kept
            interrupted = True
    _write(composing.pieces(), out, wav=wav, as_json=as_json)
    if interrupted:
        console.say(f"interrupted after {done} seconds of music, which were written")
        raise typer.Exit(1)


@app.command()
def accompany(
    melody: Annotated[Path, typer.Argument(help="MIDI file; its highest line is the melody.")],
    model: Model = None,
    transpose: Transpose = 0,
    temperature: Temperature = 0.8,
    top_k: TopK = None,
    top_p: TopP = 0.95,
    seed: int = 0,
    samples: Samples = 1,
    out: OutMidi = Path("accompanied.mid"),
    wav: Wav = False,
    as_json: AsJson = False,
) -> None:
    """Write alto, tenor and bass to a melody."""
    from attn.apps.music.decode import Sampling

    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
    generator = _load(model, "accompany")
    pieces = generator.accompany(melody, transpose=transpose, samples=samples, sampling=sampling, seed=seed)
    _write(pieces, out, wav=wav, as_json=as_json)


@app.command()
@grouped
def train(
    source: Source,
    out: OutFolder,
    style: Style = "piano",
    accompany: Annotated[bool, typer.Option("--accompany", help="Learn to add voices to a chorale's melody.")] = False,
    mixer: Annotated[str | None, typer.Option(help="Attention mechanism; `attn mixers` lists them.")] = None,
    width: int = 192,
    depth: Annotated[int, typer.Option(min=1)] = 4,
    heads: Annotated[int, typer.Option(min=1)] = 4,
    length: Annotated[int, typer.Option(min=16, help="Tokens of a training example.")] = 512,
    dropout: Annotated[float | None, typer.Option(help="0.1, or that of --start.")] = None,
    semitones: Annotated[int, typer.Option(min=0, help="Transpose training pieces up to so many either way.")] = 3,
    run: Run = Run(epochs=40, batch_size=4, learning_rate=3e-3),
    as_json: AsJson = False,
) -> None:
    """Train on your own music; writes a model folder."""
    from attn.apps.music.model import configure
    from attn.apps.music.sources import open_collection, require_training
    from attn.apps.music.styles import style_named
    from attn.apps.music.train import Recipe, begin_from
    from attn.apps.music.train import train as run_training
    from attn.core.training.same_run import run_folder

    spoken = style_named(style)
    if accompany and spoken.voices == 1:
        raise UsageError("only chorales are accompanied", hint="add --style chorale")
    collection = open_collection(source, spoken, run_folder(out) / "tokens", stretched=True)
    require_training(collection, source)
    for name, reason in collection.failed.items():
        console.say(f"left out: {name}: {reason}")
    settings: dict[str, Any] = {"width": width, "hidden": 4 * width, "depth": depth, "heads": heads, "length": length}
    settings |= {} if dropout is None else {"dropout": dropout}
    settings |= {"voices": spoken.voices, "cycles": spoken.cycles, "vocabulary": spoken.size}
    settings |= {"source_vocabulary": spoken.size} if accompany else {}
    settings |= {"mixer": mixer} if mixer else {}
    bundled = "accompany" if accompany else style
    config, state = begin_from(run.start, bundled, spoken, dropout) if run.start else (configure(**settings), None)
    recipe = Recipe(learning_rate=run.learning_rate, batch_size=run.batch_size, crop=config.length, semitones=semitones)
    with resumable(out):
        fit_config = run.fit_config(ema_decay=0.998)
        record = run_training(collection, out, spoken, config, recipe, fit_config, start=state, resume=run.resume)
    measures = {name: value for name, value in record.metrics.items() if name.startswith(("nll", "measured"))}
    console.show_answer(record.model_dump() if as_json else {"model": str(out), **measures}, as_json=as_json)


@app.command()
def evaluate(
    source: Source,
    split: Annotated[str, typer.Option(help="train, validation (or valid), test, or all.")] = "test",
    style: Annotated[str | None, typer.Option(help="piano or chorale; by the source when not given.")] = None,
    model: Model = None,
    length: Annotated[int | None, typer.Option(min=2, help="Most tokens to predict from; the model's own.")] = None,
    samples: Annotated[int, typer.Option(min=0, help="Continuations to write and compare; 0 for none.")] = 8,
    seed: int = 0,
    int8: Int8 = False,
    cache: Annotated[
        Path | None, typer.Option(help="Folder for the tokens of MIDI files; the user's cache when not given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a model: likelihood of unseen pieces, and what it writes against what they do."""
    from attn.apps.music.evaluate import likelihood, part_of, rows_of, writing
    from attn.apps.music.sources import open_collection, token_folder

    generator = _load(model, style or ("chorale" if source.suffix.lower() == ".json" else "piano"), int8)
    collection = open_collection(source, generator.style, cache or token_folder())
    pieces = part_of(collection, split)
    name = generator.record.name + (" in int8" if int8 else "")
    report: dict[str, Any] = {"model": name, "measured_on": f"{split} of {source}"}
    with console.progress(len(pieces), "reading") as advance:
        report |= likelihood(generator, pieces, length=length, advance=advance)
    if samples and not generator.accompanies:
        training = collection.train if split != "train" else []
        with console.progress(min(samples, len(pieces)), "writing") as advance:
            report |= writing(generator, pieces, training, samples=samples, seed=seed, advance=advance)
    if collection.failed:
        report["unreadable"] = collection.failed
    if as_json:
        console.print_json(report)
    else:
        facts = {name: report.pop(name) for name in ("model", "measured_on", "pieces", "tokens", "context")}
        console.show_table([facts])
        report.pop("unreadable", None)
        console.show_table(rows_of(report), title="with 95 % intervals")
        for name, reason in collection.failed.items():
            console.say(f"not measured: {name}: {reason}")
    if collection.failed:
        raise typer.Exit(1)


@app.command()
def explain(
    inputs: Annotated[list[Path], typer.Argument(help="MIDI files.")],
    model: Model = None,
    style: Style = "piano",
    seconds: Annotated[float, typer.Option(help="How much of each piece.")] = 15.0,
    layer: Annotated[int | None, typer.Option(help="One layer, from 0; the mean of all when not given.")] = None,
    out: OutFolder = Path("explained"),
    as_json: AsJson = False,
) -> None:
    """Draw which past notes each note looked at, as arcs over the piano roll; the numbers go to .npz."""
    from attn.apps.music.explain import listen
    from attn.core.errors import AttnError

    generator = _load(model, style)
    claim(out)
    rows: list[dict[str, object]] = []
    names = Counter[str]()
    for path in inputs:
        row: dict[str, object] = {"id": str(path), "notes": None, "picture": None, "arrays": None, "error": None}
        try:
            listening = listen(generator, path, seconds=seconds, layer=layer)
            names[path.name] += 1  # files of one name in several folders
            name = path.name if names[path.name] == 1 else f"{path.name}.{names[path.name]}"
            row["picture"], row["arrays"] = map(str, listening.save(out, name))
            row["notes"] = len(listening.notes)
        except UsageError:
            raise
        except AttnError as error:
            row["error"] = str(error)
        rows.append(row)
    console.show_table(rows, as_json=as_json)
    if any(row["error"] for row in rows):
        raise typer.Exit(1)


@app.command()
def inspect(
    inputs: Annotated[list[str], typer.Argument(help="MIDI files, folders, globs or list files.")],
    out: OutTable = None,
    as_json: AsJson = False,
) -> None:
    """Say what is in MIDI files, how many tokens it makes, and what would be lost; one row per file."""
    from attn.apps.music.inspect import inspect_files
    from attn.core.results.tables import TableWriter

    rows = inspect_files(inputs)
    if out is not None:
        with TableWriter(out) as table:
            table.write(rows)
    console.show_table(rows, title="inputs", as_json=as_json)
    if failed := sum(row["error"] is not None for row in rows):
        console.say(f"{failed} of {len(rows)} files cannot be used; see the error column")
        raise typer.Exit(1)


@app.command()
def export(
    out: Annotated[Path, typer.Option("--out", help="The .onnx file to write.")],
    model: Model = None,
    style: Style = "piano",
    as_json: AsJson = False,
) -> None:
    """Write one decoding step with its cache as ONNX, and check it against PyTorch over many steps."""
    from attn.apps.music.export import export as write_onnx

    console.show_answer({"onnx": str(out), **write_onnx(_load(model, style), out)}, as_json=as_json)


def _load(model: str | None, style: str, int8: bool = False) -> "MusicGenerator":
    from attn.apps.music.predict import MusicGenerator

    return MusicGenerator.load(model, bundled=style, int8=int8)


def _write(pieces: "list[Composition]", out: Path, *, wav: bool, as_json: bool) -> None:
    """MIDI, roll and sound of every piece; a table of what was written."""
    from attn.apps.music.roll import draw_roll
    from attn.apps.music.sound import render
    from attn.apps.music.styles import BAR_SECONDS

    out.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, piece in enumerate(pieces, start=1):
        path = out if len(pieces) == 1 else out.with_name(f"{out.stem}-{number}{out.suffix}")
        notes = piece.notes
        piece.save(path)
        row: dict[str, object] = {"midi": str(path), "notes": len(notes), "seconds": round(notes.seconds, 2)}
        if len(notes):
            row["roll"] = str(path.with_suffix(".png"))
            bar_seconds = BAR_SECONDS if len(piece.parts) > 1 else None
            draw_roll(
                notes, path.with_suffix(".png"), motif_seconds=piece.motif_seconds or None, bar_seconds=bar_seconds
            )
            if wav:
                row["wav"] = str(path.with_suffix(".wav"))
                row["sound"] = render(notes, path.with_suffix(".wav"))
        rows.append(row)
    console.show_table(rows, as_json=as_json)
