"""Labelled images for training and measuring, as people keep them.

- a folder with one folder per class;
- a table (.csv, .tsv, .parquet) with a column of paths, relative to the table, and a column of labels.

The caller brings the function that reads a file. Only names and labels are held; pixels are
read one object at a time.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from attn.core.errors import InputError, UsageError
from attn.data_adapters.images.cutout import Cutout
from attn.data_adapters.paths import below, to_search
from attn.data_adapters.tables.small import TABLE_SUFFIXES, read_table, require_column

ReadFile = Callable[..., Cutout]
"""(path, *how) -> Cutout; InputError when the file cannot be read."""


class LabelledImages(Protocol):
    """Images with a class each.

    `classes` are the labels that occur, sorted; Galaxy10 keeps its own order.
    """

    ids: list[str]
    labels: list[str]
    classes: list[str]

    def __len__(self) -> int: ...

    def read(self, i: int, *how: Any) -> Cutout:
        """Image `i`; InputError when it cannot be read. `how` goes to the reader, such as the stretch of FITS."""
        ...

    def column(self, name: str) -> list[str | None]:
        """Another column of the table these images came from; InputError when the table has no such column."""
        ...

    def fingerprint(self) -> dict[str, Any]:
        """What a model's record keeps of its data: `source`, `count`, `classes` (counts) and `sha256`.

        The hash is over the id, label and size in bytes of each image, in order: it changes when images
        are added, removed, relabelled or replaced by others, and not when the folder moves.
        """
        ...


def open_labelled(
    source: str | Path,
    read_file: ReadFile,
    suffixes: tuple[str, ...],
    *,
    image: str | None = None,
    label: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> LabelledImages:
    """The labelled images of a folder or table, each file read by `read_file`.

    suffixes: of the files that count in a folder. image, label: names of the table's columns; None takes `path`
    and `label`. settings: of `read_file`, by name; they are part of the fingerprint.
    InputError: nothing there, unreadable, a column the table lacks (those it has are listed), rows
    without path or label. UsageError: column names for something that has no columns.
    """
    source = Path(source)
    if not source.exists():
        raise InputError("no such file or folder", where=source, hint="check the path")
    if source.name.lower().endswith(TABLE_SUFFIXES):
        return _from_table(source, read_file, image or "path", label or "label", settings or {})
    if image is not None or label is not None:
        raise UsageError("has no columns to choose", where=source, hint="leave --image and --label out")
    if source.is_dir():
        return _from_folder(source, read_file, suffixes, settings or {})
    raise InputError(
        "not a set of labelled images",
        where=source,
        hint="give a folder with one folder per class, or a .csv, .tsv or .parquet table",
    )


class ImageFiles:
    """Image files with labels; ids are paths relative to `root`.

    `read_file` makes a cut-out of one file. `table` has a row per image, where there is one.
    """

    def __init__(
        self,
        source: Path,
        root: Path,
        read_file: ReadFile,
        ids: Sequence[str],
        labels: Sequence[str],
        table: pl.DataFrame | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.source, self.root, self.read_file, self.table = source, root, read_file, table
        self.settings = dict(settings or {})
        self.ids, self.labels = list(ids), list(labels)
        self.classes = sorted(set(labels))

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, i: int, *how: Any) -> Cutout:
        """Image `i`, its id as in the table."""
        cutout = self.read_file(self.root / self.ids[i], *how, **self.settings)
        return Cutout(id=self.ids[i], pixels=cutout.pixels, flags=cutout.flags)

    def column(self, name: str) -> list[str | None]:
        """See `LabelledImages`."""
        table = pl.DataFrame() if self.table is None else self.table
        require_column(table, name, self.source, "choose one of those")
        return table[name].cast(pl.String).to_list()

    def fingerprint(self) -> dict[str, Any]:
        """See `LabelledImages`; a missing file counts as -1 bytes."""
        return fingerprint_of(self.source, self.ids, self.labels, sizes_of(self.root, self.ids)) | self.settings


def _from_folder(
    source: Path, read_file: ReadFile, suffixes: tuple[str, ...], settings: Mapping[str, Any]
) -> ImageFiles:
    inside = sorted(each.name for each in source.iterdir() if each.is_dir() and not each.name.startswith("."))
    files = [
        path
        for folder in to_search(source, inside)
        for path in below(source / folder)
        if path.name.lower().endswith(suffixes)
    ]
    if not files:
        raise InputError(
            "no images in folders in it",
            where=source,
            hint="put the images of each class in a folder named after it, or give a table",
        )
    ids = [path.relative_to(source).as_posix() for path in files]
    return ImageFiles(source, source, read_file, ids, [id_.split("/", 1)[0] for id_ in ids], None, settings)


def _from_table(source: Path, read_file: ReadFile, image: str, label: str, settings: Mapping[str, Any]) -> ImageFiles:
    table = read_table(source)
    for column in (image, label):
        require_column(table, column, source, "choose with --image and --label")
    pairs = table.select(pl.col(image).cast(pl.String), pl.col(label).cast(pl.String))
    if pairs.is_empty():
        raise InputError("the table has no rows", where=source)
    for column in (image, label):
        missing = pairs[column].is_null() | (pairs[column].str.strip_chars() == "")
        if missing.any():
            first = int(missing.arg_true()[0]) + 1
            raise InputError(
                f"{missing.sum()} of {len(pairs)} rows have no {column!r}, the first is row {first}",
                where=source,
                hint="fill or remove them",
            )
    ids = [text.strip() for text in pairs[image].to_list()]
    labels = [text.strip() for text in pairs[label].to_list()]
    return ImageFiles(source, source.parent, read_file, ids, labels, table, settings)


def sizes_of(root: Path, ids: Sequence[str]) -> list[int]:
    """The size of each file in bytes; -1 where there is none."""
    # Of os.path, as a Path raises for a name that is too long.
    return [os.path.getsize(root / id_) if os.path.isfile(root / id_) else -1 for id_ in ids]  # noqa: PTH113, PTH202


def fingerprint_of(source: Path, ids: Sequence[str], labels: Sequence[str], sizes: Sequence[int]) -> dict[str, Any]:
    """See `LabelledImages.fingerprint`; `sizes` in bytes."""
    digest = hashlib.sha256()
    for row in zip(ids, labels, sizes, strict=True):
        digest.update("\0".join(map(str, row)).encode(errors="surrogateescape") + b"\n")
    counts = dict(sorted(Counter(labels).items()))
    return {"source": source.name, "count": len(ids), "classes": counts, "sha256": digest.hexdigest()}
