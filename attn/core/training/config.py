"""How long and on what to train; imports nothing heavy, so that a command line may read it."""

from dataclasses import dataclass
from typing import Literal

from attn.core.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How long and on what to train.

    `monitor` is the logged value that says which epoch is best, and `patience` the number of epochs without a
    better one after which training stops; with `rise`, a share, three epochs in a row whose loss is above the best
    by more than that stop it, too. `max_minutes` is a wall-time budget over all resumed parts: it ends
    training before an epoch that, at the length of the last one, would not fit, and cuts off one that turns out
    longer. `ema_decay` turns on the average of the weights (ema.py). `devices`, `nodes`, `strategy` and `precision`
    are Lightning's.

    Raises UsageError for a value that makes no sense.
    """

    epochs: int = 100
    seed: int = 0
    monitor: str = "val_loss"
    mode: Literal["min", "max"] = "min"
    patience: int | None = None
    rise: float | None = None
    ema_decay: float | None = None
    max_minutes: int | float | None = None
    devices: int | str = "auto"
    nodes: int = 1
    strategy: str = "auto"
    precision: str = "32-true"

    def __post_init__(self) -> None:
        for name, least in {"epochs": 1, "seed": 0, "patience": 1, "rise": 0, "max_minutes": 0, "nodes": 1}.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"{name} must be at least {least}, not {value}")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise UsageError(f"ema_decay must lie between 0 and 1, not {self.ema_decay}")
