"""The `attn reid` commands that measure a model and say what it rests on; `cli` adds them to its own."""

from pathlib import Path
from typing import Annotated

import typer

from attn import console
from attn.apps.reid.options import Columns, Labelled, Verify, load
from attn.core.errors import UsageError
from attn.core.files import claimed, require_free
from attn.options import (
    AsJson,
    Device,
    Model,
    OutFolder,
    OutModel,
    OutReport,
    Seed,
    Split,
    claiming,
    grouped,
    number,
    own_model,
)


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
    verify: Verify = None,
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
    from attn.apps.reid.inspect import gaps

    predictor = load(model, device)
    individuals = columns.open(source)
    with console.progress(None, "measuring") as advance:
        evaluation = measure(
            predictor,
            individuals,
            split=None if split == "all" else split,
            rerank=rerank,
            verify=verify,
            seed=seed,
            advance=advance,
        )
    report = {"model": predictor.record.name, "measured_on": evaluation.found.measured_on, **evaluation.report()}
    report["rules"] |= {"within": columns.within}
    if out is not None:
        console.write_report(out, report, *evaluation.pictures(out))
    if as_json:
        console.print_json(report)
    else:
        for sentence in (*gaps(individuals), *individuals.notices):
            console.say(sentence)
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


@grouped
def calibrate(
    source: Labelled,
    columns: Columns = Columns(),
    split: Split = "all",
    model: Model = None,
    prior: Annotated[
        float, number("How probable it is that the individual of a query is in the gallery.", least=0.001, most=0.999)
    ] = 0.5,
    verify: Verify = None,
    device: Device = None,
    out: OutModel = None,
    as_json: AsJson = False,
) -> None:
    """Fit probabilities to individuals that the model was not trained on; store them in the model.

    They say how probable it is that an answer is right, and from where on nobody is known. --prior is a statement about
    the place where the model is used, and no search can do without one. With attn[verify] a search that verifies gets
    probabilities of its own.
    """
    to = own_model(model, out)  # before the imports, which take seconds
    from attn.apps.reid.calibrate import calibrate as fit_calibration

    individuals = columns.open(source, split)
    with claimed(to), console.progress(None, "calibrating") as advance:
        fitted = fit_calibration(model, individuals, to, prior=prior, verify=verify, device=device, advance=advance)
    if as_json:
        console.print_json({"written": to, **fitted})
        return
    said = {name: value for name, value in fitted.items() if isinstance(value, float)}
    console.show_answer({"written": str(to), **said})
    pairs = fitted["pairs"]
    console.say(
        f"fitted on {fitted['fitted_on']}: {pairs['same']} pairs of one individual, {pairs['different']} of two; "
        f"prior {prior:g}; ECE measured on {fitted['measured_on']}"
    )
    if again := fitted.get("verified"):
        when = "by default" if again["helps"] else "with --verify alone"
        console.say(
            f"local features: mAP {fitted['mAP']:.3f} becomes {again['mAP']:.3f}, the ECE of answers "
            f"{again['ece_answers']:.3f}; a search verifies {when}"
        )
    elif verify is None:
        console.say("local features: not looked at; pip install attn[verify]")


@claiming
@grouped
def cluster(
    source: Labelled,
    columns: Columns = Columns(),
    split: Split = "all",
    model: Model = None,
    cut: Annotated[
        float | None, number("Mean cosine distance up to which pictures are one group.", least=0, most=2)
    ] = None,
    device: Device = None,
    out: OutReport = None,
    as_json: AsJson = False,
) -> None:
    """Say how many individuals are in photographs: groups of pictures. --out gets groups.png, groups.csv and counts."""
    from attn.apps.reid.cluster import cluster as group
    from attn.core.results.tables import TableWriter

    predictor = load(model, device)
    individuals = columns.open(source, split)
    with console.progress(None, "reading") as advance:
        found = group(predictor, individuals, cut=cut, advance=advance)
    report, rows = {"model": predictor.record.name, **found.report()}, found.rows()
    if out is not None:
        pictures = [*found.picture(out), out / "groups.csv"]
        with TableWriter(pictures[-1]) as table:
            table.write(rows)
        console.write_report(out, report, *pictures)
    if as_json:
        console.print_json(report if out is not None else report | {"rows": rows})
    else:
        if out is None:
            console.show_table(rows)
        counts = ("groups", "pictures", "alone", "distance", "cut")
        console.show_answer({name: report[name] for name in counts})
        console.show_table([report["truth"]] if report["truth"] else [], title="against the individuals that are known")
    failed = len(found.found.failed)
    console.end(failed)


def explain(
    first: Annotated[str, typer.Argument(help="A photograph.")],
    second: Annotated[str, typer.Argument(help="Another photograph.")],
    model: Model = None,
    device: Device = None,
    out: OutFolder = Path("explained"),
    as_json: AsJson = False,
) -> None:
    """Draw why two photographs are alike: the pairs of patches that add most to their cosine, and both rollouts.

    --out may be a .png file; the numbers go to .json beside it. The model's embedding must be a mean over patches.
    """
    if out.suffix.lower() not in ("", ".png") and not out.is_dir():
        raise UsageError("an explanation is a .png, or a folder that gets one", where=out, hint="end --out in .png")
    from attn.apps.reid.explain import explain as compare

    if out.suffix.lower() == ".png":
        require_free(out.with_suffix(".json"))
    predictor = load(model, device)
    found = compare(predictor, first, second)
    if out.suffix.lower() == ".png":
        written = found.save(out)
    else:
        with claimed(out):
            written = found.save(out / f"{Path(first).stem}-{Path(second).stem}.png")
    numbers = found.numbers()
    if as_json:
        console.print_json(numbers | {"written": [*written]})
        return
    pairs = numbers.pop("pairs")
    shown = ("similarity", "probability", "together", "model")
    console.show_answer({name: numbers[name] for name in shown} | {"written": str(written[0])})
    console.show_table(pairs, title="the pairs of patches that add most, by line and column of the grid")
