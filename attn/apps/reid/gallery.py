"""A gallery: the vectors of pictures of individuals in a folder, ready to be searched.

`gallery.json` names the model and the two files that hold the pictures: a table with a row per picture and a thumbnail,
and the vectors. Each change writes new files beside the old ones and then renames a new gallery.json, so that a gallery
is always whole: a reader sees the old or the new one, and a writer that is killed leaves the old. One writer works at a
time. Paths are relative to the folder of photographs, and that folder to the gallery, so that both can move together.

Shapes: N pictures, C channels.
"""

import hashlib
import io
import json
import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int
from safetensors.numpy import load, save

from attn.apps.reid import store
from attn.apps.reid.nearest import nearest, unit
from attn.core.errors import InputError, ModelError, UsageError
from attn.core.files import claimed, replacing
from attn.data_adapters.boundary import boundary
from attn.data_adapters.images.boxes import Box
from attn.data_adapters.images.cutout import Cutout
from attn.data_adapters.images.photographs import read_photograph
from attn.data_adapters.library_warnings import caught_panics
from attn.data_adapters.tables.pages import check_pages

LOG = logging.getLogger("attn")
GALLERY = "gallery.json"
LOCK = ".lock"
SCHEMA_VERSION = 1
TEXTS = ("id", "path", "identity", "camera", "encounter", "time", "within", "box", "flags")
COLUMNS: dict[str, Any] = {
    **dict.fromkeys(TEXTS, pl.String), "bytes": pl.Int64, "modified": pl.Int64, "thumbnail": pl.Binary,
}  # fmt: skip
_MOST_JSON = 1 << 20
_OFF = 1e-3  # how far the length of a unit vector may be from 1
_KINDS = ("pictures", "vectors")


@dataclass(frozen=True)
class ModelId:
    """Which model made the vectors: what people call it, the SHA-256 of its weights, and its number of channels."""

    name: str
    fingerprint: str
    dimensions: int


@dataclass(frozen=True)
class Gallery:
    """rows: a table of COLUMNS, sorted by id. vectors: (N, C) float32 of length 1. photos: where paths begin."""

    folder: Path
    model: ModelId
    photos: Path
    rows: pl.DataFrame
    vectors: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def codes(self) -> Int[np.ndarray, " N"]:
        """A number for each picture: equal where two show the same individual, of its own for one of nobody known."""
        names = self.rows["identity"]
        codes = names.rank("dense").to_numpy().astype(np.int64) - 1
        return np.where((names == "").to_numpy(), len(names) + np.arange(len(names)), codes)

    @cached_property
    def store(self) -> store.Store | None:
        """What finds candidates where there are too many pictures to look at all; None where a search does."""
        return store.Store(self.vectors) if store.wanted(len(self)) and store.installed() else None

    def cosines(self, vector_c: Float[np.ndarray, " C"], kept_g: Bool[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        """Of a vector with each picture that is kept, in float32; -inf with the others. With `store`, see there."""
        found = self.vectors @ vector_c if self.store is None else self.store.cosines(vector_c, kept_g)
        return np.where(kept_g, found, -np.inf)

    def photograph(self, row: int) -> Cutout:
        """The picture of a row as it was indexed. InputError: the file is gone, or has changed."""
        id, path, box, size, modified = self.rows.select("id", "path", "box", "bytes", "modified").row(row)
        place = self.photos / path
        if stamp(place) not in ((size, modified), None):
            raise InputError("has changed since it was indexed", where=place)
        return read_photograph(place, id, box_of(box))

    def search(self, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """See `nearest`; query (Q, C) of any length. At equal cosines the order is that of the ids."""
        return nearest(unit(query)[0], self.vectors, k, np.ones(len(self), bool))


def open_gallery(folder: str | Path, model: ModelId | None = None, *, whole: bool = False) -> Gallery:
    """Read a gallery; with `model`, only one that this model made.

    Pictures whose vector is zero or not finite are left out, and a warning says how many; vectors of another length get
    the length 1. whole: all as it is stored, for those who write it anew.
    InputError: no gallery, damaged, no usable vector. ModelError: made by another model; both are named.
    """
    folder = Path(folder)
    described = _described(folder, model)
    made_by = _model_of(folder, described)
    paths = {kind: folder / described["files"][kind]["name"] for kind in _KINDS}
    if not all(path.is_file() for path in paths.values()) and _described(folder) != described:
        return open_gallery(folder, model, whole=whole)  # somebody wrote a new one in between
    with boundary(folder, "the gallery is damaged", f"attn reid index PHOTOS --out {folder} makes it anew"):
        check_pages(paths["pictures"])
        with caught_panics():
            rows = pl.read_parquet(paths["pictures"].read_bytes())
        vectors = load(paths["vectors"].read_bytes())["vectors"]
        if dict(rows.schema) != COLUMNS or vectors.shape != (len(rows), made_by.dimensions):
            raise InputError("its files do not fit one another", where=folder)
        photos = Path(os.path.normpath(folder.absolute() / described["photos"]))
    gallery = Gallery(folder, made_by, photos, rows, vectors)
    return gallery if whole else _usable(gallery)


def write_gallery(folder: Path, model: ModelId, photos: Path, rows: pl.DataFrame, vectors: np.ndarray) -> Gallery:
    """Replace the gallery in a folder; call it within `writing`. rows: of COLUMNS. vectors: (N, C) of length 1."""
    order = rows.select(pl.col("id").arg_sort()).to_series()
    rows, vectors = rows[order].select(list(COLUMNS)), np.ascontiguousarray(vectors[order.to_numpy()], np.float32)
    table = io.BytesIO()
    rows.write_parquet(table)
    contents = {"pictures": table.getvalue(), "vectors": save({"vectors": vectors})}
    files: dict[str, dict[str, str]] = {}
    for kind, suffix in zip(_KINDS, ("parquet", "safetensors"), strict=True):
        digest = hashlib.sha256(contents[kind]).hexdigest()
        files[kind] = {"name": f"{kind}-{digest[:16]}.{suffix}", "sha256": digest}
        with replacing(folder / files[kind]["name"]) as part:
            part.write_bytes(contents[kind])
    described = {
        "schema_version": SCHEMA_VERSION,
        "model": model.name,
        "fingerprint": model.fingerprint,
        "dimensions": model.dimensions,
        "pictures": len(rows),
        "photos": os.path.relpath(photos.absolute(), folder.absolute()),
        "files": files,
    }
    with replacing(folder / GALLERY) as part:
        part.write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
    current = {each["name"] for each in files.values()}
    for kind in _KINDS:
        for path in folder.glob(f"{kind}-*"):
            if path.name not in current:
                path.unlink(missing_ok=True)
    return Gallery(folder, model, photos, rows, vectors)


def remove(folder: Path, ids: Sequence[str]) -> Gallery:
    """Take pictures out of a gallery. InputError: an id that is not there."""
    with writing(folder):
        gallery = open_gallery(folder, whole=True)
        if missing := sorted(set(ids) - set(gallery.rows["id"])):
            raise InputError(f"has no picture {', '.join(map(repr, missing[:5]))}", where=folder)
        kept = (~gallery.rows["id"].is_in(list(ids))).to_numpy()
        return write_gallery(folder, gallery.model, gallery.photos, gallery.rows.filter(kept), gallery.vectors[kept])


def check(folder: Path) -> list[str]:
    """What is wrong with a gallery, in sentences: damaged files, photographs that are gone or have changed."""
    described = _described(folder)
    found = []
    for kind in _KINDS:
        path = folder / described["files"][kind]["name"]
        if not path.is_file():
            return [f"{path.name} is missing"]
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != described["files"][kind]["sha256"]:
                found.append(f"{path.name} is not as it was written")
    if found:
        return found
    gallery = open_gallery(folder, whole=True)
    bad = int(off_unit(gallery.vectors).sum())
    found += [f"{bad} vectors do not have the length 1"] * (bad > 0)
    for path, size, modified in gallery.rows.select("path", "bytes", "modified").unique(maintain_order=True).rows():
        now = stamp(gallery.photos / path)
        if now != (size, modified):
            found.append(f"{path}: " + ("no such file" if now is None else "has changed since it was indexed"))
    return found


def off_unit(vectors: Float[np.ndarray, "N C"]) -> Bool[np.ndarray, " N"]:
    """Which vectors do not have the length 1; NaN has none."""
    with np.errstate(over="ignore", invalid="ignore"):
        off: np.ndarray = ~(np.abs(np.linalg.norm(vectors, axis=1) - 1) <= _OFF)
    return off


def box_text(box: Box | None) -> str:
    """A box as the table has it."""
    return "" if box is None else f"{box} {box.frame}" + " relative" * box.relative


def box_of(text: str) -> Box | None:
    """The box of a text that `box_text` made."""
    if not text:
        return None
    numbers, frame, *relative = text.split(" ")
    x, y, w, h = map(float, numbers.split(","))
    return Box(x, y, w, h, bool(relative), "stored" if frame == "stored" else "shown")


def stamp(path: Path) -> tuple[int, int] | None:
    """Size in bytes and time of the last change in nanoseconds; None where there is no file."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold a gallery for writing; the lock ends with the process. UsageError: another process writes to it."""
    with claimed(folder):
        lock = filelock.FileLock(folder / LOCK, timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout as error:
            hint = "wait until it ends"
            raise UsageError("another process writes to this gallery", where=folder, hint=hint) from error
        try:
            yield
        finally:
            if not (folder / GALLERY).exists():
                (folder / LOCK).unlink(missing_ok=True)  # nothing is there that anybody could wait for
            lock.release()


def _usable(gallery: Gallery) -> Gallery:
    off = off_unit(gallery.vectors)
    if not off.any():
        return gallery
    vectors, kept = gallery.vectors.copy(), ~off
    vectors[off], kept[off] = unit(vectors[off])
    lost = int((~kept).sum())
    if lost == len(kept):
        hint = f"attn reid index PHOTOS --out {gallery.folder} makes it anew"
        raise InputError("no picture of the gallery has a usable vector", where=gallery.folder, hint=hint)
    if lost:
        said = "1 picture of the gallery has" if lost == 1 else f"{lost} pictures of the gallery have"
        them = "is left out; index it" if lost == 1 else "are left out; index them"
        LOG.warning("%s no usable vector and %s again", said, them)
    return replace(gallery, rows=gallery.rows.filter(kept), vectors=vectors[kept])


def _described(folder: Path, model: ModelId | None = None) -> dict[str, Any]:
    path = folder / GALLERY
    if not path.is_file():
        raise InputError("is not a gallery", where=folder, hint=f"attn reid index PHOTOS --out {folder} makes one")
    with boundary(path, "is not the description of a gallery"):
        if path.stat().st_size > _MOST_JSON:
            raise InputError("is not the description of a gallery", where=path)
        described: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if model is not None and described.keys() >= {"model", "fingerprint", "dimensions"}:
            _require_made_by(model, _model_of(folder, described), folder)  # which says more than what else is wrong
        if described["schema_version"] != SCHEMA_VERSION:
            raise InputError(f"has the version {described['schema_version']!r}, not {SCHEMA_VERSION}", where=path)
        for kind in _KINDS:  # names of files here, and no paths to elsewhere
            name = described["files"][kind]["name"]
            if not re.fullmatch(rf"{kind}-[0-9a-f]{{16}}\.(parquet|safetensors)", name):
                raise InputError(f"names the file {name[:60]!r}", where=path)
            str(described["files"][kind]["sha256"])
        if not isinstance(described["photos"], str):
            raise InputError("does not say where the photographs are", where=path)
    return described


def _model_of(folder: Path, described: dict[str, Any]) -> ModelId:
    with boundary(folder / GALLERY, "does not say which model made it"):
        return ModelId(str(described["model"]), str(described["fingerprint"]), int(described["dimensions"]))


def _require_made_by(model: ModelId, made_by: ModelId, folder: Path) -> None:
    if (made_by.fingerprint, made_by.dimensions) != (model.fingerprint, model.dimensions):
        raise ModelError(
            f"was made by the model {_named(made_by)}, and this is {_named(model)}",
            where=folder,
            hint=f"attn reid index PHOTOS --out {folder} makes it anew, or give --model {made_by.name}",
        )


def _named(model: ModelId) -> str:
    return f"{model.name} ({model.fingerprint[:12]}, {model.dimensions} channels)"
