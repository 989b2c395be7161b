"""`model.json`: everything that prediction needs to know of a model, so that its folder is the only argument."""

import hashlib
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from attn.core.errors import ModelError

SCHEMA_VERSION = 2
WEIGHTS, RECORD, CARD = "model.safetensors", "model.json", "README.md"
MAX_RECORD_BYTES = 64 * 2**20
PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")  # no separator, no pattern, not hidden

# From schema version n to n + 1. A renamed key is one entry here, and folders written before the change keep
# loading. Version 2 has `verb` and `files`, which older records can do without.
MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: dict}


LICENCE = "Apache-2.0"  # of a model that begins from nothing, or from a shared start


class ModelRecord(BaseModel):
    """What `model.json` holds."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA_VERSION
    app: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    verb: str = Field(default="predict", pattern=r"^[a-z][a-z0-9_]*$")
    """The command that uses the model, as in `attn APP predict`."""
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
    licence: str = LICENCE
    versions: dict[str, str] = {}
    """attn, torch and python that wrote the folder; filled by `save`."""
    weights: dict[str, int] = {}
    """Tensors, parameters and bytes of `model.safetensors`, which must match on loading; filled by `save`."""
    files: dict[str, str] = {}
    """The other files of the folder with the SHA-256 of each, which must match on loading; filled by `save`."""
    seed: int | None = None

    def text(self) -> str:
        """JSON. Numbers that are not finite become null, bytes of file names that are not UTF-8 become escapes."""
        return json.dumps(_plain(self.model_dump()), indent=2, ensure_ascii=False) + "\n"

    @field_validator("labels")
    @classmethod
    def _all_different(cls, labels: list[str]) -> list[str]:
        """Probabilities go by label."""
        if len({*labels}) < len(labels):
            raise ValueError("two labels are the same")
        return labels

    @field_validator("name", mode="before")
    @classmethod
    def _unicode(cls, name: object) -> object:
        """A model is usually named after its folder, and the bytes of that name may be anything."""
        return _plain(name) if isinstance(name, str) else name

    @field_validator("files")
    @classmethod
    def _plain_names(cls, files: dict[str, str]) -> dict[str, str]:
        """A record from elsewhere must not reach out of its folder, nor have a whole repository downloaded."""
        for name in files:
            if name == RECORD or not PLAIN_NAME.fullmatch(name):
                raise ValueError(f"{name!r} cannot be a file of a model")
        if len(files) > 16:
            raise ValueError(f"{len(files)} files are more than the 16 that a model may have")
        return files


def fingerprint(record: ModelRecord) -> str:
    """By which other files name a model: the SHA-256 of its weights, or of its record where that is not known."""
    return record.files.get(WEIGHTS) or hashlib.sha256(record.text().encode()).hexdigest()


def load_record(folder: str | Path) -> ModelRecord:
    """Read `model.json`. Raises ModelError when it is missing, broken or from a newer version."""
    path = Path(folder) / RECORD
    values = _read_json(path)
    schema_version = values.get("schema_version")
    if type(schema_version) is not int or schema_version < 1:
        raise ModelError(f"schema_version is {schema_version!r:.40}, not a number from 1", where=path)
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
        faults = [f"{'.'.join(map(str, e['loc']))}: {e['msg'].lower()}" for e in error.errors(include_url=False)]
        more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
        raise ModelError(f"does not describe a model: {', '.join(faults[:3])}{more}", where=path) from error


def what_is_in(folder: Path) -> str:
    """For a hint: what the user finds there instead of a model."""
    if folder.is_file():
        return f"give the folder that holds {RECORD}, not a file"
    if not folder.is_dir():
        return "there is no such folder"
    names = sorted(path.name for path in folder.iterdir())
    if not names:
        return "the folder is empty"
    return f"it holds {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_RECORD_BYTES:
            raise ModelError(f"is larger than {MAX_RECORD_BYTES} bytes, too large for a record", where=path)
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise ModelError("is missing", where=path, hint=what_is_in(path.parent)) from error
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}", where=path) from error
    try:
        values = json.loads(data, parse_constant=_finite, parse_float=_finite)
        json.dumps(values, ensure_ascii=False).encode()  # half a surrogate pair cannot be printed
    except UnicodeEncodeError as error:
        raise ModelError(
            f"holds text that is not Unicode: {error.object[error.start : error.end]!a}", where=path
        ) from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"is not JSON ({error})", where=path) from error
    if not isinstance(values, dict):
        raise ModelError("is not a JSON object", where=path)
    return values


def _plain(value: Any) -> Any:
    """The same value, made of what JSON can hold."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_plain(str(name)): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _finite(text: str) -> float:
    """A finite number. Python's JSON reader would take NaN, Infinity and 1e999 as well."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is not a finite number")
    return value


def licence_after(start: ModelRecord | None) -> str:
    """The licence of a model that begins from the weights of `start`: theirs."""
    return LICENCE if start is None else start.licence
