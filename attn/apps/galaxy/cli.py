"""The `attn galaxy` commands: they read options, call the other rooms and show what comes back."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attn import console
from attn.core.errors import UsageError
from attn.core.files import claim
from attn.options import AsJson, Model, OutFolder, OutModel, OutTable, Run, grouped, own_model, resumable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from attn.apps.galaxy.predict import GalaxyPredictor

app = typer.Typer(no_args_is_help=True, help="Galaxies: FITS files and pictures, classified by shape.")

Inputs = Annotated[list[str], typer.Argument(help="FITS files, pictures, folders, globs or list files.")]
Labelled = Annotated[
    Path, typer.Argument(help="A table with paths and labels, a Galaxy10 .h5 file, or a folder per class.")
]
ImageColumn = Annotated[str | None, typer.Option("--image", help="Column with the image's path.")]
LabelColumn = Annotated[str | None, typer.Option("--label", help="Column with the class.")]
Hdu = Annotated[str | None, typer.Option(help="HDU by number or name; the first usable image when not given.")]
Tta = Annotated[bool, typer.Option("--tta", help="Average over the eight turns and mirror images; 8x the work.")]


@app.command()
def predict(
    inputs: Inputs,
    model: Model = None,
    hdu: Hdu = None,
    bands: Annotated[bool, typer.Option("--bands", help="The inputs are one galaxy, one file per band.")] = False,
    catalog: Annotated[
        Path | None,
        typer.Option(help="Classify each source of this table (ra, dec or x, y) in the one survey image given."),
    ] = None,
    detect: Annotated[bool, typer.Option("--detect", help="Find the sources of the survey image first.")] = False,
    tta: Tta = False,
    embeddings: Annotated[bool, typer.Option("--embeddings", help="Add the feature vector.")] = False,
    out: OutTable = None,
    as_json: AsJson = False,
) -> None:
    """Classify galaxies: a label and probabilities for each, a reason for each that cannot be read."""
    from contextlib import nullcontext

    from attn.apps.galaxy.predict import GalaxyPredictor
    from attn.apps.galaxy.read import list_sources
    from attn.core.results.tables import ResultWriter

    predictor = GalaxyPredictor.load(model)
    sources, total = list_sources(
        inputs, bands=bands, catalog=catalog, detect=detect, hdu=hdu, stretch=predictor.preprocessing.stretch
    )
    results = predictor.predict_many(sources, hdu=hdu, tta=tta, embeddings=embeddings)
    writer = nullcontext() if out is None else ResultWriter(out, predictor.labels)
    with writer as table, console.progress(total, "classifying") as advance:

        def written() -> "Iterator[Any]":
            for result in results:
                if table is not None:
                    table.write(result)
                advance()
                yield result

        failed = console.show_predictions(written(), predictor.labels, as_json=as_json)
    if failed:
        console.say(f"{failed} of the inputs could not be classified; see the error column")
        raise typer.Exit(1)


@app.command()
def inspect(
    inputs: Inputs,
    image: ImageColumn = None,
    label: LabelColumn = None,
    hdu: Hdu = None,
    preview: Annotated[
        Path | None, typer.Option(help="Draw what the model would see to this .png, up to 48 images.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what is in files or in a labelled set, what the model would see of them, and what is wrong."""
    from attn.apps.galaxy.inspect import draw_preview, inspect_files, inspect_labelled, is_labelled
    from attn.data_adapters.sky.labelled import open_galaxies
    from attn.data_adapters.sky.stretch import Stretch

    if len(inputs) == 1 and is_labelled(inputs[0]):
        if preview is not None:
            raise UsageError("--preview draws images, not a labelled set", hint="name them, as in 'folder/*/*.jpg'")
        rows = inspect_labelled(open_galaxies(inputs[0], image=image, label=label))
        console.show_table(rows, title=inputs[0], as_json=as_json)
        return
    rows = inspect_files(inputs, hdu=hdu)
    console.show_table(rows, title="inputs", as_json=as_json)
    if preview is not None:
        draw_preview(inputs, preview, Stretch(), hdu=hdu)
    if any(row["error"] for row in rows):
        raise typer.Exit(1)


@app.command()
@grouped
def train(
    source: Labelled,
    out: OutFolder,
    image: ImageColumn = None,
    label: LabelColumn = None,
    also: Annotated[
        list[str] | None, typer.Option(help="Another column learned beside the class; may be repeated.")
    ] = None,
    extra: Annotated[
        Path | None, typer.Option(help="More labelled images, only trained on; a label may be `a|b`, one of the two.")
    ] = None,
    variant: Annotated[str, typer.Option(help="nano, tiny, or A-0 to A-5.")] = "nano",
    mixer: Annotated[str, typer.Option(help="Attention of the last stage; `attn mixers` lists them.")] = "relative",
    size: Annotated[int | None, typer.Option(help="Side of the model's input in pixels.")] = None,
    drop_path: Annotated[float, typer.Option(help="Stochastic depth of the last block.")] = 0.1,
    balance: Annotated[
        float, typer.Option(min=0, max=1, help="0 keeps the classes' frequencies, 1 evens them out.")
    ] = 0.4,
    run: Run = Run(epochs=60, batch_size=64, learning_rate=3e-3),
    as_json: AsJson = False,
) -> None:
    """Train a classifier on your own images and class names; writes a model folder."""
    from attn.apps.galaxy.evaluate import HEADLINES
    from attn.apps.galaxy.model import variant as make_config
    from attn.apps.galaxy.train import Recipe
    from attn.apps.galaxy.train import train as run_training
    from attn.data_adapters.sky.labelled import open_galaxies

    changes: dict[str, Any] = {"mixer": mixer, "drop_path": drop_path} | ({} if size is None else {"image_size": size})
    with resumable(out):
        record = run_training(
            open_galaxies(source, image=image, label=label),
            out,
            make_config(variant, **changes),
            Recipe(learning_rate=run.learning_rate, batch_size=run.batch_size, balance=balance),
            run.fit_config(ema_decay=0.998),
            also=also or (),
            extra=None if extra is None else open_galaxies(extra, image=image, label=label),
            start=run.start,
            resume=run.resume,
        )
    headlines = {name: record.metrics[name] for name in ("measured_on", *HEADLINES)}
    console.show_answer(record.model_dump() if as_json else {"model": str(out), **headlines}, as_json=as_json)


@app.command()
def evaluate(
    source: Labelled,
    image: ImageColumn = None,
    label: LabelColumn = None,
    model: Model = None,
    tta: Tta = False,
    out: Annotated[Path | None, typer.Option(help="Folder for confusion.png and reliability.png.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a model: on the rows held out in its training when the set is the same, else on all of them."""
    from attn.apps.galaxy.evaluate import evaluate as measure
    from attn.data_adapters.sky.labelled import open_galaxies

    if out is not None:
        claim(out)
    predictor = _load(model)
    labelled = open_galaxies(source, image=image, label=label)
    with console.progress(len(labelled), "measuring") as advance:
        evaluation = measure(predictor, labelled, tta=tta, advance=advance)
    which = evaluation.measured_on
    report = {"model": predictor.record.name, "measured_on": which, **evaluation.report()}
    if out is not None:
        report["pictures"] = [str(path) for path in evaluation.pictures(out)]
    if as_json:
        console.print_json(report)
    else:
        console.say(f"model {report['model']}, measured on {which}")
        console.show_table(
            [{"measure": key, **report[key]} for key in ("accuracy", "balanced_accuracy", "macro_f1", "ece")],
            title="with 95 % bootstrap intervals",
        )
        console.show_table(report["per_class"], title="per class")
        for id, reason in evaluation.failed.items():
            console.say(f"not measured: {id}: {reason}")
    if evaluation.failed:
        raise typer.Exit(1)


@app.command()
def explain(
    inputs: Inputs,
    model: Model = None,
    hdu: Hdu = None,
    out: OutFolder = Path("explained"),
    as_json: AsJson = False,
) -> None:
    """Draw where the model looked (attention) and what it needed (occlusion); the arrays go to .npz."""
    from collections import Counter

    from attn.apps.galaxy.explain import explain as explain_one
    from attn.apps.galaxy.read import SUFFIXES
    from attn.core.errors import AttnError
    from attn.data_adapters.paths import expand_inputs

    predictor = _load(model)
    claim(out)
    rows, names = [], Counter[str]()
    for path in expand_inputs(inputs, SUFFIXES):
        row: dict[str, object] = {
            "id": str(path),
            "label": None,
            "picture": None,
            "arrays": None,
            "error": None,
        }
        try:
            explanation = explain_one(predictor, path, hdu)
            row["label"] = explanation.prediction.label
            names[path.name] += 1  # files of one name in several folders
            name = path.name if names[path.name] == 1 else f"{path.name}.{names[path.name]}"
            row["picture"], row["arrays"] = map(str, explanation.save(out, name))
        except UsageError:
            raise
        except AttnError as error:
            row["error"] = str(error)
        rows.append(row)
    console.show_table(rows, as_json=as_json)
    if any(row["error"] for row in rows):
        raise typer.Exit(1)


@app.command()
def calibrate(
    source: Labelled,
    image: ImageColumn = None,
    label: LabelColumn = None,
    model: Model = None,
    out: OutModel = None,
    as_json: AsJson = False,
) -> None:
    """Fit the probabilities to labelled images the model has not seen, and store the fit in the model."""
    from attn.apps.galaxy.evaluate import calibrate as fit_calibration
    from attn.data_adapters.sky.labelled import open_galaxies

    to = own_model(model, out)
    console.show_answer(fit_calibration(model, open_galaxies(source, image=image, label=label), to), as_json=as_json)


@app.command()
def export(
    out: Annotated[Path, typer.Option("--out", help="The .onnx file to write.")],
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Write the model as ONNX (dynamic batch) and check it against PyTorch at batch 1, 3 and 16."""
    from attn.apps.galaxy.export import export as write_onnx

    difference = write_onnx(_load(model), out)
    console.show_answer({"onnx": str(out), "largest_difference": difference, "batches": [1, 3, 16]}, as_json=as_json)


def _load(model: str | None) -> "GalaxyPredictor":
    from attn.apps.galaxy.predict import GalaxyPredictor

    return GalaxyPredictor.load(model)
