"""Weights to begin a training from that ship with the package: no network is asked, and no pickle is read.

One folder here is one start: `model.safetensors` (half precision, without a classifier), its card `README.md`, and
`NOTICE`. It belongs to one kind of module, named in `STARTS`; a model that has such a module in it may begin from it.
"""

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn

from attn.core.blocks.lite0 import Lite0
from attn.core.errors import UsageError
from attn.core.models.folder import load_record, resolve
from attn.core.models.record import ModelRecord

STARTS: dict[str, type[nn.Module]] = {"lite0": Lite0}
"""The module that each start is for, by the start's name."""


def model_record(start: str | Path | None, app: str, bundled: Path) -> ModelRecord | None:
    """The record of the model that `start` names; None for a shared start, for weights of timm, and without a start.

    `bundled` is as in `models.folder.resolve`. Raises ModelError where there is no such model.
    """
    if start is None or start in STARTS or str(start).endswith(".safetensors"):
        return None
    return load_record(resolve(start, app, bundled))


def load(name: str) -> dict[str, Tensor]:
    """The weights and buffers of a start in float32, by their names in its module."""
    tensors: dict[str, Tensor] = load_file(Path(__file__).parent / name / "model.safetensors")
    return {key: value.float() for key, value in tensors.items()}


def begin(model: nn.Module, name: str) -> list[str]:
    """Copy a start into the part of `model` that it is for; the names of the parameters that are now pretrained.

    A module with fewer stages than the start takes what it has. Raises UsageError for a model without such a part.
    """
    parts = [(path, module) for path, module in model.named_modules() if isinstance(module, STARTS[name])]
    if not parts:
        raise UsageError(f"this model cannot begin from {name!r}: it has no {STARTS[name].__name__} in it")
    path, module = parts[0]
    given, wanted = load(name), module.state_dict()
    # How many batches a norm has seen is no weight: its running averages do not depend on it.
    counters = {key: value for key, value in wanted.items() if key.endswith("num_batches_tracked")}
    module.load_state_dict({key: given[key] for key in wanted.keys() - counters.keys()} | counters)
    return [f"{path}.{key}" if path else key for key, _ in module.named_parameters()]


def carry_over(source: nn.Module, target: nn.Module) -> list[str]:
    """Copy every tensor of the same name and shape; return the names of the tensors that were not copied."""
    have, state = source.state_dict(), target.state_dict()
    fits = {name for name, value in state.items() if name in have and have[name].shape == value.shape}
    target.load_state_dict({name: have[name] if name in fits else value for name, value in state.items()})
    return [name for name in state if name not in fits]
