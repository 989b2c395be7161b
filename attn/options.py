"""Options that mean the same in every app: one name, one type, one help text, one pair of bounds.

A parameter whose default is a dataclass of options stands for the fields of that dataclass:

    @app.command()
    @grouped
    def train(source: Labelled, out: OutFolder, run: Run = Run(epochs=60), as_json: AsJson = False) -> None: ...
"""

import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from attn import console
from attn.core.errors import UsageError
from attn.core.files import TABLE_SUFFIXES, claimed, table_suffix

if TYPE_CHECKING:
    from attn.core.training.config import FitConfig

MOST_SEED = 2**32 - 1  # what NumPy's and Lightning's generators take
MOST_COUNT = 1_000_000


def count(help: str, *, least: int = 1, most: int = MOST_COUNT) -> Any:
    """An option that takes a whole number within bounds."""
    return typer.Option(min=least, max=most, help=help)


def number(help: str, *, least: float, most: float) -> Any:
    """An option that takes a number within bounds. Without both bounds, NaN or infinity would pass."""
    return typer.Option(min=least, max=most, help=help)


def share(help: str) -> Any:
    """An option that takes a number from 0 to 1."""
    return number(help, least=0, most=1)


def _no_name_is_the_default(model: str | None) -> str | None:
    return None if model == "bundled" else model


def _device_here(device: str | None) -> str | None:
    if device is None or device == "cpu":
        return device
    if not re.fullmatch(r"mps|cuda(:[0-9]{1,3})?", device):
        raise typer.BadParameter(f"{device!r} is not cpu, mps, cuda or cuda:N.")
    import torch

    number = int(device.partition(":")[2] or 0)
    if not (torch.backends.mps.is_available() if device == "mps" else number < torch.cuda.device_count()):
        raise typer.BadParameter(f"this machine has no {device}.")
    return device


def _a_table(path: Path | None) -> Path | None:
    if path is not None:
        table_suffix(path)
    return path


def _known_devices(devices: str) -> str:
    if devices != "auto" and not re.fullmatch(r"[1-9][0-9]{0,3}", devices):
        raise typer.BadParameter(f"{devices!r} is neither 'auto' nor a number from 1 to 9999.")
    return devices


# Inputs and models.
Inputs = Annotated[list[str], typer.Argument(help="Files, folders, quoted globs, or list files (.txt) of them.")]
Model = Annotated[
    str | None,
    typer.Option(
        callback=_no_name_is_the_default,
        help="Model folder or hf://org/name; 'bundled', the model that ships, when not given.",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(callback=_device_here, help="cpu, mps, cuda or cuda:N; CUDA if there is one when not given."),
]
Weights = Annotated[str, typer.Option(help="Type of the weights in memory: float32, int8 or, in ctr, bfloat16.")]
BatchSize = Annotated[int, count("Examples that the model takes at once.")]
Workers = Annotated[
    int, count("Threads that read inputs ahead, of ctr processes that score; 0 uses none.", least=0, most=256)
]
By = Annotated[str | None, typer.Option(help="Column whose values make groups that are measured as well.")]
Split = Annotated[str, typer.Option(help="train, validation, test, or all.")]
Label = Annotated[str | None, typer.Option(help="Column with the label, where the data do not say which it is.")]
Seed = Annotated[int, count("Seed of all randomness.", least=0, most=MOST_SEED)]
Seeds = Annotated[int, count("How often each is run, with the seeds 0, 1, ...", most=1000)]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="Refuse what is otherwise flagged or avoided: images of another kind, what rules of music mind.",
    ),
]

# What is written.
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the interrupted run in --out.")]
OutFolder = Annotated[Path, typer.Option("--out", help="Folder to write to.")]
Picture = Annotated[
    Path | None, typer.Option(help="Draw the best answers to this .png, those of each query where there are several.")
]
OutReport = Annotated[Path | None, typer.Option("--out", help="Folder for report.json and its pictures.")]
OutTable = Annotated[
    Path | None,
    typer.Option(
        "--out", callback=_a_table, help=f"Write a {', '.join(TABLE_SUFFIXES[:-1])} or {TABLE_SUFFIXES[-1]} table."
    ),
]
OutModel = Annotated[
    Path | None, typer.Option("--out", help="Folder for the calibrated model; --model itself when not given.")
]
OutExport = Annotated[Path, typer.Option("--out", help="The .onnx file to write, or a folder where the app has one.")]

# Sizes of a network, and what it begins with.
Start = Annotated[
    str | None,
    typer.Option(help="Begin from these weights: a folder, hf://org/name, or 'bundled'."),
]
StartOfImages = Annotated[
    str | None,
    typer.Option("--start", help="Begin from these weights: a folder, hf://org/name, 'bundled', or 'lite0'."),
]
Variant = Annotated[
    str | None,
    typer.Option(help="Architecture by name, of which a wrong one lists all; that of --start, else a small one."),
]
Mixer = Annotated[
    str | None, typer.Option(help="Attention mechanism, or one for each layer: a,b,c; `attn mixers` lists them.")
]
Width = Annotated[int | None, count("Channels of an attention layer, all heads together.", most=16_384)]
Depth = Annotated[int | None, count("Number of attention layers.", most=256)]
Heads = Annotated[int | None, count("Attention heads of a layer.", most=1024)]
Dropout = Annotated[float | None, number("Share of values that training drops.", least=0, most=0.99)]


@dataclass(frozen=True, kw_only=True)
class Run:
    """How long and on what to train: the same options in every app."""

    epochs: Annotated[int, count("Most passes over the training data.")] = 40
    batch_size: BatchSize = 64
    learning_rate: Annotated[float, number("Highest learning rate of the run.", least=1e-9, most=10)] = 3e-3
    patience: Annotated[int | None, count("Stop after this many epochs without improvement.")] = None
    minutes: Annotated[float | None, number("Stop after this many minutes.", least=0, most=MOST_COUNT)] = None
    seed: Seed = 0
    resume: Resume = False
    devices: Annotated[str, typer.Option(callback=_known_devices, help="Number of devices, or 'auto'.")] = "auto"
    nodes: Annotated[int, count("Number of machines.", most=100_000)] = 1
    strategy: Annotated[str, typer.Option(help="Lightning strategy: auto, ddp, ...")] = "auto"
    precision: Annotated[str, typer.Option(help="Lightning precision: 32-true, bf16-mixed, ...")] = "32-true"

    def fit_config(self, **settings: Any) -> "FitConfig":
        """These options, and the app's own `settings`, for `fit`; UsageError if this machine cannot train so."""
        from attn.core.training.config import FitConfig
        from attn.core.training.fit import require_trainer

        config = FitConfig(
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
        require_trainer(config)
        return config


@contextmanager
def resumable(out: Path) -> Iterator[None]:
    """Say after an interruption how to continue."""
    try:
        yield
    except KeyboardInterrupt:
        if (out / "run" / "checkpoints").exists():
            console.say(f"the same command with --resume continues the run in {out}")
        raise


def claiming(command: Callable[..., None]) -> Callable[..., None]:
    """Claim the folder --out, if there is one, before the command works for it; a command that fails leaves none."""
    default = inspect.signature(command).parameters["out"].default

    @wraps(command)
    def claimed_first(*arguments: Any, **given: Any) -> None:
        out = given.get("out", default)
        with nullcontext() if out is None else claimed(out):
            command(*arguments, **given)

    return claimed_first


def own_model(model: str | None, out: Path | None) -> Path:
    """Where a changed model is written. Raises UsageError if that would be the bundled model or one of the Hub."""
    if out is None and (model is None or model.startswith("hf://")):
        raise UsageError("only a model folder of your own is changed in place", hint="give --out, or --model FOLDER")
    return out or Path(str(model))


def no_effect(because: str, **options: object) -> None:
    """Raise UsageError for the first of `options` that was given, which is: neither None nor False nor a 0.

    The options are named as parameters are. `because` ends the sentence "--name has no effect ...".
    """
    for name, value in options.items():
        if value:
            raise UsageError(f"--{name.replace('_', '-')} has no effect {because}", hint="leave it out")


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
