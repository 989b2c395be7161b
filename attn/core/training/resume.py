"""The checkpoint of an unfinished training: one safetensors file, written atomically, read without pickle.

Lightning's own checkpoint is a `torch.save` pickle, and loading a pickle runs whatever is in it. A checkpoint
is only a tree of dicts and lists with tensors and plain values at its leaves, so that is what is stored here:
every tensor under its path in the tree (`optimizer_states.0.state.3.exp_avg`), and the rest as JSON in the
file's header. One file means that the tensors and the values around them never come from different epochs.
Checksums (CRC-32) of the header and of every tensor tell a damaged file from a good one.

What JSON lacks is written as an object with one key that starts with a dollar sign:

    {"$tensor": path, "crc": number}   {"$tuple": [...]}   {"$float": "inf" | "-inf" | "nan"}
    {"$items": [[key, value], ...]}   a dict with a key that is no string or starts with a dollar sign
    {"$counter": [[key, value], ...]}   a collections.Counter (MultiStepLR keeps its milestones in one)
"""

import json
import math
import os
import zlib
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO
from safetensors import safe_open
from torch import Tensor

from attn.core.errors import TrainingError
from attn.core.files import replacing
from attn.core.models.weights import write_tensors

HEADER, CHECKSUM = "attn_checkpoint", "crc"
# Constructor arguments, which Lightning adds; of any type, and not needed, as the caller builds the module.
NOT_NEEDED = ("hyper_parameters", "hparams_name", "datamodule_hyper_parameters", "datamodule_hparams_name")


class SafetensorsIO(CheckpointIO):
    """How Lightning writes and reads checkpoints: its tree, in the format of this module."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write `checkpoint` to `path` atomically."""
        write_tree(Path(path), {key: value for key, value in checkpoint.items() if key not in NOT_NEEDED})

    def load_checkpoint(
        self, path: str | Path, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read the checkpoint at `path`, tensors in main memory; Lightning moves them where they belong."""
        tree: dict[str, Any] = read_tree(Path(path))
        return tree

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete the checkpoint at `path`, if there is one."""
        Path(path).unlink(missing_ok=True)


def write_tree(path: Path, tree: dict[str, Any]) -> None:
    """Write a tree of plain values and tensors; `path` is the old file or the new one, never half of it.

    Raises TrainingError, naming the key, for a leaf that is neither a tensor nor a plain value.
    """
    tensors: dict[str, Tensor] = {}
    header = json.dumps(_pack(tree, "", tensors), allow_nan=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        write_tensors(part, tensors, metadata={HEADER: header, CHECKSUM: str(zlib.crc32(header.encode()))})
        with part.open("rb") as file:
            os.fsync(file.fileno())  # without it, a power cut could leave an empty file under this name


def read_tree(path: Path, *keys: str) -> Any:
    """Read the tree at `path`, or only the part under `keys`; other tensors are then not read.

    Raises TrainingError when the file is missing, damaged, or not one of ours.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            header = metadata.get(HEADER)
            if header is None:
                raise TrainingError("is a safetensors file, but not a training checkpoint", where=path)
            if metadata.get(CHECKSUM) != str(zlib.crc32(header.encode())):
                raise ValueError("its header does not have the checksum that it was written with")
            node = json.loads(header)
            for key in keys:
                node = node[key]
            return _unpack(node, file.get_tensor)
    except TrainingError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise TrainingError(
            f"this checkpoint cannot be read ({reason})", where=path, hint="start anew with another --out"
        ) from error


def _pack(node: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """`node` as JSON can hold it; its tensors go to `tensors` under their path."""

    def child(key: object, value: Any) -> Any:
        return _pack(value, f"{path}.{key}" if path else str(key), tensors)

    if isinstance(node, Tensor):
        name = path if path not in tensors else f"{path}#{len(tensors)}"  # {"a.b": t} and {"a": {"b": t}}
        tensors[name] = node.detach().to("cpu").contiguous()
        return {"$tensor": name, "crc": _crc(tensors[name])}
    if node is None or isinstance(node, (bool, int, str)):
        return node
    if isinstance(node, float):
        return float(node) if math.isfinite(node) else {"$float": str(float(node))}
    if type(node) is list:
        return [child(index, value) for index, value in enumerate(node)]
    if type(node) is tuple:
        return {"$tuple": [child(index, value) for index, value in enumerate(node)]}
    if type(node) in (dict, OrderedDict, Counter):
        for key in node:
            if type(key) not in (str, int):
                raise TrainingError(f"a checkpoint cannot hold the key {key!r} of {path or 'its root'}")
        items = [(key, child(key, value)) for key, value in node.items()]
        if type(node) is Counter:
            return {"$counter": items}
        plain = all(isinstance(key, str) and not key.startswith("$") for key in node)
        return dict(items) if plain else {"$items": items}
    raise TrainingError(
        f"a checkpoint cannot hold {path}, a {type(node).__module__}.{type(node).__qualname__}",
        hint="states may have tensors, numbers, strings, None, lists, tuples and dicts",
    )


def _crc(tensor: Tensor) -> int:
    """Of type, shape and bytes."""
    kind = zlib.crc32(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    return zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, kind)


def _unpack(node: Any, tensor: Callable[[str], Tensor]) -> Any:
    """What `_pack` was given; `tensor` finds one by its name."""
    if isinstance(node, list):
        return [_unpack(value, tensor) for value in node]
    if not isinstance(node, dict):
        return node
    match node:
        case {"$tensor": str(name), "crc": int(crc)}:
            found = tensor(name)
            if _crc(found) != crc:
                raise ValueError(f"the tensor {name} does not have the checksum that it was written with")
            return found
        case {"$tuple": list(values)}:
            return tuple(_unpack(value, tensor) for value in values)
        case {"$float": str(number)}:
            return float(number)
        case {"$items": list(items)}:
            return {key: _unpack(value, tensor) for key, value in items}
        case {"$counter": list(items)}:
            return Counter(dict(items))
        case _:
            return {key: _unpack(value, tensor) for key, value in node.items()}
