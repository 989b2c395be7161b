"""The `attn reid` commands that measure a model and say what it rests on; `cli` adds them to its own."""

from typing import Annotated

import typer

from attn import console
from attn.apps.reid.options import Columns, Labelled, load
from attn.options import AsJson, Device, Model, OutReport, Seed, Split, claiming, grouped


@claiming
@grouped
def evaluate(
    source: Labelled,
    columns: Columns = Columns(),
    split: Split = "all",
    model: Model = None,
    rerank: Annotated[
        bool, typer.Option("--rerank", help="Order the answers anew by the neighbours that they have in common.")
    ] = False,
    seed: Seed = 0,
    device: Device = None,
    out: OutReport = None,
    as_json: AsJson = False,
) -> None:
    """Measure a model on individuals that it has not seen: rankings, pairs, and queries of nobody known.

    Intervals resample individuals. --seed draws the half of them that the gallery lacks where nobody is known.
    """
    from attn.apps.reid.evaluate import HEADLINES
    from attn.apps.reid.evaluate import evaluate as measure

    predictor = load(model, device)
    individuals = columns.open(source)
    with console.progress(None, "measuring") as advance:
        evaluation = measure(
            predictor, individuals, split=None if split == "all" else split, rerank=rerank, seed=seed, advance=advance
        )
    report = {"model": predictor.record.name, "measured_on": evaluation.found.measured_on, **evaluation.report()}
    report["rules"] |= {"within": columns.within}
    if out is not None:
        console.write_report(out, report, *evaluation.pictures(out))
    if as_json:
        console.print_json(report)
    else:
        for notice in individuals.notices:
            console.say(notice)
        console.say(f"model {report['model']}, measured on {report['measured_on']}")
        for sentence in evaluation.sentences(columns.within):
            console.say(sentence)
        heads = [{"measure": name, "value": report[name]} for name in HEADLINES]
        console.show_table(heads, title="with 95 % intervals that resample individuals")
        console.show_table(evaluation.open_rows(), title="half of the individuals are not in the gallery")
    if evaluation.found.failed:
        for reason in evaluation.found.failed.values():
            console.say(f"not measured: {reason}")
        raise typer.Exit(1)
