"""Index photographs: the pictures that are new or have changed become vectors, the others keep theirs.

An indexing that is killed goes on where it was: finished parts lie in `run/` until the gallery is written.

Shapes: B pictures of a batch, C channels.
"""

import hashlib
import io
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from os.path import relpath
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from attn.apps.reid.gallery import (
    COLUMNS,
    GALLERY,
    Gallery,
    ModelId,
    box_text,
    off_unit,
    open_gallery,
    stamp,
    write_gallery,
    writing,
)
from attn.apps.reid.nearest import unit
from attn.apps.reid.review.decisions import read_log, with_decisions
from attn.core.errors import AttnError, InputError
from attn.core.files import replacing
from attn.data_adapters.boundary import boundary
from attn.data_adapters.images.cutout import Cutout, Display
from attn.data_adapters.images.identities import LabelledIndividuals
from attn.data_adapters.library_warnings import caught_panics

Embed = Callable[[Sequence[Display]], np.ndarray]
"""Pictures (H, W, 3) uint8 of any sizes to vectors (B, C)."""

BATCH = 16
PART = 256  # pictures of a part, which is lost at most when the process is killed
THUMBNAIL = 96  # pixels of its longer side
RUN = "run"
KEY = ("id", "box", "bytes", "modified")
Key = tuple[str, str, int, int]


@dataclass
class Indexed:
    """What an indexing did: how many pictures became vectors, how many kept theirs, and which were left out and why."""

    new: int = 0
    kept: int = 0
    left_out: list[tuple[str, str]] = field(default_factory=list)


def index(
    individuals: LabelledIndividuals, embed: Embed, model: ModelId, folder: Path, *, add: bool = False
) -> tuple[Gallery, Indexed]:
    """Make the gallery in `folder` that of these pictures; with `add`, add them to those that are there.

    A picture that cannot be read, or has no usable vector, is left out with a reason. Vectors of unchanged files are
    taken from the gallery there is, if this model made it.
    ModelError: `add` to a gallery of another model. InputError: no picture is left. UsageError: see `writing`.
    """
    done = Indexed()
    with writing(folder):
        old = _old(folder, model, add)
        photos = old.photos if old is not None and add else individuals.root
        known = _Known(folder / RUN, model)
        if old is not None and old.photos.absolute() == photos.absolute():
            good = ~off_unit(old.vectors)  # the others are embedded again
            known.take(old.rows.filter(good), old.vectors[good])
        individuals = _with_names(individuals, done)
        described = _rows(individuals, photos)
        _embed_new(individuals, described, embed, known, done)
        left_out = {id for id, _ in done.left_out}
        usable = [id not in left_out for id in described["id"]]
        rows, vectors = known.of(described.filter(pl.Series(usable, dtype=pl.Boolean)), model)
        if add and old is not None:
            others = (~old.rows["id"].is_in(described["id"].to_list())).to_numpy()
            rows = pl.concat([old.rows.filter(others), rows])
            vectors = np.concatenate([old.vectors[others], vectors])
        if rows.is_empty():
            raise InputError("none of the pictures can be used", where=individuals.source, hint=_reasons(done))
        done.kept = len(rows) - done.new
        rows = with_decisions(rows, read_log(folder))
        gallery = write_gallery(folder, model, photos, rows, vectors)
        shutil.rmtree(folder / RUN, ignore_errors=True)
    return gallery, done


class _Known:
    """Vectors by what was read: id, box, size and time of the file. New ones go to disk part by part."""

    def __init__(self, run: Path, model: ModelId) -> None:
        self.run, self.model = run, model
        self.vectors: dict[Key, tuple[np.ndarray, bytes, str]] = {}
        self.pending: list[tuple[str, str, int, int, list[float], bytes, str]] = []
        self.prefix = hashlib.sha256(f"{model.fingerprint} {model.dimensions}".encode()).hexdigest()[:16]
        for path in sorted(run.glob(f"{self.prefix}-*.parquet")):
            try:
                with boundary(path, "is no part of an index"), caught_panics():
                    for id, box, size, modified, vector, thumbnail, flags in pl.read_parquet(path.read_bytes()).rows():
                        self.vectors[id, box, size, modified] = (np.array(vector, np.float32), thumbnail, flags)
            except InputError:  # a part is only a saving of time
                path.unlink(missing_ok=True)

    def take(self, rows: pl.DataFrame, vectors: np.ndarray) -> None:
        pairs = zip(rows.select(*KEY, "thumbnail", "flags").rows(), vectors, strict=True)
        for (id, box, size, modified, thumbnail, flags), vector in pairs:
            self.vectors[id, box, size, modified] = (vector, thumbnail, flags)

    def add(self, key: Key, vector: np.ndarray, photograph: Cutout) -> None:
        thumbnail, flags = _thumbnail(photograph.pixels), " ".join(photograph.flags)
        self.vectors[key] = (vector, thumbnail, flags)
        self.pending.append((*key, vector.tolist(), thumbnail, flags))
        if len(self.pending) >= PART:
            self.save()

    def save(self) -> None:
        self.run.mkdir(exist_ok=True)
        names = [*KEY, "vector", "thumbnail", "flags"]
        with replacing(self.run / f"{self.prefix}-{len(list(self.run.glob('*.parquet'))):06d}.parquet") as part:
            pl.DataFrame(self.pending, names, orient="row").write_parquet(part)
        self.pending = []

    def of(self, described: pl.DataFrame, model: ModelId) -> tuple[pl.DataFrame, np.ndarray]:
        """The rows with their thumbnails and flags, and their vectors (N, C)."""
        found = [self.vectors[key] for key in described.select(KEY).rows()]
        thumbnails = pl.Series("thumbnail", [each[1] for each in found], pl.Binary)
        flags = pl.Series("flags", [each[2] for each in found], pl.String)
        vectors = np.array([each[0] for each in found], np.float32).reshape(len(found), model.dimensions)
        return described.with_columns(thumbnails, flags).select(list(COLUMNS)), vectors


def _old(folder: Path, model: ModelId, add: bool) -> Gallery | None:
    if not (folder / GALLERY).is_file():
        return None
    if add:
        return open_gallery(folder, model, whole=True)
    try:
        return open_gallery(folder, model, whole=True)
    except AttnError:
        return None  # of another model, or damaged: all is made anew


def _with_names(individuals: LabelledIndividuals, done: Indexed) -> LabelledIndividuals:
    """Those whose names a table can hold."""
    good = [i for i, id in enumerate(individuals.ids) if id.isascii() or id == id.encode(errors="replace").decode()]
    for i in sorted({*range(len(individuals))} - {*good}):
        done.left_out.append((individuals.ids[i], "its name is not UTF-8; rename the file"))
    return individuals.take(good)


def _rows(individuals: LabelledIndividuals, photos: Path) -> pl.DataFrame:
    """A row of COLUMNS for each picture, without thumbnail and flags; size -1 where there is no file."""
    same = individuals.root.absolute() == photos.absolute()
    lists = {
        "identity": individuals.identities, "camera": individuals.cameras, "encounter": individuals.encounters,
        "time": individuals.times, "within": individuals.within,
    }  # fmt: skip
    paths = individuals.paths
    ids = individuals.ids
    if not same:
        paths = [relpath((individuals.root / path).absolute(), photos.absolute()) for path in paths]
        ids = [new + id.removeprefix(old) for new, old, id in zip(paths, individuals.paths, ids, strict=True)]
    stamps = [stamp(individuals.root / path) or (-1, 0) for path in individuals.paths]
    empty = [""] * len(paths)
    return pl.DataFrame(
        {
            "id": ids,
            "path": paths,
            **{name: empty if texts is None else texts for name, texts in lists.items()},
            "box": [box_text(box) for box in individuals.boxes],
            "bytes": [size for size, _ in stamps],
            "modified": [modified for _, modified in stamps],
        },
        schema_overrides={name: COLUMNS[name] for name in ("bytes", "modified")},
    )


def _embed_new(
    individuals: LabelledIndividuals, described: pl.DataFrame, embed: Embed, known: _Known, done: Indexed
) -> None:
    keys = described.select(KEY).rows()
    new = [i for i, key in enumerate(keys) if key not in known.vectors or i in individuals.problems]
    for first in range(0, len(new), BATCH):
        batch: list[tuple[Key, Cutout]] = []
        for i in new[first : first + BATCH]:
            try:
                batch.append((keys[i], individuals.photograph(i)))
            except AttnError as error:
                done.left_out.append((keys[i][0], str(error)))
        if not batch:
            continue
        vectors, usable = unit(np.asarray(embed([each.pixels for _, each in batch])))
        for (key, photograph), vector, good in zip(batch, vectors, usable, strict=True):
            if good:
                known.add(key, vector, photograph)
                done.new += 1
            else:
                done.left_out.append((key[0], "no usable embedding: the model gives zero or no number for it"))
    if known.pending:
        known.save()


def _thumbnail(pixels: Display) -> bytes:
    picture = Image.fromarray(pixels)
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def conflicts(gallery: Gallery) -> list[str]:
    """Pictures of two individuals that are the same, in sentences: of one size in bytes, and with equal vectors."""
    first: dict[tuple[int, int], tuple[str, str]] = {}
    said = []
    named = zip(gallery.rows.select("id", "identity", "bytes").rows(), gallery.vectors, strict=True)
    for (id, identity, size), vector in named:
        other, theirs = first.setdefault((size, hash(vector.tobytes())), (id, identity)) if identity else ("", identity)
        if theirs != identity:
            said.append(f"{other} and {id} are the same picture, and are labelled {theirs!r} and {identity!r}")
    return said


def _reasons(done: Indexed) -> str:
    return "; ".join(f"{id}: {why}" for id, why in done.left_out[:3]) or "give photographs"
