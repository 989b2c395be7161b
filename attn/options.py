"""Options that mean the same in every app, written once.

A parameter whose default is a dataclass of options stands for its fields:

    @app.command()
    @grouped
    def train(source: Labelled, out: OutFolder, run: Run = Run(epochs=60), as_json: AsJson = False) -> None: ...
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from attn import console
from attn.core.errors import UsageError

if TYPE_CHECKING:
    from attn.core.training.config import FitConfig

Model = Annotated[str | None, typer.Option(help="Model folder or hf://org/name; the bundled model when not given.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
OutFolder = Annotated[Path, typer.Option("--out", help="Folder to write to.")]
OutTable = Annotated[Path | None, typer.Option("--out", help="Write a .csv, .jsonl or .parquet table.")]
OutModel = Annotated[
    Path | None, typer.Option("--out", help="Folder for the calibrated model; --model itself when not given.")
]


@dataclass(frozen=True, kw_only=True)
class Run:
    """How long to train, on what, and from what: the same options in every app."""

    start: Annotated[
        str | None, typer.Option(help="Begin from this model's weights: a folder, hf://..., or 'bundled'.")
    ] = None
    epochs: Annotated[int, typer.Option(min=1)] = 40
    batch_size: Annotated[int, typer.Option(min=1)] = 64
    learning_rate: Annotated[float, typer.Option(min=0, help="The peak.")] = 3e-3
    patience: Annotated[int | None, typer.Option(min=1, help="Stop after so many epochs without improvement.")] = None
    minutes: Annotated[float | None, typer.Option(min=0, help="Stop after so many minutes.")] = None
    seed: int = 0
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the interrupted run in --out.")] = False
    devices: Annotated[str, typer.Option(help="Number of devices, or 'auto'.")] = "auto"
    nodes: Annotated[int, typer.Option(min=1)] = 1
    strategy: Annotated[str, typer.Option(help="Lightning strategy: auto, ddp, ...")] = "auto"
    precision: Annotated[str, typer.Option(help="Lightning precision: 32-true, bf16-mixed, ...")] = "32-true"

    def fit_config(self, **settings: Any) -> "FitConfig":
        """These, and what the app adds, for `fit`."""
        from attn.core.training.config import FitConfig

        return FitConfig(
            epochs=self.epochs,
            seed=self.seed,
            patience=self.patience,
            max_minutes=self.minutes,
            devices=int(self.devices) if self.devices.isdigit() else self.devices,
            nodes=self.nodes,
            strategy=self.strategy,
            precision=self.precision,
            **settings,
        )


@contextmanager
def resumable(out: Path) -> Iterator[None]:
    """Say on Ctrl-C how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        console.say(f"the same command with --resume goes on with the run in {out}")
        raise


def own_model(model: str | None, out: Path | None) -> Path:
    """Where a changed model goes. Raises UsageError where that would be a model of somebody else."""
    if out is None and (model is None or model.startswith("hf://")):
        raise UsageError("only a model of your own is changed in place", hint="give --out, or its folder as --model")
    return out or Path(str(model))


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Ask for the fields of every dataclass among the command's defaults as options of their own."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {}
    parameters = []
    for parameter in inspect.signature(command).parameters.values():
        group = parameter.default
        if not is_dataclass(group) or isinstance(group, type):
            parameters.append(parameter.replace(annotation=hints[parameter.name]))
            continue
        groups[parameter.name] = group
        own = get_type_hints(type(group), include_extras=True)
        for field in fields(group):
            default = getattr(group, field.name)
            parameters.append(parameter.replace(name=field.name, default=default, annotation=own[field.name]))

    @wraps(command)
    def spread(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = replace(group, **{field.name: given.pop(field.name) for field in fields(group)})
        command(**given)

    spread.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    spread.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return spread
