"""What every peer of the CTR comparison returns, the clock it runs by, and the settings that the AutoInts share."""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ctr_data import Dataset, Part
from numpy.typing import NDArray
from sklearn.metrics import log_loss, roc_auc_score

EMBEDDING, LAYERS, HEADS = 16, 3, 2
BATCH, LEARNING_RATE = 1024, 1e-3
PATIENCE = 3  # epochs without a better validation AUC, the one measure that every peer can watch
EPOCHS = 1000  # never reached: patience or the clock ends a training


@dataclass(frozen=True)
class Result:
    peer: str
    setting: str
    seed: int
    auc: float
    logloss: float
    valid_auc: float
    valid_logloss: float
    epochs: int
    seconds: float
    cpu_seconds: float
    parameters: int
    converged: bool
    choice: str


class Clock:
    """Time since it was made. Minutes are those of the processor, so that a busy machine cuts no training short."""

    def __init__(self, minutes: float) -> None:
        self.minutes = minutes
        self.began, self.cpu_began = time.perf_counter(), cpu_seconds()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.began

    @property
    def cpu_seconds(self) -> float:
        return cpu_seconds() - self.cpu_began

    @property
    def over(self) -> bool:
        return self.cpu_seconds > 60 * self.minutes


def descendants(process: int) -> list[int]:
    """The process and all below it that run; Linux only (proc_pid_stat(5))."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            continue
    found = [process]
    for parent in found:
        found += [child for child, of in parents.items() if of == parent]
    return found


def cpu_seconds() -> float:
    """CPU time of this process and its descendants, ended ones included: FuxiCTR reads batches in another process."""
    ticks = 0
    for process in descendants(os.getpid()):
        try:
            values = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        ticks += sum(map(int, values[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def result(
    peer: str,
    data: Dataset,
    seed: int,
    clock: Clock,
    probabilities: Iterable[NDArray[np.floating]],
    parts: Iterable[Part],
    *,
    epochs: int,
    parameters: int,
    converged: bool,
    choice: str = "",
) -> Result:
    """The row of a trained peer, from its probabilities of the validation and the test rows."""
    (valid_auc, valid_logloss), (auc, logloss) = (
        score(p, part.liked) for p, part in zip(probabilities, parts, strict=True)
    )
    return Result(
        peer=peer,
        setting=data.setting,
        seed=seed,
        auc=auc,
        logloss=logloss,
        valid_auc=valid_auc,
        valid_logloss=valid_logloss,
        epochs=epochs,
        seconds=clock.seconds,
        cpu_seconds=clock.cpu_seconds,
        parameters=parameters,
        converged=bool(converged),
        choice=choice,
    )


def score(probabilities: NDArray[np.floating], liked: NDArray[np.int8]) -> tuple[float, float]:
    """AUC and log loss; float64, since a float32 probability rounds to one too early."""
    p = np.asarray(probabilities, np.float64).ravel()
    return float(roc_auc_score(liked, p)), float(log_loss(liked, p))
