"""The `attn ctr` commands: they read options, call the other rooms and show what comes back."""

from pathlib import Path
from typing import Annotated

import typer

from attn import console
from attn.apps.ctr.cli_measure import Format, Source, batches, calibrate, compare, evaluate, explain, load, say_unseen
from attn.core.errors import UsageError
from attn.options import (
    AsJson,
    Depth,
    Device,
    Dropout,
    Heads,
    Label,
    Mixer,
    Model,
    OutExport,
    OutFolder,
    OutTable,
    Run,
    Start,
    Weights,
    Width,
    Workers,
    count,
    grouped,
    no_effect,
    number,
    resumable,
)

app = typer.Typer(
    no_args_is_help=True, help="Click-through rate: tables of any size, scored by their fields' interactions."
)

Fields = Annotated[Path | None, typer.Option(help="TOML file that says what columns mean, where the guess is wrong.")]


@app.command()
def inspect(
    source: Source,
    label: Label = None,
    format: Format = None,
    fields: Fields = None,
    against: Annotated[str | None, typer.Option(help="A later table: how much of it the first has not seen.")] = None,
    out: OutTable = None,
    as_json: AsJson = False,
) -> None:
    """Say what is in a table: fields and kinds, distinct and missing values, fields that give the label away."""
    from attn.apps.ctr.inspect import inspect_table

    rows, summary = inspect_table(source, label=label, format=format, fields=fields, against=against)
    if as_json and out is None:
        console.print_json({**summary, "fields": rows})
        return
    rate = f", {summary['rate']:.4f} of them clicks" if summary.get("rate") else ""
    console.say(f"{summary['table']}: {summary['rows']:,} rows{rate}")
    for note in summary["notes"]:
        console.say(f"warning: {note}")
    console.show_rows(rows, out, as_json=as_json)


@app.command()
@grouped
def train(
    source: Source,
    out: OutFolder,
    label: Label = None,
    format: Format = None,
    fields: Fields = None,
    validation: Annotated[
        str | None, typer.Option(help="Validation table, for early stopping; a share of the rows when not given.")
    ] = None,
    test: Annotated[
        str | None, typer.Option(help="Test table, to measure on; a share of the rows when not given.")
    ] = None,
    split_time: Annotated[str | None, typer.Option(help="Split by this column: its latest rows are the test.")] = None,
    split_group: Annotated[str | None, typer.Option(help="Split by this column: its values stay together.")] = None,
    shares: Annotated[
        str | None, typer.Option(help="Shares of validation and test, for example 0.2,0.1; 0.1,0.1 when not given.")
    ] = None,
    min_count: Annotated[int | None, count("Rarer values are folded into the unknown value.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="Details of a layer: paper, or official for those of the authors' code.")
    ] = None,
    mixer: Mixer = None,
    embedding: Annotated[int | None, count("Width of a field's vector.", most=16_384)] = None,
    width: Width = None,
    depth: Depth = None,
    heads: Heads = None,
    dnn: Annotated[str | None, typer.Option(help="Widths of AutoInt+'s parallel MLP, for example 400,400.")] = None,
    dropout: Dropout = None,
    weight: Annotated[str | None, typer.Option(help="Column that says how much a row counts.")] = None,
    sampled: Annotated[
        float,
        number("Share of the rows without a click to learn from; probabilities stay right.", least=1e-4, most=1),
    ] = 1.0,
    start: Start = None,
    run: Run = Run(epochs=40, batch_size=1024, learning_rate=2e-3),
    as_json: AsJson = False,
) -> None:
    """Train on a table of any size; writes a model folder.

    Without --start, the network has the preset official, embedding 16, width 32, depth 3, 2 heads and dropout 0.1.
    --dropout is that of the fields' vectors; the parallel MLP's is twice as high.
    """
    from attn.apps.ctr.data import open_clicks
    from attn.apps.ctr.split import Split
    from attn.apps.ctr.start import architecture
    from attn.apps.ctr.train import Recipe
    from attn.apps.ctr.train import train as run_training

    if validation:  # who gives that table is expected to measure on another one, too
        no_effect("with --validation", split_time=split_time, split_group=split_group, shares=shares)
    if test and shares and _shares(shares)[1]:
        raise UsageError("--test is the test table, so the second of --shares is 0", hint="write 0.1,0")
    split = Split(shares=_shares(shares or "0.1,0.1"), time=split_time, group=split_group, seed=run.seed)
    sizes = {"embedding": embedding, "width": width, "depth": depth, "heads": heads}
    widths = None if dnn is None else _widths(dnn)
    source_model = None if start is None else load(start, device="cpu")
    settings = architecture(source_model, preset=preset, mixer=mixer, dnn=widths, dropout=dropout, **sizes)
    fit_config = run.fit_config(ema_decay=0.999)
    clicks = open_clicks(
        source,
        label=label,
        format=format,
        fields=fields,
        validation=validation,
        test=test,
        split=split,
        weight=weight,
        sampled=sampled,
        known=source_model.codebook.fields if source_model else (),
    )
    if not as_json:
        console.say("; ".join(f"{one.name}: {one.describe()}" for one in clicks.fields))
    for note in clicks.notes:
        console.say(f"warning: {note}")
    with resumable(out), console.progress(None, "rows read") as advance:
        record = run_training(
            clicks,
            out,
            Recipe(learning_rate=run.learning_rate, batch_size=run.batch_size, sampled=sampled),
            fit_config,
            least=min_count,
            start=source_model,
            resume=run.resume,
            advance=lambda _: advance(),
            say=console.say,
            **settings,
        )
    measures = {name: record.metrics[name] for name in ("measured_on", "auc", "logloss", "relative_improvement", "ece")}
    console.show_answer(record.model_dump() if as_json else {"written": str(out), **measures}, as_json=as_json)


app.command()(evaluate)
app.command()(compare)


@app.command()
def predict(
    source: Source,
    model: Model = None,
    format: Format = None,
    keep: Annotated[str | None, typer.Option(help="Columns to keep beside the answer, for example hour,site.")] = None,
    weights: Weights = "float32",
    workers: Workers = 0,
    device: Device = None,
    out: OutTable = None,
    as_json: AsJson = False,
) -> None:
    """Score every row of a table, larger than memory if need be; values that training did not see never stop it."""
    predictor = load(model, weights, device)
    kept = [name.strip() for name in (keep or "").split(",") if name.strip()]
    opened = predictor.open(source, format=format, also=kept)
    show = console.FrameStream(as_json=as_json).show if out is None else None
    with console.progress(batches(opened.rows()), "scoring") as advance:
        unseen = predictor.predict_table(
            opened, out, keep=kept, show=show, advance=lambda _: advance(), workers=workers
        )
    if out is not None:
        console.show_written(out, unseen.rows, as_json=as_json)
    say_unseen(unseen)


app.command()(explain)
app.command()(calibrate)


@app.command()
def export(
    out: OutExport,
    model: Model = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Write the model as ONNX, checked against PyTorch, with what it takes to score JSON requests without attn.

    --out is a folder for model, vocabulary and a script, or an .onnx file for the model alone.
    """
    from attn.apps.ctr.export import export as write_export

    difference = write_export(load(model, device=device), out)
    console.show_answer({"written": str(out), "largest_difference": difference, "batches": [1, 3, 16]}, as_json=as_json)


def _widths(text: str) -> tuple[int, ...]:
    try:
        widths = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        widths = (0,)
    if any(width < 1 for width in widths):
        raise UsageError(f"--dnn {text[:40]!r} is not a list of widths", hint="write 400,400")
    return widths


def _shares(text: str) -> tuple[float, float]:
    try:
        validation, test = map(float, text.split(","))
    except ValueError:
        validation, test = -1, -1
    if not (min(validation, test) >= 0 and validation + test < 1):  # so written, NaN is refused too
        raise UsageError(
            f"--shares {text[:40]!r} is not two shares of at least 0 and together below 1", hint="write 0.1,0.1"
        )
    return validation, test
