"""A model is a folder that describes itself: `model.safetensors`, `model.json` and the card `README.md`.

The record holds a hash of every other file of the model, so that a mixture of two models, or half a copy, is not taken
for a model.
"""

import hashlib
import json
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from attn.core.errors import AttnError, ModelError, UsageError
from attn.core.files import is_ours, replacing, sweep
from attn.core.models.card import write_card
from attn.core.models.record import CARD, RECORD, WEIGHTS, ModelRecord, load_record, what_is_in
from attn.core.models.weights import COPY_AGAIN, Stored, count, read_header, read_tensors, write_tensors
from attn.core.outline import outline

__all__ = [
    "COPY_AGAIN", "ModelRecord", "building", "find", "load_network", "load_record", "load_state", "resolve", "save",
]  # fmt: skip

BUNDLED = "bundled"  # instead of a folder: the model that ships with the app
MAX_BUFFER_BYTES = 2**28  # of tensors that the network computes, which are in no file

Network = TypeVar("Network", bound=nn.Module)


def save(
    folder: str | Path,
    state: Mapping[str, Tensor],
    record: ModelRecord,
    files: Mapping[str, Callable[[Path], object]] | None = None,
) -> ModelRecord:
    """Write a model and return the record as written, with `versions`, `weights` and `files` filled in.

    Tensors of any device are stored in their own dtype; tensors that share memory are stored twice. `files` maps the
    names of further files of the model to what writes them. No file is replaced before all are written, and the
    record is replaced last. Raises UsageError where a file would be overwritten that attn did not write.
    """
    folder = Path(folder)
    files = files or {}
    _check_place(folder, [WEIGHTS, RECORD, CARD, *files])
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    versions = {"attn": version("attn"), "torch": str(torch.__version__), "python": platform.python_version()}
    with ExitStack() as stack:  # it closes the last file first
        record_part, card_part, weights_part, *parts = (
            stack.enter_context(replacing(folder / name)) for name in (RECORD, CARD, WEIGHTS, *files)
        )
        write_tensors(weights_part, state)
        hashes = {WEIGHTS: _hash(weights_part)}
        for part, (name, write) in zip(parts, files.items(), strict=True):
            write(part)
            hashes[name] = _hash(part)
        record = record.model_copy(update={"versions": versions, "weights": count(state)})
        card_part.write_text(write_card(json.loads(record.text())), encoding="utf-8")
        record = record.model_copy(update={"files": hashes | {CARD: _hash(card_part)}})
        record_part.write_text(record.text(), encoding="utf-8")
    return record


def load_state(folder: str | Path, record: ModelRecord | None = None) -> dict[str, Tensor]:
    """Read the weights to the CPU; with `record`, check that they are the ones it was written with.

    The header is checked against the size of the file before any tensor is made, so that a truncated or
    hostile file costs no memory. Raises ModelError.
    """
    path = Path(folder) / WEIGHTS
    if not path.is_file():
        raise ModelError("is missing", where=path, hint=what_is_in(path.parent))
    if record is not None:
        check_files(Path(folder), record)
    tensors = read_tensors(path)
    if record is not None and record.weights and (found := count(tensors)) != record.weights:
        raise ModelError(
            f"holds {found['parameters']} parameters in {found['tensors']} tensors, {RECORD} says "
            f"{record.weights.get('parameters')} in {record.weights.get('tensors')}",
            where=path,
            hint="the two files are of different models; copy the folder again",
        )
    return tensors


def load_network(
    source: str | Path | None,
    app: str,
    build: Callable[[ModelRecord], Network],
    bundled: Path | None = None,
    *,
    tensor_name: Callable[[str], str] = str,
) -> tuple[Network, ModelRecord, Path]:
    """The network that `build` makes of a model's record, with the model's weights; its record and its folder.

    `source` and `bundled` are as in `resolve`. `tensor_name` gives a tensor of an older file its name of today. The
    network is first built without memory, and its tensors compared with the header of the weights. Raises ModelError
    for whatever is wrong with the record or the weights.
    """
    folder = resolve(source, app, bundled)
    record = load_record(folder)
    state_path = folder / WEIGHTS
    if not state_path.is_file():
        raise ModelError("is missing", where=state_path, hint=what_is_in(folder))
    header = {tensor_name(name): stored for name, stored in read_header(state_path).items()}
    with building(folder / RECORD):
        with outline():
            outlined = build(record)
        _check_fit(outlined, header, state_path)
        state = {tensor_name(name): tensor for name, tensor in load_state(folder, record).items()}
        for name, tensor in state.items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise ModelError(f"holds numbers in {name[:80]} that are not finite", where=state_path, hint=COPY_AGAIN)
        network = build(record)
        network.load_state_dict(state)
    return network, record, folder


@contextmanager
def building(where: str | Path) -> Iterator[None]:
    """Around code that builds something from a record, which anybody may have written: every exception is a ModelError.

    `where` is the file at fault, unless the error itself names one.
    """
    try:
        yield
    except AttnError as error:
        raise ModelError(error.what, where=error.where or where, hint=error.hint) from error
    except MemoryError as error:
        raise ModelError("describes more than fits into memory", where=where) from error
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ModelError(f"does not describe a model that can be built ({reason})", where=where) from error


def check_files(folder: Path, record: ModelRecord) -> None:
    """Raise ModelError unless the files have the SHA-256 that the record names. The card may be edited."""
    for name, expected in record.files.items():
        path = folder / name
        if name == CARD:
            continue
        if not path.is_file():
            raise ModelError("is missing", where=path, hint=what_is_in(folder))
        if _hash(path) != expected:
            raise ModelError(
                f"is not the file that {RECORD} was written with",
                where=path,
                hint="it was damaged, or saving or copying was interrupted; copy or train the model again",
            )


def resolve(source: str | Path | None, app: str, bundled: Path | None = None) -> Path:
    """The folder of the model named by `source`, once it is known to be one of `app`.

    None or "bundled" is the model that ships with the app, in its folder `bundled`; "hf://org/name" is one on the
    Hugging Face Hub (downloaded once, then found without a network); anything else is a folder. Raises ModelError
    that says what is there instead.
    """
    if source is None or source == BUNDLED:
        if bundled is None or not (bundled / RECORD).is_file():
            hint = f"train one with `attn {app} train` and give its folder as the model"
            raise ModelError(f"no {app} model ships with this installation", hint=hint)
        folder = bundled
    else:
        folder = find(source)
    record = load_record(folder)
    if record.app != app:
        raise ModelError(f"this is a {record.app} model", where=source, hint=f"use it with `attn {record.app}`")
    return folder


def find(source: str | Path) -> Path:
    """The folder of a model of any app: a folder, or "hf://org/name" on the Hub. Raises ModelError."""
    if str(source).startswith("hf://"):
        return _download(str(source))
    folder = Path(source)
    if not (folder / RECORD).is_file():
        raise ModelError(f"is not a model folder: no {RECORD}", where=source, hint=what_is_in(folder))
    return folder


def _download(source: str) -> Path:
    """The record first, then the files that it names and no others."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name = source.removeprefix("hf://").strip("/")
    if name.count("/") != 1:
        raise ModelError("is not a model on the Hub", where=source, hint="write hf://organisation/name")
    try:
        folder = Path(snapshot_download(name, allow_patterns=[RECORD]))
        if not (folder / RECORD).is_file():
            hint = "this repository was not written by attn"
            raise ModelError(f"is not a model folder: no {RECORD}", where=source, hint=hint)
        named = [*(load_record(folder).files or (WEIGHTS, CARD))]
        return Path(snapshot_download(name, revision=folder.name, allow_patterns=[RECORD, *named]))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"could not be fetched ({first_line.rstrip('.')})",
            where=source,
            hint="check the name and the network, or give a folder that you copied from a machine with both",
        ) from error


def _check_place(folder: Path, names: list[str]) -> None:
    """Raise UsageError where saving would overwrite what attn did not write."""
    if folder.exists() and not folder.is_dir():
        raise UsageError("is a file, not a folder", where=folder, hint="give another --out")
    there = [name for name in names if (folder / name).exists()]
    if there and not is_ours(folder):
        raise UsageError(
            f"holds a {there[0]} that attn did not write", where=folder, hint="give a new or empty folder as --out"
        )
    if CARD in there and not _is_our_card(folder):
        raise UsageError("is not as attn wrote it", where=folder / CARD, hint="move it away, or give another --out")


def _is_our_card(folder: Path) -> bool:
    """Whether the card is as it was written; one whose hash is not known, at least of attn's form."""
    try:
        expected = load_record(folder).files.get(CARD)
    except ModelError:
        expected = None
    if expected is None:
        return b"\nlibrary_name: attn\n" in (folder / CARD).read_bytes()[:1000]
    return expected == _hash(folder / CARD)


def _check_fit(outlined: nn.Module, header: Mapping[str, Stored], where: Path) -> None:
    """Raise ModelError unless the header has the tensors of the network, in numbers of the same kind."""
    kept = outlined.state_dict()
    for name in [*kept, *header]:
        here = kept.get(name)
        there = header.get(name)
        fits = (
            here is not None
            and there is not None
            and there.shape == tuple(here.shape)
            and (there.floating if here.is_floating_point() else there.whole)
        )
        if not fits:
            found = "absent" if there is None else f"{there.dtype} of shape {there.shape}"
            wanted = "absent" if here is None else f"{here.dtype} of shape {tuple(here.shape)}"
            differs = f"{ascii(name)[1:-1][:80]} is {found} there and {wanted} here"
            raise ModelError(
                f"does not fit the architecture of {RECORD}: {differs}",
                where=where,
                hint=COPY_AGAIN,
            )
    made = sum(buffer.nbytes for name, buffer in outlined.named_buffers() if name not in kept)
    if made > MAX_BUFFER_BYTES:
        raise ModelError(f"describes a network with {made} bytes of tables", where=where.with_name(RECORD))


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
