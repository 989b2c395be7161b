"""The `attn music` commands: they read options, call the other rooms and show what comes back."""

from pathlib import Path
from typing import Annotated, Any

import typer

from attn import console
from attn.apps.music.cli_write import DEFAULT_STYLE, Seconds, Style, accompany, generate, load
from attn.core.errors import UsageError
from attn.options import (
    AsJson,
    By,
    Depth,
    Device,
    Dropout,
    Heads,
    Inputs,
    Mixer,
    Model,
    OutExport,
    OutFolder,
    OutReport,
    OutTable,
    Run,
    Seed,
    Split,
    Start,
    Weights,
    Width,
    claiming,
    count,
    grouped,
    no_effect,
    resumable,
    share,
)

app = typer.Typer(no_args_is_help=True, help="Music: MIDI motifs continued, melodies accompanied.")

Source = Annotated[Path, typer.Argument(help="A folder of MIDI files (MAESTRO's too), or a JSON file of chorales.")]
Length = Annotated[int | None, count("Most tokens that the model looks back over.", least=16, most=2**20)]


@app.command()
def inspect(
    inputs: Inputs,
    out: OutTable = None,
    as_json: AsJson = False,
) -> None:
    """Say what is in MIDI files, how many tokens it makes, and what would be lost; one row per file."""
    from attn.apps.music.inspect import COLUMNS, SUFFIXES, inspect_file
    from attn.data_adapters.paths import expand_inputs

    rows = console.each(expand_inputs(inputs, SUFFIXES), lambda path, _: inspect_file(path), COLUMNS, label="reading")
    console.show_rows(rows, out, title="inputs", as_json=as_json)


@app.command()
@grouped
def train(
    source: Source,
    out: OutFolder,
    style: Style = None,
    accompany: Annotated[bool, typer.Option("--accompany", help="Learn to add voices to a chorale's melody.")] = False,
    mixer: Mixer = None,
    width: Width = None,
    depth: Depth = None,
    heads: Heads = None,
    length: Length = None,
    dropout: Dropout = None,
    semitones: Annotated[
        int, count("Transpose training pieces by up to this many semitones, up and down.", least=0, most=48)
    ] = 3,
    start: Start = None,
    run: Run = Run(epochs=40, batch_size=4, learning_rate=3e-3),
    as_json: AsJson = False,
) -> None:
    """Train on your own music; writes a model folder.

    Without --start, the network has width 192, depth 4, 4 heads, length 512 and dropout 0.1.
    """
    from attn.apps.music.model import MusicTransformer, configure
    from attn.apps.music.sources import open_collection, require_training
    from attn.apps.music.styles import style_named
    from attn.apps.music.train import Recipe, begin_from
    from attn.apps.music.train import train as run_training
    from attn.core.models.record import LICENCE
    from attn.core.settings import buildable
    from attn.core.training.same_run import starting

    style = style or DEFAULT_STYLE
    spoken = style_named(style)
    if accompany and spoken.voices == 1:
        raise UsageError("only chorales are accompanied", hint="add --style chorale")
    if start:
        no_effect("with --start", mixer=mixer, width=width, depth=depth, heads=heads, length=length)
        config, state, licence = begin_from(start, "accompany" if accompany else style, spoken, dropout)
    else:
        width = width or 192
        settings: dict[str, Any] = {"width": width, "hidden": 4 * width, "depth": depth or 4, "heads": heads or 4}
        settings |= {"length": length or 512, "dropout": 0.1 if dropout is None else dropout}
        settings |= {"voices": spoken.voices, "cycles": spoken.cycles, "vocabulary": spoken.size}
        settings |= {"source_vocabulary": spoken.size} if accompany else {}
        config, state, licence = configure(**settings, **({"mixer": mixer} if mixer else {})), None, LICENCE
    buildable(config, MusicTransformer)
    fit_config = run.fit_config(ema_decay=0.998)
    recipe = Recipe(learning_rate=run.learning_rate, batch_size=run.batch_size, crop=config.length, semitones=semitones)
    with resumable(out), starting(out) as place:
        collection = open_collection(source, spoken, place / "tokens", stretched=True)
        require_training(collection, source)
        for name, reason in collection.failed.items():
            console.say(f"left out: {name}: {reason}")
        _say_copies(collection.copies)
        record = run_training(
            collection, out, spoken, config, recipe, fit_config, start=state, licence=licence, resume=run.resume
        )
    measures = {name: value for name, value in record.metrics.items() if name.startswith(("nll", "measured"))}
    console.show_answer(record.model_dump() if as_json else {"written": str(out), **measures}, as_json=as_json)


@app.command()
@claiming
def evaluate(
    source: Source,
    split: Split = "test",
    style: Style = None,
    model: Model = None,
    length: Length = None,
    by: By = None,
    samples: Annotated[int, count("Pieces to write.", least=0, most=1000)] = 8,
    seed: Seed = 0,
    weights: Weights = "float32",
    cache: Annotated[
        Path | None, typer.Option(help="Folder for the tokens of MIDI files; the user's cache when not given.")
    ] = None,
    device: Device = None,
    out: OutReport = None,
    as_json: AsJson = False,
) -> None:
    """Measure a model: likelihood of unseen pieces, and its continuations against the real ones.

    --samples 0 leaves the continuations out, and a model that accompanies writes none.
    Without --style, a JSON file is measured with the chorale model, a folder with the piano's. --by takes split or
    folder: MAESTRO has a folder for each year.
    """
    from attn.apps.music.evaluate import groups_of, known_split, likelihood, part_of, pictures, rows_of, writing
    from attn.apps.music.sources import open_collection, token_folder

    known_split(split)
    by_source = "chorale" if source.suffix.lower() == ".json" else DEFAULT_STYLE
    generator = load(model, style, by_source, weights=weights, device=device)
    collection = open_collection(source, generator.style, cache or token_folder())
    pieces = part_of(collection, split)
    groups = None if by is None else groups_of(collection, pieces, by)
    name = generator.record.name + (f" in {weights}" if weights != "float32" else "")
    report: dict[str, Any] = {"model": name, "measured_on": f"{split} of {source}"} | ({"by": by} if by else {})
    with console.progress(len(pieces), "reading") as advance:
        report |= likelihood(generator, pieces, length=length, groups=groups, advance=advance)
    if samples and not generator.accompanies:
        training = collection.train if split != "train" else []
        with console.progress(min(samples, len(pieces)), "writing") as advance:
            report |= writing(generator, pieces, training, samples=samples, seed=seed, advance=advance)
    if collection.copies:
        report["copies"] = collection.copies
    if collection.failed:
        report["unreadable"] = collection.failed
    if out is not None:
        console.write_report(out, report, *pictures(report, out))
    if as_json:
        console.print_json(report)
    else:
        console.show_table([{name: report[name] for name in ("model", "measured_on", "pieces", "tokens", "context")}])
        measures = {
            name: value
            for name, value in report.items()
            if isinstance(value, dict) and name not in ("unreadable", "copies")
        }
        console.show_table(rows_of(measures), title="with 95 % intervals")
        console.show_table(report.get("groups", []), title=f"by {by}")
        for name, reason in collection.failed.items():
            console.say(f"not measured: {name}: {reason}")
        _say_copies(collection.copies)
    if collection.failed:
        raise typer.Exit(1)


for verb in (generate, accompany):
    app.command()(verb)


@app.command()
@claiming
def explain(
    inputs: Inputs,
    model: Model = None,
    style: Style = None,
    seconds: Seconds = 15.0,
    layer: Annotated[
        int | None, count("One layer, from 0; the mean of all when not given.", least=0, most=1024)
    ] = None,
    device: Device = None,
    out: OutFolder = Path("explained"),
    as_json: AsJson = False,
) -> None:
    """Draw which past notes each note looked at, as arcs over the piano roll; the numbers go to .npz."""
    from attn.apps.music.explain import listen
    from attn.data_adapters.midi.token_cache import MIDI_SUFFIXES
    from attn.data_adapters.paths import expand_inputs

    generator = load(model, style, device=device)

    def act(path: Path, name: str) -> dict[str, object]:
        listening = listen(generator, path, seconds=seconds or 15.0, layer=layer)
        picture, arrays = listening.save(out, name)
        return {"notes": len(listening.notes), "picture": str(picture), "arrays": str(arrays)}

    rows = console.each(expand_inputs(inputs, MIDI_SUFFIXES), act, ("notes", "picture", "arrays"), label="explaining")
    console.show_rows(rows, None, as_json=as_json)


@app.command()
def profile(
    model: Annotated[
        str, typer.Argument(help="A model folder, hf://org/name, or bundled:music/NAME.", show_default=False)
    ],
    music: Annotated[
        list[str] | None, typer.Argument(help="MIDI files to measure on; music that the model writes if none.")
    ] = None,
    keys: Annotated[int, count("Tokens that a reusing layer attends to.", most=2**20)] = 256,
    overlap: Annotated[float, share("Least overlap of the tokens of two layers for one to reuse the other's.")] = 0.85,
    length: Length = None,
    device: Device = None,
    out: Annotated[Path, typer.Option("--out", help="The policy to write, a .json file.")] = Path("policy.json"),
    as_json: AsJson = False,
) -> None:
    """Find which layers can reuse the tokens on which an earlier layer settled, for `generate --policy` (HyLRA).

    It can pay for models that look back over many thousand tokens; those that ship gain nothing.
    """
    from attn.apps.music.profile import able_layers, pieces_of
    from attn.apps.music.profile import profile as measure
    from attn.core.files import replacing
    from attn.data_adapters.midi.token_cache import MIDI_SUFFIXES
    from attn.data_adapters.paths import expand_inputs

    bundled = model.removeprefix("bundled:music/") if model.startswith("bundled:") else None
    generator = load(None, bundled, device=device) if bundled else load(model, None, device=device)
    able = able_layers(generator)
    paths = list(expand_inputs(music, MIDI_SUFFIXES)) if music else []
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as part:  # refuses a folder before the work
        pieces = pieces_of(generator, paths, length or generator.context)
        with console.progress(len(pieces) * (1 + len(able)), "profiling") as advance:
            policy = measure(generator, pieces, keys=keys, least_overlap=overlap, advance=advance)
        part.write_text(policy.model_dump_json(indent=2) + "\n", encoding="utf-8")
    if as_json:
        console.print_json(policy.model_dump() | {"written": out})
        return
    for layer, source in enumerate(policy.layers):
        nats, row = policy.sensitivity[layer], policy.overlap[layer]
        console.say(
            f"layer {layer} {'computes' if source < 0 else f'reuses the tokens of layer {source}'}"
            + ("" if nats is None else f": sensitivity {nats:.3g} nats")
            + ("" if source < 0 else f", overlap {row[source]:.3f}")
        )
    console.say(f"written: {out}")


@app.command()
def export(
    out: OutExport,
    model: Model = None,
    style: Style = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Write one decoding step with its cache as ONNX, and check it against PyTorch over many steps."""
    from attn.apps.music.export import export as write_onnx

    found = write_onnx(load(model, style, device=device), out)
    console.show_answer({"written": str(out), **found}, as_json=as_json)


def _say_copies(copies: dict[str, str]) -> None:
    for copy, kept in list(copies.items())[:1]:
        console.say(f"left out: {len(copies)} copies of other pieces; {copy} is one of {kept}")
