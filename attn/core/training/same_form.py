"""Whether a checkpoint has the form of the training that it is to continue: the same values at the same places.

A file with good checksums may still be somebody else's, or a program's that got it wrong. What Lightning and PyTorch
restore unchecked would end the run steps or epochs later, in an exception that names no file.
"""

import math
from collections.abc import Mapping
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.optim import Optimizer

from attn.core.errors import TrainingError

LARGEST = 2**63  # of whole numbers: counters, which other code keeps in 64 bits


class SameForm(Callback):
    """Compares optimizers, schedules and loops of a checkpoint with those of the run, before they are restored.

    Raises TrainingError that names the first place where the two differ.
    """

    def __init__(self) -> None:
        self._checkpoint: Mapping[str, Any] = {}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep the checkpoint until the optimizers are there."""
        self._checkpoint = checkpoint

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The optimizers are there, and as new."""
        loops = ("fit_loop", "validate_loop", "test_loop", "predict_loop")
        optimizers = [optimizer.state_dict() for optimizer in trainer.optimizers]
        stored, self._checkpoint = self._checkpoint, {}
        states = stored.get("optimizer_states")
        require_form(states, [state | {"state": ANY} for state in optimizers], "optimizer_states")
        require_form(
            {name: stored.get(name) for name in ("lr_schedulers", "loops")},
            {
                "lr_schedulers": [config.scheduler.state_dict() for config in trainer.lr_scheduler_configs],
                "loops": {name: getattr(trainer, name).state_dict() for name in loops},
            },
        )
        assert isinstance(states, list)  # `require_form` has seen to it
        for number, (state, optimizer) in enumerate(zip(states, trainer.optimizers, strict=True)):
            require_state(state["state"], optimizer, f"optimizer_states.{number}.state")


ANY = object()
"""Stands for a value that `require_form` lets pass."""


def require_form(stored: Any, fresh: Any, at: str = "") -> None:
    """Raise TrainingError unless `stored` could be a later state of `fresh`.

    Dicts have the same keys, lists the same length, texts are equal, numbers are numbers of the same kind.
    """
    if fresh is ANY:
        return
    if isinstance(fresh, Mapping):
        if not isinstance(stored, Mapping):
            raise _differs(at, stored, "a dict")
        if keys := sorted(map(str, stored.keys() ^ fresh.keys())):
            there = "is absent" if any(str(key) == keys[0] for key in fresh) else "does not belong there"
            raise TrainingError(f"its {_name(at, keys[0])} {there}")
        for key, value in fresh.items():
            require_form(stored[key], value, _name(at, key))
    elif isinstance(fresh, list | tuple):
        if not isinstance(stored, list | tuple) or len(stored) != len(fresh):
            raise _differs(at, stored, f"a list of {len(fresh)}")
        for index, (one, other) in enumerate(zip(stored, fresh, strict=True)):
            require_form(one, other, _name(at, index))
    elif isinstance(fresh, Tensor):
        _require_tensor(stored, fresh, at)
    elif isinstance(fresh, bool) or fresh is None or isinstance(fresh, str):
        if type(stored) is not type(fresh) or (isinstance(fresh, str) and stored != fresh):
            raise _differs(at, stored, repr(fresh) if isinstance(fresh, str) else "None" if fresh is None else "a bool")
    elif isinstance(fresh, int):
        if type(stored) is not int or not -LARGEST < stored < LARGEST:
            raise _differs(at, stored, "a whole number")
    elif isinstance(fresh, float) and (type(stored) not in (int, float) or math.isnan(stored)):
        raise _differs(at, stored, "a number")


def require_state(stored: Any, optimizer: Optimizer, at: str) -> None:
    """Raise TrainingError unless the state has what an optimizer keeps of its parameters.

    For each parameter these are scalars and tensors of its shape, under the same names in a group. Not every parameter
    needs a state: one may have had no gradient.
    """
    if not isinstance(stored, Mapping):
        raise _differs(at, stored, "a dict")
    first = 0
    for group in optimizer.param_groups:
        parameters = dict(enumerate(group["params"], first))
        first += len(parameters)
        kept = {index: stored[index] for index in parameters if index in stored}
        names = next((entry.keys() for entry in kept.values() if isinstance(entry, Mapping)), ())
        for index, entry in kept.items():
            if not isinstance(entry, Mapping) or entry.keys() != names:
                raise _differs(_name(at, index), entry, f"a dict of {', '.join(map(str, names))}")
            for name, value in entry.items():
                if not isinstance(value, Tensor) or value.dim():
                    _require_tensor(value, parameters[index], _name(_name(at, index), name))
    if strange := [key for key in stored if key not in range(first)]:
        raise TrainingError(f"its {_name(at, strange[0])} does not belong there")


def _require_tensor(stored: Any, like: Tensor, at: str) -> None:
    if not isinstance(stored, Tensor) or stored.shape != like.shape or stored.is_complex() != like.is_complex():
        raise _differs(at, stored, f"a tensor of shape {tuple(like.shape)}")


def _name(at: str, key: object) -> str:
    return f"{at}.{key}" if at else str(key)


def _differs(at: str, stored: Any, wanted: str) -> TrainingError:
    found = f"a tensor of shape {tuple(stored.shape)}" if isinstance(stored, Tensor) else ascii(stored)
    return TrainingError(f"its {at} is {found if len(found) <= 80 else found[:80] + '...'}, not {wanted}")
