"""The `attn ctr` commands: they read options, call the other rooms and show what comes back."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from attn import console
from attn.core.errors import UsageError
from attn.core.files import claimed
from attn.options import (
    AsJson,
    By,
    Depth,
    Device,
    Dropout,
    Heads,
    Label,
    Mixer,
    Model,
    OutExport,
    OutFolder,
    OutModel,
    OutReport,
    OutTable,
    Run,
    Seed,
    Start,
    Weights,
    Width,
    Workers,
    claiming,
    count,
    grouped,
    no_effect,
    number,
    own_model,
    resumable,
)

if TYPE_CHECKING:
    from attn.apps.ctr.folder import Unseen
    from attn.apps.ctr.predict import CTRPredictor

app = typer.Typer(
    no_args_is_help=True, help="Click-through rate: tables of any size, scored by their fields' interactions."
)

Source = Annotated[str, typer.Argument(help="CSV, TSV, Parquet, Arrow or libsvm; a folder or a quoted glob of them.")]
Format = Annotated[
    str | None,
    typer.Option(
        help="csv, tsv, parquet, arrow, libsvm, criteo, avazu, movielens, ...; by suffix and content when not given."
    ),
]
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
    source_model = None if start is None else _load(start, device="cpu")
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


@app.command()
@claiming
def evaluate(
    source: Source,
    label: Label = None,
    format: Format = None,
    model: Model = None,
    by: By = None,
    weights: Weights = "float32",
    device: Device = None,
    out: OutReport = None,
    as_json: AsJson = False,
) -> None:
    """Measure a model on a labelled table: AUC, log loss, calibration by decile, unseen values.

    With --by, AUC within the groups as well.
    """
    from attn.apps.ctr.evaluate import evaluate_table

    predictor = _load(model, weights, device)
    label = label or predictor.label
    opened = predictor.open(source, format=format, also=[label, *([by] if by else [])])
    with console.progress(_batches(opened.rows()), "measuring") as advance:
        evaluation = evaluate_table(predictor, opened, label, group=by, advance=lambda _: advance())
    report = {"model": predictor.record.name, "measured_on": evaluation.measured_on, **evaluation.report()}
    if out is not None:
        console.write_report(out, report, *evaluation.pictures(out))
    if as_json:
        console.print_json(report)
        return
    console.say(f"model {report['model']}, measured on {report['measured_on']}")
    names = ("auc", "auc_interval", "logloss", "relative_improvement", "ece", "grouped_auc", "rate", "predicted_rate")
    console.show_table([{"measure": name, "value": report[name]} for name in names if name in report])
    console.show_table(report["calibration"], title="from the least to the most likely tenth")
    _say_unseen(evaluation.unseen)


@app.command()
@claiming
def compare(
    before: Annotated[str, typer.Argument(help="The earlier table, as yesterday's.")],
    after: Annotated[str, typer.Argument(help="The later table, as today's.")],
    label: Label = None,
    format: Format = None,
    model: Model = None,
    device: Device = None,
    out: OutReport = None,
    as_json: AsJson = False,
) -> None:
    """Say what changed between two tables: drift and unknown values of each field, clicks expected and observed."""
    from attn.apps.ctr.compare import compare_tables

    predictor = _load(model, device=device)
    first, second = (predictor.open(source, format=format, also=[label] if label else []) for source in (before, after))
    with console.progress(_batches(first.rows()) + _batches(second.rows()), "comparing") as advance:
        found = compare_tables(predictor, first, second, label or predictor.label, advance=lambda _: advance())
    if out is not None:
        console.write_report(out, found.report(), *found.pictures(out))
    if as_json:
        console.print_json(found.report())
        return
    tables = (("before", found.before), ("after", found.after))
    console.show_table([{"table": name, **summary} for name, summary in tables])
    console.show_table(found.fields, title="fields, the one that drifted most first")


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
    predictor = _load(model, weights, device)
    kept = [name.strip() for name in (keep or "").split(",") if name.strip()]
    opened = predictor.open(source, format=format, also=kept)
    show = console.FrameStream(as_json=as_json).show if out is None else None
    with console.progress(_batches(opened.rows()), "scoring") as advance:
        unseen = predictor.predict_table(
            opened, out, keep=kept, show=show, advance=lambda _: advance(), workers=workers
        )
    if out is not None:
        console.show_written(out, unseen.rows, as_json=as_json)
    _say_unseen(unseen)


@app.command()
@claiming
def explain(
    source: Source,
    model: Model = None,
    format: Format = None,
    label: Label = None,
    row: Annotated[int | None, count("Explain this row, counted from 1, instead of the table.", most=10**9)] = None,
    rows: Annotated[int | None, count("Rows of the table to look at; 20,000 when not given.")] = None,
    seed: Seed = 0,
    device: Device = None,
    out: OutFolder = Path("explained"),
    as_json: AsJson = False,
) -> None:
    """Draw which fields look at which, list the strongest interactions, and check them by permuting."""
    from attn.apps.ctr.explain import explain_row, explain_table

    if row is not None:
        no_effect("with --row", rows=rows, label=label, seed=seed)
    predictor = _load(model, device=device)
    opened = predictor.open(source, format=format)
    if row is not None:
        head = opened.head(row)
        if len(head) < row:
            raise UsageError(f"has {len(head)} rows, and not a row {row}", where=opened.where)
        explanation = explain_row(predictor, head.row(row - 1, named=True))
        written = [str(path) for path in explanation.save(out, f"row-{row}")]
        console.show_answer({"row": row, **explanation.answer(), "written": written}, as_json=as_json)
        return
    label = label or (predictor.label if predictor.label in opened.columns else None)
    of_table = explain_table(predictor, opened, label=label, rows=rows or 20_000, seed=seed)
    written = [str(path) for path in of_table.save(out)]
    if as_json:
        console.print_json({"interactions": of_table.interactions, "written": written})
    else:
        console.show_table(of_table.interactions[:15], title="the strongest interactions")
        console.say("written: " + ", ".join(written))


@app.command()
def calibrate(
    source: Source,
    label: Label = None,
    format: Format = None,
    model: Model = None,
    device: Device = None,
    out: OutModel = None,
    as_json: AsJson = False,
) -> None:
    """Fit the probabilities to a labelled table the model has not seen, and store the fit in the model."""
    from attn.apps.ctr.evaluate import calibrate as fit_calibration

    with claimed(own_model(model, out)) as to:
        fitted = fit_calibration(model, source, label, to, format, device=device)
    console.show_answer({"written": str(to), **fitted}, as_json=as_json)


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

    difference = write_export(_load(model, device=device), out)
    console.show_answer({"written": str(out), "largest_difference": difference, "batches": [1, 3, 16]}, as_json=as_json)


def _load(model: str | None, weights: str = "float32", device: str | None = None) -> "CTRPredictor":
    from attn.apps.ctr.predict import CTRPredictor

    return CTRPredictor.load(model, table=weights, **({} if device is None else {"device": device}))


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


def _batches(rows: int) -> int:
    return -(-rows // 250_000)


def _say_unseen(unseen: "Unseen") -> None:
    shares = {name: share for name, share in unseen.shares().items() if share}
    if shares:
        by_field = ", ".join(f"{name} {share:.1%}" for name, share in sorted(shares.items(), key=lambda item: -item[1]))
        console.say(f"values the model has not learned, by field: {by_field}")
    if gone := unseen.never_there():
        console.say(f"missing in every row: {', '.join(gone)}")
