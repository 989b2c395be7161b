"""The `attn chest` commands: they read options, call the other rooms and show what comes back."""

from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attn import console
from attn.apps.chest.options import Columns, Files, Labelled, load, preprocessing, say_skipped, say_what_it_is_for
from attn.core.errors import UsageError
from attn.core.files import claimed
from attn.options import (
    AsJson,
    By,
    Device,
    Inputs,
    Mixer,
    Model,
    OutExport,
    OutFolder,
    OutModel,
    OutReport,
    OutTable,
    Run,
    StartOfImages,
    Strict,
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
    from attn.apps.chest.predict import ChestPredictor
    from attn.apps.chest.reports import Reports

app = typer.Typer(
    no_args_is_help=True, help="Chest X-rays: DICOM files and pictures, classified. Research use, not a medical device."
)


@app.command()
@grouped
def inspect(
    inputs: Inputs,
    columns: Columns = Columns(),
    files: Files = Files(),
    preview: Annotated[
        Path | None, typer.Option(help="Draw what the model would see to this .png, up to 48 images.")
    ] = None,
    model: Model = None,
    out: OutTable = None,
    as_json: AsJson = False,
) -> None:
    """Say what is in files or in a labelled set, what would be done with the pixels, and what is wrong.

    Nothing of a patient is shown. Research use, not a medical device.
    """
    from attn.apps.chest.inspect import BURNED_IN, Sheet, inspect_files, inspect_labelled, is_labelled
    from attn.data_adapters.dicom.studies import list_entries

    say_what_it_is_for()
    if len(inputs) == 1 and is_labelled(inputs[0], columns.patient):
        if preview is not None:
            raise UsageError("--preview draws images, not a labelled set", hint="name them, as in 'folder/*/*.dcm'")
        no_effect("on a labelled set", model=model, **asdict(files))
        rows = inspect_labelled(columns.open(Path(inputs[0])))
        console.show_rows(rows, out, title=inputs[0], as_json=as_json)
        return
    no_effect("on files: it is about a labelled set", **asdict(columns))
    if preview is None:
        no_effect("without --preview", model=model)
    reading = files.reading()
    sheet = None if preview is None else Sheet(preview, preprocessing(model))
    with console.progress(None, "reading") as advance:
        rows = [*console.counted(inspect_files(list_entries(inputs), reading, say_skipped, sheet), advance)]
    if sheet is not None:
        sheet.save()
        if sheet.burned_in:
            console.say(f"{preview}: {BURNED_IN}")
    console.show_rows(rows, out, title="inputs", as_json=as_json)


@app.command()
@grouped
def train(
    source: Labelled,
    out: OutFolder,
    columns: Columns = Columns(),
    hospital: Annotated[
        str | None,
        typer.Option(help="Column with the hospital: its images are drawn evenly, and the gate is fitted by it."),
    ] = None,
    others: Annotated[
        Path | None,
        typer.Option(help="Folder of images that are no frontal chests, to teach the gate; laterals in lateral/."),
    ] = None,
    variant: Variant = None,
    mixer: Mixer = None,
    size: Annotated[int | None, count("Side of the model's input in pixels.", least=32, most=8192)] = None,
    balance: Annotated[float, share("0 keeps the classes' frequencies, 1 evens them out.")] = 0.5,
    start: StartOfImages = None,
    run: Run = Run(epochs=15, batch_size=32, learning_rate=3e-3),
    as_json: AsJson = False,
) -> None:
    """Train a classifier and its gate on your own radiographs; writes a model folder. Patients never cross a split.

    Research use, not a medical device.
    """
    from attn.apps.chest.model import Medusa
    from attn.apps.chest.start import architecture
    from attn.apps.chest.train import Recipe
    from attn.apps.chest.train import train as run_training
    from attn.core.settings import buildable

    say_what_it_is_for()
    changes: dict[str, Any] = {"mixer": mixer, "image_size": size}
    changes = {name: value for name, value in changes.items() if value is not None}
    config, fit_config = buildable(architecture(variant, start, **changes), Medusa), run.fit_config(ema_decay=0.998)
    with resumable(out):
        record = run_training(
            columns.open(source),
            out,
            config,
            Recipe(learning_rate=run.learning_rate, batch_size=run.batch_size, balance_classes=balance),
            fit_config,
            by=hospital,
            others=others,
            start=start,
            resume=run.resume,
        )
    headlines = {name: value for name, value in record.metrics.items() if isinstance(value, str | float)}
    console.show_answer(record.model_dump() if as_json else {"written": str(out), **headlines}, as_json=as_json)


@app.command()
@claiming
@grouped
def evaluate(
    source: Labelled,
    columns: Columns = Columns(),
    model: Model = None,
    by: By = None,
    prevalence: Annotated[
        float | None, number("How frequent a class is where PPV and NPV are to hold.", least=1e-6, most=1 - 1e-6)
    ] = None,
    device: Device = None,
    out: OutReport = None,
    as_json: AsJson = False,
) -> None:
    """Measure a model on the images that it has not seen; intervals resample patients. --by takes several, as in a,b.

    Research use, not a medical device.
    """
    from attn.apps.chest.evaluate import SHOWN
    from attn.apps.chest.evaluate import evaluate as measure

    predictor = load(model, device)
    studies = columns.open(source)
    with console.progress(len(studies), "measuring") as advance:
        evaluation = measure(predictor, studies, by=by.split(",") if by else (), prevalence=prevalence, advance=advance)
    report = {"model": predictor.record.name, "measured_on": evaluation.measured_on, **evaluation.report()}
    if out is not None:
        console.write_report(out, report, *evaluation.pictures(out))
    if as_json:
        console.print_json(report)
    else:
        console.say(f"model {report['model']}, measured on {report['measured_on']}")
        heads = [{"measure": name, "value": report[name]} for name in SHOWN if name in report]
        console.show_table(heads, title="with 95 % intervals that resample patients")
        console.show_table(report["per_class"], title="each class against the rest, positive from its threshold up")
        if not evaluation.thresholds:
            console.say("the model has no operating points, so that classes count from 0.5 up; calibrate chooses them")
        console.show_table(report.get("groups", []), title=f"by {by}")
        for reason in evaluation.failed.values():
            console.say(f"not measured: {reason}")
    if evaluation.failed:
        raise typer.Exit(1)


@app.command()
@grouped
def predict(
    inputs: Inputs,
    model: Model = None,
    files: Files = Files(),
    strict: Strict = False,
    dicom_out: Annotated[
        Path | None, typer.Option(help="Folder for a Structured Report and a heat map of each image, as DICOM.")
    ] = None,
    pseudonym: Annotated[
        Path | None, typer.Option(help="Key file: what --dicom-out writes has pseudonyms instead of the identity.")
    ] = None,
    device: Device = None,
    out: OutTable = None,
    as_json: AsJson = False,
) -> None:
    """Classify radiographs: a label and probabilities for each, a reason for each that cannot be read.

    Research use, not a medical device.
    """
    from attn.data_adapters.dicom.studies import list_entries

    if dicom_out is None:
        no_effect("without --dicom-out", pseudonym=pseudonym)
    reading = files.reading()
    predictor = load(model, device)
    answering = predictor if dicom_out is None else _reports(dicom_out, predictor, pseudonym)
    with console.progress(None, "classifying") as advance:
        results = answering.predict_many(list_entries(inputs), reading, strict=strict, skipped=say_skipped)
        counted = console.counted(results, advance)
        failed = console.give_predictions(counted, predictor.labels, out, as_json=as_json)
    console.end(failed)


@app.command()
@grouped
def explain(
    inputs: Inputs,
    model: Model = None,
    files: Files = Files(),
    device: Device = None,
    out: OutFolder = Path("explained"),
    as_json: AsJson = False,
) -> None:
    """Draw where the model looked and what it needed, and say which of these maps are no better than random ones.

    For one image, --out may be a .png file. The arrays go to .npz, the numbers to .json.
    Research use, not a medical device.
    """
    from attn.apps.chest.explain import explain_each
    from attn.apps.chest.inspect import BURNED_IN
    from attn.data_adapters.dicom.flags import Flag
    from attn.data_adapters.dicom.studies import list_entries

    reading = files.reading()
    # A picture alone may lie in a folder of the user's.
    with nullcontext() if out.suffix.lower() == ".png" else claimed(out):
        predictor = load(model, device)
        with console.progress(None, "explaining") as advance:
            found = explain_each(predictor, list_entries(inputs), reading, out, say_skipped)
            rows = [*console.counted(found, advance)]
        if any(Flag.BURNED_IN in str(row["flags"]).split(";") for row in rows):
            console.say(f"{out}: {BURNED_IN}")
        console.show_rows(rows, None, as_json=as_json)


@app.command()
@grouped
def calibrate(
    source: Labelled,
    columns: Columns = Columns(),
    model: Model = None,
    sensitivity: Annotated[float, number("Least sensitivity of each operating point.", least=0.01, most=1)] = 0.95,
    device: Device = None,
    out: OutModel = None,
    as_json: AsJson = False,
) -> None:
    """Fit probabilities and operating points to images of patients the model has not seen; store them in the model.

    Research use, not a medical device.
    """
    from attn.apps.chest.calibrate import calibrate as fit_calibration

    say_what_it_is_for()
    with claimed(own_model(model, out)) as to:
        fitted = fit_calibration(model, columns.open(source), to, sensitivity=sensitivity, device=device)
    if as_json:
        console.print_json({"written": str(to), **fitted})
        return
    points = fitted["operating_points"]
    console.show_answer({"written": str(to), **{name: v for name, v in fitted.items() if not isinstance(v, dict)}})
    console.show_table([{"label": label, **point} for label, point in points.items()], title="operating points")


@app.command()
def export(out: OutExport, model: Model = None, device: Device = None, as_json: AsJson = False) -> None:
    """Write gate, model and calibration as one ONNX file (dynamic batch), checked at batch 1, 3 and 16.

    Research use, not a medical device.
    """
    from attn.apps.chest.export import BATCHES
    from attn.apps.chest.export import export as write_onnx

    difference = write_onnx(load(model, device), out)
    answer = {"written": str(out), "largest_difference": difference, "batches": [*BATCHES]}
    console.show_answer(answer, as_json=as_json)


def _reports(folder: Path, predictor: "ChestPredictor", pseudonym: Path | None) -> "Reports":
    """The predictor that writes DICOM as well. It says whose identity that holds."""
    from attn.apps.chest.reports import Reports
    from attn.data_adapters.dicom.privacy import read_key

    key = None if pseudonym is None else read_key(pseudonym)
    reports = Reports(folder, predictor, key, console.say)
    if key is None:
        console.say(
            f"{folder} gets the identity of the patients, copied from the images; --pseudonym KEYFILE replaces it"
        )
    return reports
