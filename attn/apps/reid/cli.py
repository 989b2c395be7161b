"""The `attn reid` commands: they read options, call the other rooms and show what comes back."""

from pathlib import Path
from typing import Annotated, Any

import typer

from attn import console
from attn.apps.reid.cli_measure import evaluate
from attn.apps.reid.options import Columns, Labelled
from attn.core.errors import UsageError
from attn.options import (
    AsJson,
    Depth,
    Heads,
    Inputs,
    OutFolder,
    OutTable,
    Run,
    Start,
    Variant,
    Width,
    count,
    grouped,
    no_effect,
    resumable,
    share,
)

app = typer.Typer(no_args_is_help=True, help="Individuals: photographs told apart and found again.")


@grouped
def inspect(inputs: Inputs, columns: Columns = Columns(), out: OutTable = None, as_json: AsJson = False) -> None:
    """Say what is in photographs or in a labelled set, which pictures are copies, and what is wrong."""
    from attn.apps.reid.inspect import COLUMNS, inspect_file, inspect_labelled, is_labelled, list_photographs

    if len(inputs) == 1 and is_labelled(inputs[0]):
        found = inspect_labelled(columns.open(Path(inputs[0])))
        for remark in found.remarks:
            console.say(remark)
        console.show_rows(found.rows, out, title=inputs[0], as_json=as_json)
        return
    no_effect("on files: it is about a labelled set", **vars(columns))
    paths = list_photographs(inputs)
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
    start: Start = None,
    run: Run = Run(epochs=40, batch_size=64, learning_rate=2e-3),
    as_json: AsJson = False,
) -> None:
    """Train a model on your own photographs; writes a model folder. Some individuals are held out to choose by."""
    from attn.apps.reid.start import architecture
    from attn.apps.reid.train import Recipe
    from attn.apps.reid.train import train as run_training

    _one_of("task", task, ("identify", "classify"))
    _one_of("pool", pool, ("class", "mean", None))
    _one_of("mirror", mirror, ("same", "another", "none", None))
    if size is None:
        no_effect("without --size", height=height)
    changes: dict[str, Any] = {"width": width, "depth": depth, "heads": heads, "pairs": pairs, "pool": pool}
    changes |= {"image_size": None if size is None else (height or size, size)}
    changes = {name: value for name, value in changes.items() if value is not None} | {"task": task}
    if local is not None:
        changes["local"] = local or None
    recipe: dict[str, Any] = {"learning_rate": run.learning_rate, "batch_size": run.batch_size, "mirror": mirror}
    individuals = columns.open(source)
    for notice in individuals.notices:
        console.say(notice)
    with resumable(out):
        record = run_training(
            individuals,
            out,
            architecture(variant, start, **changes),
            Recipe(images=per_individual, **recipe),
            run.fit_config(),
            start=start,
            resume=run.resume,
        )
    headlines = {name: value for name, value in record.metrics.items() if isinstance(value, str | float)}
    console.show_answer(record.model_dump() if as_json else {"written": str(out), **headlines}, as_json=as_json)


def _one_of(name: str, value: str | None, known: tuple[str | None, ...]) -> None:
    if value not in known:
        said = ", ".join(each for each in known if each)
        raise UsageError(f"--{name} is one of {said}, not {value!r}")


# In the order of `attn reid --help`, which is that of all apps.
for verb in (inspect, train, evaluate):
    app.command()(verb)
