"""One `fit` for all apps, on Lightning: any number of devices, resumable to the last digit.

An app brings a LightningModule that logs `train_loss` and the monitored value per epoch, and a
LightningDataModule whose training loader uses `EpochSampler`. A run is repeatable from its seed, and an
interrupted one that is resumed ends as the uninterrupted one would have: a checkpoint is written after every
epoch (a kill costs at most one), and all randomness is a function of seed and epoch (seeding.py).
"""

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import FSDPStrategy
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor

from attn.core.errors import AttnError, TrainingError, UsageError
from attn.core.training.config import FitConfig
from attn.core.training.curves import draw_curves
from attn.core.training.ema import EMA
from attn.core.training.journal import Journal, Row, StopAtNaN
from attn.core.training.malloc import keep_freed_memory
from attn.core.training.resume import SafetensorsIO, read_tree
from attn.core.training.same_form import SameForm, require_form
from attn.core.training.same_run import shortened
from attn.core.training.seeding import EpochSampler, SeedEveryEpoch, seed_generators

ANEW = "start anew with another --out"

__all__ = ["EpochSampler", "FitConfig", "FitResult", "fit"]


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """The result of a training, over all its resumed parts.

    `best_state` has the module's state of the best epoch (averaged weights under EMA), in main memory.
    `history` has one row per epoch: epoch (from 0), step, every logged value, seconds since the start.
    """

    best_state: dict[str, Tensor]
    best_value: float
    best_epoch: int
    final_train_loss: float
    history: list[Row]
    seconds: float

    def state_of(self, name: str) -> dict[str, Tensor]:
        """The best state of one submodule, under the names that it has itself."""
        prefix = f"{name}."
        return {key.removeprefix(prefix): v for key, v in self.best_state.items() if key.startswith(prefix)}

    def facts(self) -> dict[str, int | float]:
        """What a model's record says of its training."""
        return {"epochs": len(self.history), "best_epoch": self.best_epoch, "minutes": self.seconds / 60}


def fit(
    module: LightningModule,
    data: LightningDataModule,
    config: FitConfig,
    out: Path,
    *,
    resume: bool = False,
    curves: bool = True,
) -> FitResult:
    """Train `module` on `data`; write checkpoints, metrics.csv and, if `curves`, curves.png to the folder `out`.

    With `resume`, training continues after the last finished epoch of the run in `out`; a run that had finished
    returns its result. With several nodes, `out` must be on a file system that all of them see. The module itself
    ends with the last weights, not the best.

    Raises TrainingError when `out` has an earlier run and `resume` is off; when it has no run and `resume` is on;
    when the earlier run had other settings or another model, or its checkpoint is damaged; when the loss is not
    finite; when a needed value is not logged. Raises UsageError for devices, strategies and precisions that do not
    exist here. On Ctrl-C and SIGTERM raises KeyboardInterrupt, and the run can be resumed.
    """
    ema = None if config.ema_decay is None else EMA(config.ema_decay)
    journal = Journal(config, out, ema)
    rank_zero_only(journal.tidy)()
    if resume:
        take_up(journal, module)
    elif journal.last.exists() and read_tree(journal.last, "callbacks", "Journal", "history"):
        raise TrainingError("holds an earlier run", where=out, hint="--resume it or use another --out")

    if not torch.cuda.is_available():
        keep_freed_memory()
    if not journal.finished:
        with _quiet(), _interruptible():
            trainer = _trainer(config, out, journal, ema, resume=resume)
            seed_generators(config.seed)
            with _reading(journal) if resume else nullcontext():
                trainer.fit(module, datamodule=data, ckpt_path=journal.last if resume else None)
    if journal.best_epoch is None:
        raise TrainingError(f"{config.monitor} was not a finite number in any epoch", where=out)
    if curves:
        rank_zero_only(draw_curves)(journal.history, config.monitor, journal.best_epoch, out / "curves.png")
    return FitResult(
        best_state=_best_state(journal, module),
        best_value=journal.best_value,
        best_epoch=journal.best_epoch,
        final_train_loss=journal.history[-1]["train_loss"],
        history=journal.history,
        seconds=journal.seconds,
    )


def take_up(journal: Journal, module: LightningModule) -> None:
    """Fill `journal` from the run in its folder, after checking that the same run is meant."""
    path = journal.last
    if not path.exists():
        raise TrainingError("nothing to resume", where=path.parents[1], hint="start without --resume")
    with _reading(journal):
        state = read_tree(path, "callbacks", "Journal")
        stored = {str(name): tuple(value.shape) for name, value in read_tree(path, "state_dict").items()}
        config = dict(state["config"])
        journal.load_state_dict(state)
        for name, now in asdict(journal.config).items():
            before = config.get(name)
            may_change = name == "max_minutes" or (name == "epochs" and isinstance(before, int) and now > before)
            if before != now and not may_change:
                raise TrainingError(
                    f"the earlier run was started with {name} = {shortened(before)}, now it is {now}",
                    where=path,
                    hint="resume with the earlier run's settings (epochs may grow), or use another --out",
                )
    if type(module).configure_model is LightningModule.configure_model:  # else the layers are not there yet
        given = {name: tuple(value.shape) for name, value in module.state_dict().items()}
        for name in sorted(stored.keys() | given.keys()):
            if stored.get(name) != given.get(name):
                raise TrainingError(
                    f"the earlier run's model differs: {shortened(name)} is {stored.get(name, 'absent')} there "
                    f"and {given.get(name, 'absent')} here",
                    where=path,
                    hint="resume with the earlier run's model settings, or use another --out",
                )


def _best_state(journal: Journal, module: LightningModule) -> dict[str, Tensor]:
    state: dict[str, Tensor] = read_tree(journal.best, "state_dict")
    try:
        require_form(state, module.state_dict(), "state_dict")
    except TrainingError as error:
        raise TrainingError(error.what, where=journal.best, hint=ANEW) from error
    return state


@contextmanager
def _reading(journal: Journal) -> Iterator[None]:
    """While a checkpoint is read, an exception of any library means that the checkpoint is damaged."""
    try:
        yield
    except AttnError as error:
        if error.where is None and not journal.running:
            raise TrainingError(error.what, where=journal.last, hint=error.hint or ANEW) from error
        raise
    except Exception as error:
        if journal.running:
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise TrainingError(f"this checkpoint cannot be resumed ({reason})", where=journal.last, hint=ANEW) from error


def _trainer(config: FitConfig, out: Path, journal: Journal, ema: EMA | None, *, resume: bool) -> Trainer:
    callbacks: list[Callback] = [
        EndsTogether(),
        SeedEveryEpoch(config.seed),
        StopAtNaN(),
        *([ema] if ema else []),
        journal,
    ]
    callbacks += [SameForm()] if resume else []
    on_terminal = sys.stderr.isatty()
    if on_terminal:
        callbacks.append(RichProgressBar(leave=False, console_kwargs={"stderr": True}))
    trainer = _configured(
        config,
        max_epochs=config.epochs,
        callbacks=callbacks,
        plugins=[SafetensorsIO()],
        logger=_tensorboard(out, journal.history),
        default_root_dir=out,
        enable_progress_bar=on_terminal,
        num_sanity_val_steps=0,
    )
    if isinstance(trainer.strategy, FSDPStrategy) and (ema or resume):
        raise UsageError("fsdp can neither resume nor average weights here", hint="use --strategy ddp")
    return trainer


def require_trainer(config: FitConfig) -> None:
    """Raises UsageError for devices, a strategy and a precision with which this machine cannot train."""
    with _quiet():
        _configured(config, logger=False, enable_checkpointing=False, enable_progress_bar=False)


def _configured(config: FitConfig, **settings: Any) -> Trainer:
    try:
        return Trainer(
            accelerator="auto",
            devices=config.devices,
            num_nodes=config.nodes,
            strategy=config.strategy,
            precision=config.precision,  # type: ignore[arg-type]  # checked by Lightning
            enable_model_summary=False,
            **settings,
        )
    except (MisconfigurationException, ValueError) as error:
        raise UsageError(f"cannot train with these devices, strategy and precision: {error}") from error


def _tensorboard(out: Path, history: list[Row]) -> TensorBoardLogger | bool:
    """TensorBoard logs if TensorBoard is installed; logs of an epoch that is repeated are hidden."""
    if find_spec("tensorboard") is None:
        return False
    first_step = int(history[-1]["step"]) if history else 0
    return TensorBoardLogger(out, name="tensorboard", version="", purge_step=first_step)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's banners, tips and guesses; its errors and true warnings stay."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=PossibleUserWarning)
            # Lightning 2.6 under torch 2.15
            warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class EndsTogether(Callback):
    """On several devices SIGTERM interrupts the first process, as Ctrl-C does, and that one ends the others.

    The handler of Lightning 2.6 would broadcast within the signal, and wait there without end.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the handler's place until Lightning restores what was there before the training."""
        if trainer.world_size > 1 and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_IGN if trainer.local_rank else signal.default_int_handler)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C and SIGTERM raise KeyboardInterrupt.

    Lightning makes both a SystemExit, one that says that all went well for SIGTERM, and leaves Ctrl-C switched off.
    """
    handler = signal.getsignal(signal.SIGINT)
    if os.environ.get("LOCAL_RANK", "0") not in ("", "0"):
        # Ctrl-C reaches all processes of a training. The first ends the others, which must not leave it before.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    except SystemExit as stop:
        if isinstance(stop, SIGTERMException) or isinstance(stop.__context__, KeyboardInterrupt):
            signal.signal(signal.SIGINT, handler)
            raise KeyboardInterrupt from None
        raise
