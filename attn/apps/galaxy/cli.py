"""The `attn galaxy` commands: they read options, call the other rooms and show what comes back."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attn import console
from attn.apps.galaxy.cli_among import anomalies, similar
from attn.apps.galaxy.cli_predict import predict
from attn.apps.galaxy.options import Hdu, Image, Tta
from attn.core.errors import UsageError
from attn.core.files import claimed
from attn.options import (
    AsJson,
    By,
    Device,
    Inputs,
    Label,
    Mixer,
    Model,
    OutExport,
    OutFolder,
    OutModel,
    OutReport,
    OutTable,
    Run,
    StartOfImages,
    Variant,
    claiming,
    count,
    grouped,
    no_effect,
    number,
    own_model,
    resumable,
    share,
)

if TYPE_CHECKING:
    from attn.apps.galaxy.predict import GalaxyPredictor
    from attn.core.models.record import ModelRecord

app = typer.Typer(no_args_is_help=True, help="Galaxies: FITS files and pictures, classified by shape.")

Labelled = Annotated[
    Path,
    typer.Argument(help="A table with paths and labels, a Galaxy10 .h5 file, or a folder with a folder per class."),
]


@app.command()
def inspect(
    inputs: Inputs,
    image: Image = None,
    label: Label = None,
    hdu: Hdu = None,
    preview: Annotated[
        Path | None, typer.Option(help="Draw what the model would see to this .png, up to 48 images.")
    ] = None,
    out: OutTable = None,
    as_json: AsJson = False,
) -> None:
    """Say what is in files or in a labelled set, what the model would see of them, and what is wrong."""
    from attn.apps.galaxy.inspect import COLUMNS, draw_preview, inspect_file, inspect_labelled, is_labelled
    from attn.apps.galaxy.read import SUFFIXES
    from attn.data_adapters.paths import expand_inputs
    from attn.data_adapters.sky.labelled import open_galaxies
    from attn.data_adapters.sky.stretch import Stretch

    if len(inputs) == 1 and is_labelled(inputs[0]):
        if preview is not None:
            raise UsageError("--preview draws images, not a labelled set", hint="name them, as in 'folder/*/*.jpg'")
        no_effect("on a labelled set", hdu=hdu)
        rows = inspect_labelled(open_galaxies(inputs[0], image=image, label=label))
        console.show_rows(rows, out, title=inputs[0], as_json=as_json)
        return
    no_effect("on files: it names a column of a labelled set", image=image, label=label)
    if preview is not None:
        draw_preview(inputs, preview, Stretch(), hdu=hdu)
    paths = expand_inputs(inputs, SUFFIXES)
    rows = console.each(paths, lambda path, _: inspect_file(path, hdu), COLUMNS, label="reading")
    console.show_rows(rows, out, title="inputs", as_json=as_json)


RUN = Run(epochs=60, batch_size=64, learning_rate=3e-3)


@app.command()
@grouped
def train(
    source: Labelled,
    out: OutFolder,
    image: Image = None,
    label: Label = None,
    hdu: Hdu = None,
    target: Annotated[
        str | None,
        typer.Option(help="Column with a number to learn instead of classes, such as a share of votes or a redshift."),
    ] = None,
    also: Annotated[
        list[str] | None, typer.Option(help="Another column to learn beside the class; may be repeated.")
    ] = None,
    extra: Annotated[
        Path | None, typer.Option(help="More labelled images, for training alone; a label `a|b` means one of the two.")
    ] = None,
    variant: Variant = None,
    mixer: Mixer = None,
    size: Annotated[int | None, count("Side of the model's input in pixels.", least=32, most=8192)] = None,
    drop_path: Annotated[float, number("Stochastic depth of the last block.", least=0, most=0.99)] = 0.1,
    balance: Annotated[float, share("0 keeps the classes' frequencies, 1 evens them out.")] = 0.4,
    start: StartOfImages = None,
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Leave out images that cannot be read, and train on the others.")
    ] = False,
    probe: Annotated[
        bool, typer.Option("--probe", help="Fit only a linear layer, on the frozen features of --start: seconds.")
    ] = False,
    run: Run = RUN,
    as_json: AsJson = False,
) -> None:
    """Train a model on your own images and class names, or a number; writes a model folder."""
    from attn.apps.galaxy.model import Astroformer
    from attn.apps.galaxy.probe import probe as fit_probe
    from attn.apps.galaxy.start import architecture
    from attn.apps.galaxy.train import Recipe
    from attn.apps.galaxy.train import train as run_training
    from attn.apps.galaxy.train_number import train_number
    from attn.core.settings import buildable
    from attn.data_adapters.sky.labelled import open_galaxies

    if probe:
        others = {name: value for name, value in asdict(run).items() if value != getattr(RUN, name) and name != "seed"}
        no_effect("with --probe", also=also, extra=extra, variant=variant, mixer=mixer, size=size, **others)
        if target is not None:
            no_effect("with --target", label=label)
        labelled = open_galaxies(source, image=image, label=target or label, hdu=hdu)
        with console.progress(None, "embedding") as advance:
            record = fit_probe(
                labelled,
                out,
                target=target,
                start=start,
                balance=balance,
                seed=run.seed,
                skip_unreadable=skip_unreadable,
                advance=advance,
            )
        _show_trained(record, out, as_json=as_json)
        return
    changes: dict[str, Any] = {"mixer": mixer, "image_size": size}
    changes = {name: value for name, value in changes.items() if value is not None}
    config = buildable(architecture(variant, start, drop_path=drop_path, **changes), Astroformer)
    fit_config = run.fit_config(ema_decay=0.998)
    recipe = Recipe(learning_rate=run.learning_rate, batch_size=run.batch_size, balance=balance)
    how: dict[str, Any] = {"start": start, "resume": run.resume, "skip_unreadable": skip_unreadable}
    with resumable(out):
        if target is not None:
            no_effect("with --target", label=label, also=also, extra=extra)
            labelled = open_galaxies(source, image=image, label=target, hdu=hdu)
            record = train_number(labelled, target, out, config, recipe, fit_config, **how)
        else:
            more = None if extra is None else open_galaxies(extra, image=image, label=label, hdu=hdu)
            labelled = open_galaxies(source, image=image, label=label, hdu=hdu)
            record = run_training(labelled, out, config, recipe, fit_config, also=also or (), extra=more, **how)
    _show_trained(record, out, as_json=as_json)


@app.command()
@claiming
def evaluate(
    source: Labelled,
    image: Image = None,
    label: Label = None,
    model: Model = None,
    hdu: Hdu = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", help="What labels mean, as in smooth=elliptical,lenticular; `merger=` leaves rows out."),
    ] = None,
    by: By = None,
    tta: Tta = False,
    device: Device = None,
    out: OutReport = None,
    as_json: AsJson = False,
) -> None:
    """Measure a model: on the rows held out of its training if the set is the same, else on all rows."""
    from attn.apps.galaxy.evaluate import HEADLINES, Evaluation
    from attn.apps.galaxy.evaluate import evaluate as measure
    from attn.apps.galaxy.evaluate_number import HEADLINES as OF_NUMBERS
    from attn.apps.galaxy.evaluate_number import NumberEvaluation
    from attn.apps.galaxy.evaluate_number import evaluate_number as measure_number
    from attn.data_adapters.sky.labelled import open_galaxies

    predictor = _load(model, device)
    number = predictor.number
    if number is not None:
        no_effect("for a model that answers with a number", map=mapping)
    labelled = open_galaxies(source, image=image, label=label or (None if number is None else number.name), hdu=hdu)
    evaluation: Evaluation | NumberEvaluation
    with console.progress(len(labelled), "measuring") as advance:
        if number is not None:
            evaluation = measure_number(predictor, labelled, by=by, tta=tta, advance=advance)
        else:
            evaluation = measure(predictor, labelled, by=by, tta=tta, mapping=mapping or (), advance=advance)
    which = evaluation.measured_on
    report = {"model": predictor.record.name, "measured_on": which, **evaluation.report()}
    if out is not None:
        console.write_report(out, report, *evaluation.pictures(out))
    if as_json:
        console.print_json(report)
    else:
        console.say(f"model {report['model']}, measured on {which}")
        console.show_table(
            [{"measure": key, **report[key]} for key in (HEADLINES if number is None else OF_NUMBERS)],
            title="with 95 % bootstrap intervals",
        )
        console.show_table(report.get("per_class", []), title="per class")
        console.show_table(report.get("groups", []), title=f"by {by}")
        for id, reason in evaluation.failed.items():
            console.say(f"not measured: {id}: {reason}")
    if evaluation.failed:
        raise typer.Exit(1)


for verb in (predict, similar, anomalies):
    app.command()(verb)


@app.command()
@claiming
def explain(
    inputs: Inputs,
    model: Model = None,
    hdu: Hdu = None,
    device: Device = None,
    out: OutFolder = Path("explained"),
    as_json: AsJson = False,
) -> None:
    """Draw where the model looked (attention) and what it needed (occlusion); the arrays go to .npz."""
    from attn.apps.galaxy.explain import explain as explain_one
    from attn.apps.galaxy.read import SUFFIXES
    from attn.data_adapters.paths import expand_inputs

    predictor = _load(model, device)

    def act(path: Path, name: str) -> dict[str, object]:
        explanation = explain_one(predictor, path, hdu)
        picture, arrays = explanation.save(out, name)
        return {"label": explanation.prediction.label, "picture": str(picture), "arrays": str(arrays)}

    rows = console.each(expand_inputs(inputs, SUFFIXES), act, ("label", "picture", "arrays"), label="explaining")
    console.show_rows(rows, None, as_json=as_json)


@app.command()
def calibrate(
    source: Labelled,
    image: Image = None,
    label: Label = None,
    hdu: Hdu = None,
    model: Model = None,
    device: Device = None,
    out: OutModel = None,
    as_json: AsJson = False,
) -> None:
    """Fit the probabilities to labelled images the model has not seen, and store the fit in the model."""
    from attn.apps.galaxy.evaluate import calibrate as fit_calibration
    from attn.data_adapters.sky.labelled import open_galaxies

    with claimed(own_model(model, out)) as to:
        labelled = open_galaxies(source, image=image, label=label, hdu=hdu)
        fitted = fit_calibration(model, labelled, to, device=device)
    console.show_answer({"written": str(to), **fitted}, as_json=as_json)


@app.command()
def export(
    out: OutExport,
    model: Model = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Write the model as ONNX, checked against PyTorch, with what it takes to classify files without attn.

    --out is a folder for the model and a script, or an .onnx file for the model alone.
    """
    from attn.apps.galaxy.export import export as write_onnx

    difference = write_onnx(_load(model, device), out)
    console.show_answer({"written": str(out), "largest_difference": difference, "batches": [1, 3, 16]}, as_json=as_json)


def _show_trained(record: "ModelRecord", out: Path, *, as_json: bool) -> None:
    from attn.apps.galaxy.evaluate import HEADLINES
    from attn.apps.galaxy.evaluate_number import HEADLINES as OF_NUMBERS

    shown = ("measured_on", *(HEADLINES if record.labels else OF_NUMBERS))
    headlines = {name: record.metrics[name] for name in shown}
    console.show_answer(record.model_dump() if as_json else {"written": str(out), **headlines}, as_json=as_json)


def _load(model: str | None, device: str | None = None) -> "GalaxyPredictor":
    from attn.apps.galaxy.predict import GalaxyPredictor

    return GalaxyPredictor.load(model, device=device)
