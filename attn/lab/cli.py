"""The `attn lab` commands: the list of experiments, and each of them, measured beside predicted."""

from collections.abc import Callable
from contextlib import nullcontext
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from attn import console
from attn.core.errors import UsageError
from attn.lab.experiment import EXPERIMENTS, load, table
from attn.options import AsJson, Seeds

FIGURES = Path("runs") / "lab"  # where a figure goes without --out


def _a_picture(path: Path | None) -> Path | None:
    if path is not None and path.suffix.lower() != ".png":
        raise UsageError("is no name of a .png", where=path, hint="give --out FIGURE.png")
    return path


OutFigure = Annotated[
    Path | None, typer.Option(callback=_a_picture, help="The .png file of the figure; runs/lab/NAME.png if not given.")
]


class Experiments(TyperGroup):
    """A command for each experiment; another name is answered with those that exist."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Raises UsageError for an experiment that does not exist."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            near = get_close_matches(args[0], self.commands, 1, 0.3)
            meant = f"do you mean {near[0]}? " if near else ""
            raise UsageError(f"there is no experiment {args[0]!r}", hint=f"{meant}there are {', '.join(self.commands)}")
        return super().resolve_command(ctx, args)


app = typer.Typer(cls=Experiments, help="Experiments in which theory predicts what attention does.")


@app.callback(invoke_without_command=True)
def lab(context: typer.Context, as_json: AsJson = False) -> None:
    """List the experiments in which theory predicts what attention does, and what each shows.

    `attn lab NAME` runs one, prints measured beside predicted, draws the paper's figure, and ends with exit code 1
    where a prediction fails. With several --seeds it prints the mean and the standard deviation, and every run must
    be as predicted. Each takes at most two minutes on a CPU.
    """
    if context.invoked_subcommand is not None:
        if as_json:
            raise UsageError("--json has no effect before an experiment", hint="write it after the experiment's name")
        return
    console.show_table([{"name": name, "shows": shows} for name, shows in EXPERIMENTS.items()], as_json=as_json)


def run(name: str, seeds: int, out: Path | None, as_json: bool) -> None:
    """Run an experiment with each seed, draw the first, show the table. Exit code 1 where a prediction fails."""
    from matplotlib.figure import Figure

    from attn.core.files import claimed, replacing

    experiment = load(name)
    with claimed(FIGURES) if out is None else nullcontext():
        path = out or FIGURES / f"{name}.png"
        with console.progress(seeds * experiment.steps, name) as advance:
            outcomes = [experiment.run(seed, advance) for seed in range(seeds)]
        figure = Figure(figsize=(11, 4), layout="constrained")
        experiment.draw(figure, outcomes[0])
        for axes in figure.axes:
            axes.spines[["top", "right"]].set_visible(False)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            figure.savefig(part, dpi=120)
    rows = table(experiment.predictions, outcomes)
    if as_json:
        about = {"name": name, "paper": experiment.paper, "setting": experiment.setting, "seeds": seeds}
        console.print_json(
            about | {"rows": rows, "measured": [outcome.measured for outcome in outcomes], "written": [path]}
        )
    else:
        console.say(f"{experiment.paper}: {experiment.setting}")
        console.show_table(rows, title=name)
        console.say(f"figure: {path}")
    failed = [row["quantity"] for row in rows if not row["holds"]]
    if failed:
        console.say(f"{len(failed)} of {len(rows)} predictions failed: {', '.join(failed)}")
        raise typer.Exit(1)


def _command(name: str) -> Callable[..., None]:
    def experiment(seeds: Seeds = 1, out: OutFigure = None, as_json: AsJson = False) -> None:
        run(name, seeds, out, as_json)

    return experiment


for _name, _shows in EXPERIMENTS.items():
    app.command(_name, help=_shows, short_help=_shows)(_command(_name))
