"""A model is a folder that describes itself: `model.safetensors`, `model.json` and the card `README.md`.

`model.json` answers everything prediction needs to know, so that a model folder is the only argument of
`predict`.
"""

import json
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from attn.core.errors import ModelError
from attn.core.files import replacing
from attn.core.models.card import write_card

SCHEMA_VERSION = 1
WEIGHTS, RECORD, CARD = "model.safetensors", "model.json", "README.md"

MAX_RECORD_BYTES = 64 * 2**20
MAX_HEADER_BYTES = 100 * 2**20  # the safetensors format's own limit
MAX_WEIGHT_BYTES = 64 * 2**30

COPY_AGAIN = "download or copy the model again"

# From schema version n to n + 1. A renamed key is one entry here, and folders written before the change keep
# loading.
MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}


class ModelRecord(BaseModel):
    """What `model.json` holds."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA_VERSION
    app: str
    name: str
    architecture: dict[str, Any]
    labels: list[str]
    preprocessing: dict[str, Any] = {}
    calibration: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    data: dict[str, Any] = {}
    """Fingerprint of the training data: files, hash, counts, held_out (ids, or a description)."""
    limits: list[str] = []
    """What the model is known not to do, one sentence each; printed on the card."""
    licence: str = "Apache-2.0"
    versions: dict[str, str] = {}
    """attn, torch and python that wrote the folder; filled by `save`."""
    weights: dict[str, int] = {}
    """Tensors, parameters and bytes of `model.safetensors`, which must match on loading; filled by `save`."""
    seed: int | None = None


def save(folder: str | Path, state: dict[str, Tensor], record: ModelRecord) -> ModelRecord:
    """Write the three files and return the record as written, with `versions` and `weights` filled in.

    Tensors of any device are stored in their own dtype; tensors that share memory are stored twice. Each file
    appears whole, the record after the weights it counts.
    """
    folder = Path(folder)
    tensors = _independent(state)
    record = record.model_copy(
        update={
            "versions": {
                "attn": version("attn"),
                "torch": str(torch.__version__),
                "python": platform.python_version(),
            },
            "weights": _count(tensors),
        }
    )
    text = record.model_dump_json(indent=2)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / WEIGHTS) as part:
        save_file(tensors, part)
        part.chmod(folder.stat().st_mode & 0o666)  # safetensors lets only the owner read what it writes
    with replacing(folder / RECORD) as part:
        part.write_text(text + "\n", encoding="utf-8")
    with replacing(folder / CARD) as part:
        part.write_text(write_card(json.loads(text)), encoding="utf-8")
    return record


def load_record(folder: str | Path) -> ModelRecord:
    """Read `model.json`. Raises ModelError when it is missing, broken or from a newer version."""
    path = Path(folder) / RECORD
    values = _read_json(path)
    schema_version = values.get("schema_version")
    if not isinstance(schema_version, int) or schema_version < 1:
        raise ModelError(f"schema_version is {schema_version!r}, not a number from 1", where=path)
    if schema_version > SCHEMA_VERSION:
        raise ModelError(
            f"has schema version {schema_version}, this attn reads up to {SCHEMA_VERSION}",
            where=path,
            hint="update attn with `pip install -U attn`",
        )
    for step in range(schema_version, SCHEMA_VERSION):
        values = MIGRATIONS[step](values)
    try:
        return ModelRecord.model_validate(values | {"schema_version": SCHEMA_VERSION})
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc']))}: {e['msg'].lower()}" for e in error.errors()]
        more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
        raise ModelError(f"does not describe a model: {', '.join(faults[:3])}{more}", where=path) from error


def load_state(folder: str | Path, record: ModelRecord | None = None) -> dict[str, Tensor]:
    """Read the weights to the CPU; with `record`, check that they are the ones it was written with.

    The header is checked against the size of the file before any tensor is made, so that a truncated or
    hostile file costs no memory. Raises ModelError.
    """
    path = Path(folder) / WEIGHTS
    if not path.is_file():
        raise ModelError("is missing", where=path, hint=_what_is_in(path.parent))
    _check_header(path)
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except SafetensorError as error:
        raise ModelError(f"cannot be read ({error})", where=path, hint=COPY_AGAIN) from error
    if record is not None and record.weights and (found := _count(tensors)) != record.weights:
        raise ModelError(
            f"holds {found['parameters']} parameters in {found['tensors']} tensors, {RECORD} says "
            f"{record.weights.get('parameters')} in {record.weights.get('tensors')}",
            where=path,
            hint="the two files are of different models; copy the folder again",
        )
    return tensors


def resolve(source: str | Path | None, app: str, bundled: str = "") -> Path:
    """The folder of the model named by `source`, once it is known to be one of `app`.

    None is the model that ships inside the package (the one called `bundled` where an app has several),
    "hf://org/name" one on the Hugging Face Hub (downloaded once, then found without a network), anything else a
    folder. Raises ModelError that says what is there instead.
    """
    if source is None:
        folder = Path(__file__).parents[2] / "apps" / app / "weights" / bundled
        hint = f"train one with `attn {app} train` and give its folder as the model"
    elif str(source).startswith("hf://"):
        folder = _download(str(source))
        hint = "this repository was not written by attn"
    else:
        folder = Path(source)
        hint = _what_is_in(folder)
    if not (folder / RECORD).is_file():
        what = (
            f"no {app} model ships with this installation" if source is None else f"is not a model folder: no {RECORD}"
        )
        raise ModelError(what, where=source, hint=hint)
    record = load_record(folder)
    if record.app != app:
        raise ModelError(f"this is a {record.app} model", where=source, hint=f"use it with `attn {record.app}`")
    return folder


def _download(source: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name = source.removeprefix("hf://").strip("/")
    if name.count("/") != 1:
        raise ModelError("is not a model on the Hub", where=source, hint="write hf://organisation/name")
    try:
        return Path(snapshot_download(name, allow_patterns=[WEIGHTS, RECORD, CARD, "*.parquet"]))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"could not be fetched ({first_line.rstrip('.')})",
            where=source,
            hint="check the name and the network, or give a folder that you copied from a machine with both",
        ) from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_RECORD_BYTES:
            raise ModelError(f"is larger than {MAX_RECORD_BYTES} bytes, too large for a record", where=path)
        values = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ModelError("is missing", where=path, hint=_what_is_in(path.parent)) from error
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}", where=path) from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"is not JSON ({error})", where=path) from error
    if not isinstance(values, dict):
        raise ModelError("is not a JSON object", where=path)
    return values


def _check_header(path: Path) -> None:
    """A safetensors file is 8 bytes of header length, a JSON header, then tensors at the declared offsets."""
    size = path.stat().st_size
    if size > MAX_WEIGHT_BYTES:
        raise ModelError(f"has {size} bytes, more than the {MAX_WEIGHT_BYTES} allowed", where=path)
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        if size < 8 or header_bytes > min(size - 8, MAX_HEADER_BYTES):
            raise ModelError("is not a safetensors file, or its beginning is damaged", where=path, hint=COPY_AGAIN)
        try:
            header = json.loads(file.read(header_bytes))
            ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
            declared = 8 + header_bytes + max(ends, default=0)
        except (ValueError, RecursionError, AttributeError, LookupError, TypeError) as error:
            raise ModelError("has no readable safetensors header", where=path, hint=COPY_AGAIN) from error
    if declared != size:
        raise ModelError(f"has {size} bytes, its header declares {declared}", where=path, hint=COPY_AGAIN)


def _independent(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU, contiguous, and no two in the same memory, which safetensors refuses."""
    tensors: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in state.items():
        tensor = tensor.detach().cpu().contiguous()
        storage = tensor.untyped_storage().data_ptr()
        tensors[name] = tensor.clone() if storage in seen else tensor
        seen.add(storage)
    return tensors


def _count(tensors: dict[str, Tensor]) -> dict[str, int]:
    return {
        "tensors": len(tensors),
        "parameters": sum(t.numel() for t in tensors.values()),
        "bytes": sum(t.numel() * t.element_size() for t in tensors.values()),
    }


def _what_is_in(folder: Path) -> str:
    """For a hint: what the user finds there instead of a model."""
    if folder.is_file():
        return f"give the folder that holds {RECORD}, not a file"
    if not folder.is_dir():
        return "there is no such folder"
    names = sorted(p.name for p in folder.iterdir())
    if not names:
        return "the folder is empty"
    return f"it holds {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
