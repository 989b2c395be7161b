"""The `attn reid` commands: they read options, call the other rooms and show what comes back."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attn import console
from attn.apps.reid.cli_measure import calibrate, cluster, evaluate, explain
from attn.apps.reid.cli_review import confirm
from attn.apps.reid.cli_search import MOST_SAID, search
from attn.apps.reid.options import Columns, Labelled, SaOnly, advancing, load
from attn.core.errors import UsageError
from attn.options import (
    AsJson,
    Depth,
    Device,
    Heads,
    Inputs,
    Mixer,
    Model,
    OutExport,
    OutFolder,
    OutTable,
    Run,
    Split,
    StartOfImages,
    Variant,
    Width,
    count,
    grouped,
    no_effect,
    resumable,
    share,
)

if TYPE_CHECKING:
    from attn.apps.reid.predict import ReIDPredictor
    from attn.data_adapters.images.identities import LabelledIndividuals

app = typer.Typer(no_args_is_help=True, help="Individuals: photographs told apart and found again.")


@grouped
def inspect(inputs: Inputs, columns: Columns = Columns(), out: OutTable = None, as_json: AsJson = False) -> None:
    """Say what is in photographs or in a labelled set, which pictures are copies, and what is wrong."""
    from attn.apps.reid.inspect import COLUMNS, inspect_file, inspect_labelled, is_labelled
    from attn.apps.reid.queries import list_photographs
    from attn.data_adapters.images.photographs import photographs_below

    if len(inputs) == 1 and is_labelled(inputs[0]):
        found = inspect_labelled(columns.open(Path(inputs[0])))
        for remark in found.remarks:
            console.say(remark)
        console.show_rows(found.rows, out, title=inputs[0], as_json=as_json)
        if any(row["unreadable"] for row in found.rows):
            raise typer.Exit(1)
        return
    no_effect("on files: it is about a labelled set", **vars(columns))
    paths = list_photographs(inputs)
    if others := sum(photographs_below(Path(text))[1] for text in inputs if Path(text).is_dir()):
        console.say(f"{others} other files left out")
    rows = console.each(paths, lambda path, _: inspect_file(path), COLUMNS, label="reading")
    console.show_rows(rows, out, title="inputs", as_json=as_json)


@grouped
def train(
    source: Labelled,
    out: OutFolder,
    columns: Columns = Columns(),
    task: Annotated[
        str, typer.Option(help="identify: individuals, also such as it never saw; or classify: the labels it learns.")
    ] = "identify",
    variant: Variant = None,
    mixer: Mixer = None,
    size: Annotated[int | None, count("Side of the model's input in pixels.", least=32, most=8192)] = None,
    height: Annotated[int | None, count("Height of the input, where --size is its width.", least=32, most=8192)] = None,
    width: Width = None,
    depth: Depth = None,
    heads: Heads = None,
    local: Annotated[
        float | None, share("Share of the patches that the local branch looks at again; 0 is no such branch.")
    ] = None,
    pairs: Annotated[
        bool | None, typer.Option("--pairs/--no-pairs", help="Train with the pair branch; the variant's own way else.")
    ] = None,
    pool: Annotated[
        str | None, typer.Option(help="class: by the class token, as in the paper; or mean: of patches, for `explain`.")
    ] = None,
    per_individual: Annotated[int, count("Images of each individual in a training step.", most=1000)] = 4,
    mirror: Annotated[
        str | None,
        typer.Option(help="A mirror image is the same or another individual, or none is made (default with --within)."),
    ] = None,
    start: StartOfImages = None,
    run: Run = Run(epochs=8, batch_size=32, learning_rate=1e-3),
    as_json: AsJson = False,
) -> None:
    """Train a model on your own photographs; writes a model folder. Some individuals are held out to choose by."""
    from attn.apps.reid.inspect import counted
    from attn.apps.reid.model import DCAL
    from attn.apps.reid.start import architecture
    from attn.apps.reid.train import Recipe
    from attn.apps.reid.train import train as run_training
    from attn.core.settings import buildable

    _one_of("task", task, ("identify", "classify"))
    _one_of("pool", pool, ("class", "mean", None))
    _one_of("mirror", mirror, ("same", "another", "none", None))
    if size is None:
        no_effect("without --size", height=height)
    changes: dict[str, Any] = {
        "mixer": mixer,
        "width": width,
        "depth": depth,
        "heads": heads,
        "pairs": pairs,
        "pool": pool,
    }
    changes |= {"image_size": None if size is None else (height or size, size)}
    changes = {name: value for name, value in changes.items() if value is not None} | {"task": task}
    if local is not None:
        changes["local"] = local or None
    recipe: dict[str, Any] = {"learning_rate": run.learning_rate, "batch_size": run.batch_size, "mirror": mirror}
    config, fit_config = buildable(architecture(variant, start, **changes), DCAL), run.fit_config()
    individuals = columns.open(source)
    for sentence in (*counted(individuals), *individuals.notices):
        console.say(sentence)
    with resumable(out):
        record = run_training(
            individuals,
            out,
            config,
            Recipe(images=per_individual, **recipe),
            fit_config,
            start=start,
            resume=run.resume,
        )
    headlines = {name: value for name, value in record.metrics.items() if isinstance(value, str | float)}
    console.show_answer(record.model_dump() if as_json else {"written": str(out), **headlines}, as_json=as_json)


@grouped
def index(
    out: OutFolder,
    photographs: Annotated[
        Path | None, typer.Argument(help="A folder of photographs, or a table with their paths and identities.")
    ] = None,
    columns: Columns = Columns(),
    split: Split = "all",
    add: Annotated[bool, typer.Option("--add", help="Keep what is in the gallery, and add these.")] = False,
    remove: Annotated[
        list[str] | None, typer.Option(help="Take the picture with this id out of the gallery; may be repeated.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only say what is wrong with the gallery: files gone, changed or damaged.")
    ] = False,
    model: Model = None,
    sa_only: SaOnly = False,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Make a gallery to search in, a folder; or add to it, remove from it, check it. A killed run goes on where it was.

    Individuals are those of the table, or of a folder with a folder for each; elsewhere nobody is named.
    """
    from attn.apps.reid.gallery import check as check_gallery
    from attn.apps.reid.gallery import remove as remove_pictures

    if check or remove:
        no_effect("with --check or --remove", add=add, **vars(columns))
        if photographs is not None or (check and remove):
            raise UsageError("photographs, --remove and --check exclude each other", hint="use one of them")
    if check:
        found = [{"gallery": str(out), "error": sentence} for sentence in check_gallery(out)]
        console.show_rows(found or [{"gallery": str(out), "error": None}], None, as_json=as_json)
    elif remove:
        left = remove_pictures(out, remove)
        console.show_answer({"written": str(out), "images": len(left)}, as_json=as_json)
    elif photographs is None:
        raise UsageError("what is to be indexed?", hint=f"attn reid index PHOTOGRAPHS --out {out}")
    else:
        _index(columns.open(photographs, split), out, load(model, device, sa_only=sa_only), add, as_json)


def _index(individuals: "LabelledIndividuals", out: Path, predictor: "ReIDPredictor", add: bool, as_json: bool) -> None:
    from attn.apps.reid.index import conflicts
    from attn.apps.reid.index import index as make_index

    for notice in individuals.notices:
        console.say(notice)
    with console.progress(len(individuals), "indexing") as advance:
        gallery, done = make_index(individuals, advancing(predictor.embed, advance), predictor.id, out, add=add)
    for sentence in conflicts(gallery)[:MOST_SAID]:
        console.say(sentence)
    for id, reason in [] if as_json else done.left_out[:MOST_SAID]:
        console.say(f"left out: {reason if id in reason else f'{id}: {reason}'}")
    names = {*gallery.rows["identity"]} - {""}
    answer = {"written": str(out), "images": len(gallery), "individuals": len(names)}
    answer |= {"unnamed": gallery.rows["identity"].to_list().count(""), "new": done.new, "kept": done.kept}
    left_out: Any = [{"id": id, "error": why} for id, why in done.left_out] if as_json else len(done.left_out)
    console.show_answer({**answer, "left_out": left_out}, as_json=as_json)
    if done.left_out:
        raise typer.Exit(1)


@grouped
def predict(
    inputs: Inputs,
    model: Model = None,
    sa_only: SaOnly = False,
    device: Device = None,
    out: OutTable = None,
    as_json: AsJson = False,
) -> None:
    """Classify photographs with a model of `train --task classify`: a label and probabilities for each."""
    from attn.apps.reid.queries import list_photographs

    predictor = load(model, device, sa_only=sa_only)
    paths = list_photographs(inputs)
    with console.progress(len(paths), "classifying") as advance:
        results = console.counted(predictor.predict_many(paths), advance)
        failed = console.give_predictions(results, predictor.labels, out, as_json=as_json)
    console.end(failed)


def export(
    out: OutExport, model: Model = None, sa_only: SaOnly = False, device: Device = None, as_json: AsJson = False
) -> None:
    """Write the encoder as ONNX (dynamic batch): pixels to vectors; checked against PyTorch at batch 1, 3 and 16."""
    from attn.apps.reid.export import BATCHES
    from attn.apps.reid.export import export as write_onnx

    difference = write_onnx(load(model, device, sa_only=sa_only), out)
    answer = {"written": str(out), "largest_difference": difference, "batches": [*BATCHES]}
    console.show_answer(answer, as_json=as_json)


def _one_of(name: str, value: str | None, known: tuple[str | None, ...]) -> None:
    if value not in known:
        said = ", ".join(each for each in known if each)
        raise UsageError(f"--{name} is one of {said}, not {value!r}")


# In the order of `attn reid --help`, which is that of all apps.
for verb in (inspect, train, evaluate, predict, index, search, confirm, cluster, explain, calibrate, export):
    app.command()(verb)
