"""`attn ctr evaluate`, `compare`, `explain` and `calibrate`: what a model is worth, and what it looks at."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from attn import console
from attn.core.errors import UsageError
from attn.core.files import claimed
from attn.options import (
    AsJson,
    By,
    Device,
    Label,
    Model,
    OutFolder,
    OutModel,
    OutReport,
    Seed,
    Weights,
    claiming,
    count,
    no_effect,
    own_model,
)

if TYPE_CHECKING:
    from attn.apps.ctr.folder import Unseen
    from attn.apps.ctr.predict import CTRPredictor

Source = Annotated[str, typer.Argument(help="CSV, TSV, Parquet, Arrow or libsvm; a folder or a quoted glob of them.")]
Format = Annotated[
    str | None,
    typer.Option(
        help="csv, tsv, parquet, arrow, libsvm, criteo, avazu, movielens, ...; by suffix and content when not given."
    ),
]


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

    predictor = load(model, weights, device)
    label = label or predictor.label
    opened = predictor.open(source, format=format, also=[label, *([by] if by else [])])
    with console.progress(batches(opened.rows()), "measuring") as advance:
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
    say_unseen(evaluation.unseen)


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

    predictor = load(model, device=device)
    first, second = (predictor.open(source, format=format, also=[label] if label else []) for source in (before, after))
    with console.progress(batches(first.rows()) + batches(second.rows()), "comparing") as advance:
        found = compare_tables(predictor, first, second, label or predictor.label, advance=lambda _: advance())
    if out is not None:
        console.write_report(out, found.report(), *found.pictures(out))
    if as_json:
        console.print_json(found.report())
        return
    tables = (("before", found.before), ("after", found.after))
    console.show_table([{"table": name, **summary} for name, summary in tables])
    console.show_table(found.fields, title="fields, the one that drifted most first")


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
    predictor = load(model, device=device)
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


def load(model: str | None, weights: str = "float32", device: str | None = None) -> "CTRPredictor":
    """The model that a command names."""
    from attn.apps.ctr.predict import CTRPredictor

    return CTRPredictor.load(model, table=weights, **({} if device is None else {"device": device}))


def batches(rows: int) -> int:
    """In how many parts a table of `rows` rows is read."""
    return -(-rows // 250_000)


def say_unseen(unseen: "Unseen") -> None:
    """Name the fields with unknown values, and those without any."""
    shares = {name: share for name, share in unseen.shares().items() if share}
    if shares:
        by_field = ", ".join(f"{name} {share:.1%}" for name, share in sorted(shares.items(), key=lambda item: -item[1]))
        console.say(f"values the model has not learned, by field: {by_field}")
    if gone := unseen.never_there():
        console.say(f"missing in every row: {', '.join(gone)}")
