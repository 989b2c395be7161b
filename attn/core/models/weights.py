"""Tensors in a safetensors file, whose header is checked before any of them takes memory."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from attn.core.errors import ModelError

MAX_HEADER_BYTES = 100 * 2**20  # the safetensors format's own limit
MAX_WEIGHT_BYTES = 64 * 2**30

COPY_AGAIN = "download or copy the model again"


@dataclass(frozen=True)
class Stored:
    """What the header says of one tensor: the format's name of its type (F32, BF16, I64, ...) and its shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def floating(self) -> bool:
        """Whether a layer's weights may be stored so."""
        return self.dtype in ("F64", "F32", "F16", "BF16")

    @property
    def whole(self) -> bool:
        """Whether it holds whole numbers."""
        return self.dtype[:1] in ("I", "U")


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors of any device to `path`, for those to read who may read its folder.

    Tensors that share memory are stored twice. Raises OSError where the file cannot be written.
    """
    try:
        save_file(_independent(tensors), path, metadata=metadata)
    except SafetensorError as error:  # the library's own error for a full disk
        raise OSError(None, _reason(error), str(path)) from error
    path.chmod(path.parent.stat().st_mode & 0o666)  # safetensors lets only the owner read what it writes


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of `path`, on the CPU. Raises ModelError for a file whose header does not fit its size."""
    read_header(path)
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ModelError(f"cannot be read ({error})", where=path, hint=COPY_AGAIN) from error
    return tensors


def read_header(path: Path) -> dict[str, Stored]:
    """Type and shape of every tensor in `path`. Raises ModelError for a header that does not fit the file's size.

    A safetensors file is 8 bytes of header length, a JSON header, then tensors at the declared offsets.
    """
    try:
        size = path.stat().st_size
        if size > MAX_WEIGHT_BYTES:
            raise ModelError(f"has {size} bytes, more than the {MAX_WEIGHT_BYTES} allowed", where=path)
        with path.open("rb") as file:
            header_bytes = int.from_bytes(file.read(8), "little")
            if size < 8 or header_bytes > min(size - 8, MAX_HEADER_BYTES):
                raise ModelError("is not a safetensors file, or its beginning is damaged", where=path, hint=COPY_AGAIN)
            text = file.read(header_bytes)
    except OSError as error:
        raise ModelError(f"cannot be read ({error.strerror})", where=path) from error
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        stored = {name: Stored(_kind(tensor["dtype"]), _shape(tensor["shape"])) for name, tensor in header.items()}
        declared = 8 + header_bytes + max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
    except (ValueError, RecursionError, AttributeError, LookupError, TypeError) as error:
        raise ModelError("has no readable safetensors header", where=path, hint=COPY_AGAIN) from error
    if declared != size:
        raise ModelError(f"has {size} bytes, its header declares {declared}", where=path, hint=COPY_AGAIN)
    return stored


def count(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """How many tensors, parameters and bytes."""
    return {
        "tensors": len(tensors),
        "parameters": sum(tensor.numel() for tensor in tensors.values()),
        "bytes": sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()),
    }


def _independent(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU, contiguous, and no two in the same memory, which safetensors refuses."""
    kept: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        storage = tensor.untyped_storage().data_ptr()
        kept[name] = tensor.clone() if storage in seen else tensor
        seen.add(storage)
    return kept


def _kind(dtype: object) -> str:
    if not isinstance(dtype, str) or not dtype.isalnum() or len(dtype) > 16:
        raise ValueError("not a type")
    return dtype


def _shape(sizes: Any) -> tuple[int, ...]:
    if (
        not isinstance(sizes, list)
        or len(sizes) > 16
        or not all(type(size) is int and 0 <= size < 2**63 for size in sizes)
    ):
        raise ValueError("not a shape")
    return tuple(sizes)


def _reason(error: SafetensorError) -> str:
    """`Error while serializing: I/O error: No space left on device (os error 28)` without what is around it."""
    return str(error).split("error: ")[-1].split(" (os error")[0].strip() or "cannot be written"
