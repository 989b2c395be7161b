"""The `attn galaxy` commands: they read options, call the other rooms and show what comes back."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attn import console
from attn.apps.galaxy.cli_among import anomalies, similar
from attn.apps.galaxy.options import Hdu
from attn.core.errors import UsageError
from attn.core.files import claimed
from attn.options import (
    AsJson,
    BatchSize,
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
    Resume,
    Run,
    StartOfImages,
    Strict,
    Variant,
    Workers,
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
    from attn.data_adapters.sky.detect import Detection

app = typer.Typer(no_args_is_help=True, help="Galaxies: FITS files and pictures, classified by shape.")

Labelled = Annotated[
    Path,
    typer.Argument(help="A table with paths and labels, a Galaxy10 .h5 file, or a folder with a folder per class."),
]
Image = Annotated[str | None, typer.Option(help="Column with the path of the image.")]
Tta = Annotated[bool, typer.Option("--tta", help="Average over the eight turns and mirror images; 8x the work.")]


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
        bool, typer.Option("--probe", help="Fit only a linear classifier, on the frozen features of --start: seconds.")
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
        no_effect(
            "with --probe", target=target, also=also, extra=extra, variant=variant, mixer=mixer, size=size, **others
        )
        labelled = open_galaxies(source, image=image, label=label, hdu=hdu)
        with console.progress(None, "embedding") as advance:
            record = fit_probe(
                labelled,
                out,
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


@dataclass(frozen=True, kw_only=True)
class CatalogColumns:
    """Which columns of the catalogue hold what; those with the usual names when not given."""

    ra: Annotated[str | None, typer.Option(help="Column of --catalog with the right ascension.")] = None
    dec: Annotated[str | None, typer.Option(help="Column of --catalog with the declination.")] = None
    x: Annotated[str | None, typer.Option(help="Column of --catalog with pixels along the rows, from 0.")] = None
    y: Annotated[str | None, typer.Option(help="Column of --catalog with pixels across the rows, from 0.")] = None
    id: Annotated[str | None, typer.Option(help="Column of --catalog with the names of the sources.")] = None

    def chosen(self) -> dict[str, str]:
        """The names that were given."""
        return {meaning: name for meaning, name in asdict(self).items() if name is not None}


@dataclass(frozen=True, kw_only=True)
class Search:
    """What --detect counts as a source."""

    threshold: Annotated[
        float | None,
        number("With --detect: least height above the sky, in its noise; 3 when not given.", least=0.5, most=1e6),
    ] = None
    min_area: Annotated[int | None, count("With --detect: least number of connected pixels; 25 when not given.")] = None
    no_stars: Annotated[
        bool, typer.Option("--no-stars", help="With --detect: leave out what is no larger than the image's stars.")
    ] = False

    def detection(self) -> "Detection":
        """These options, and the usual values of those that were not given."""
        from attn.data_adapters.sky.detect import Detection

        usual = Detection()
        return Detection(self.threshold or usual.threshold, self.min_area or usual.min_area, stars=not self.no_stars)


@app.command()
@grouped
def predict(
    inputs: Inputs,
    image: Image = None,
    model: Model = None,
    hdu: Hdu = None,
    bands: Annotated[
        bool, typer.Option("--bands", help="The inputs are one galaxy or survey image, one file per band.")
    ] = False,
    catalog: Annotated[
        Path | None,
        typer.Option(help="Classify each source of this table (ra, dec or x, y) in the one survey image given."),
    ] = None,
    columns: CatalogColumns = CatalogColumns(),
    detect: Annotated[bool, typer.Option("--detect", help="Find the sources of the survey image first.")] = False,
    search: Search = Search(),
    strict: Strict = False,
    tta: Tta = False,
    embeddings: Annotated[bool, typer.Option("--embeddings", help="Add the feature vector.")] = False,
    batch_size: BatchSize = 16,
    workers: Workers = 4,
    device: Device = None,
    out: OutTable = None,
    resume: Resume = False,
    as_json: AsJson = False,
) -> None:
    """Classify galaxies: a label and probabilities for each, a reason for each that cannot be read.

    An input may be a table with a column of paths; its other columns are carried along.
    """
    from attn.apps.galaxy.read import list_sources
    from attn.core.results.tables import result_schema

    if bands:
        no_effect("with --bands, which takes the first usable image of each file", hdu=hdu)
    if out is None and not as_json:
        no_effect("without --out or --json", embeddings=embeddings)
    if out is None:
        no_effect("without --out", resume=resume)
    if catalog is None:
        no_effect("without --catalog", **columns.chosen())
    if not detect:
        no_effect("without --detect", **asdict(search))
    if catalog is not None or detect:
        no_effect("with a survey image", image=image)
    predictor = _load(model, device)
    sources, total = list_sources(
        inputs,
        predictor.preprocessing.stretch,
        hdu=hdu,
        bands=bands,
        catalog=catalog,
        columns=columns.chosen(),
        detect=search.detection() if detect else None,
        image=image,
        own={
            *result_schema(predictor.labels),
            "anomaly",
            *([] if predictor.number is None else [predictor.number.name]),
        },
    )
    partial, done = None, []
    if out is not None:
        from attn.apps.galaxy.read import source_id
        from attn.core.results.partial import PartialTable, not_among

        settings = {"hdu": hdu, "tta": tta, "strict": strict, "embeddings": embeddings, "catalog": str(catalog or "")}
        partial = PartialTable(out, settings | {"model": [predictor.record.name, predictor.record.files]})
        done = partial.ids() if resume else []
        sources = not_among(done, sources, source_id)
    with console.progress(total and total - len(done), "classifying") as advance:
        results = predictor.predict_many(
            sources,
            hdu=hdu,
            tta=tta,
            embeddings=embeddings,
            strict=strict,
            batch_size=batch_size,
            workers=workers,
        )
        counted = console.counted(results, advance)
        failed = console.give_predictions(
            counted, predictor.labels, out, as_json=as_json, partial=partial, resume=bool(done)
        )
    console.end(failed)


for verb in (similar, anomalies):
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
