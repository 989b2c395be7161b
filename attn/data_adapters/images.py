"""Labelled images for training and measuring, from the three shapes people keep them in.

- a folder with one folder per class;
- a table (.csv, .tsv, .parquet) with a column of paths, relative to the table, and a column of labels;
- a Galaxy10 HDF5 file (`attn.data_adapters.galaxy10`).

Files are pictures or FITS. Only names and labels are held; pixels are read one object at a time.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from attn.core.errors import InputError, UsageError
from attn.data_adapters.fits import FITS_SUFFIXES, read_fits
from attn.data_adapters.galaxy10 import HDF5_SUFFIXES, Galaxy10
from attn.data_adapters.pictures import PICTURE_SUFFIXES, Cutout, read_picture
from attn.data_adapters.stretch import Stretch, render

__all__ = ["PICTURE_SUFFIXES", "Cutout", "LabelledImages", "open_labelled", "read_image", "read_picture"]

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
_DEFAULT_STRETCH = Stretch()


class LabelledImages(Protocol):
    """Images with a class each.

    `classes` are the labels that occur, sorted; Galaxy10 keeps its own order.
    """

    ids: list[str]
    labels: list[str]
    classes: list[str]

    def __len__(self) -> int: ...

    def read(self, i: int, stretch: Stretch = _DEFAULT_STRETCH) -> Cutout:
        """Image `i`; InputError when it cannot be read. `stretch` is for FITS; pictures stay as they are."""
        ...

    def column(self, name: str) -> list[str | None]:
        """Another column of the table these images came from; InputError when there is none of this name."""
        ...

    def fingerprint(self) -> dict[str, Any]:
        """What a model's record keeps of its data: `source`, `count`, `classes` (counts) and `sha256`.

        The hash is over the id, label and size in bytes of each image, in order: it changes when images
        are added, removed, relabelled or replaced by others, and not when the folder moves.
        """
        ...


def read_image(path: str | Path, stretch: Stretch = _DEFAULT_STRETCH, *, hdu: int | str | None = None) -> Cutout:
    """A picture or a FITS file as a cut-out with the path as id. InputError when it cannot be read."""
    if str(path).lower().endswith(PICTURE_SUFFIXES):
        return Cutout(id=str(path), pixels=read_picture(path))
    image = read_fits(path, hdu=hdu)
    pixels, flags = render(image.data, stretch)
    return Cutout(id=str(path), pixels=pixels, flags=(*image.flags, *flags))


def open_labelled(source: str | Path, *, image: str | None = None, label: str | None = None) -> LabelledImages:
    """The labelled images of a folder, table or Galaxy10 file.

    image, label: names of the table's columns; None takes `path` and `label`.
    InputError: nothing there, unreadable, a column the table lacks (those it has are listed), rows
    without path or label. UsageError: column names for something that has no columns.
    """
    source = Path(source)
    name = source.name.lower()
    if not source.exists():
        raise InputError("no such file or folder", where=source, hint="check the path")
    if name.endswith(TABLE_SUFFIXES):
        return _from_table(source, image or "path", label or "label")
    if image is not None or label is not None:
        raise UsageError("has no columns to choose", where=source, hint="leave --image and --label out")
    if source.is_dir():
        return _from_folder(source)
    if name.endswith(HDF5_SUFFIXES):
        return Galaxy10Images(source)
    raise InputError(
        "not a set of labelled images",
        where=source,
        hint="give a folder with one folder per class, a .csv, .tsv or .parquet table, or a Galaxy10 .h5",
    )


class ImageFiles:
    """Image files with labels; ids are paths relative to `root`. `table` has a row per image, where there is one."""

    def __init__(
        self,
        source: Path,
        root: Path,
        ids: Sequence[str],
        labels: Sequence[str],
        table: pl.DataFrame | None = None,
    ) -> None:
        self.source, self.root, self.table = source, root, table
        self.ids, self.labels = list(ids), list(labels)
        self.classes = sorted(set(labels))

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, i: int, stretch: Stretch = _DEFAULT_STRETCH) -> Cutout:
        """Image `i`, its id as in the table."""
        cutout = read_image(self.root / self.ids[i], stretch)
        return Cutout(id=self.ids[i], pixels=cutout.pixels, flags=cutout.flags)

    def column(self, name: str) -> list[str | None]:
        """See `LabelledImages`."""
        table = pl.DataFrame() if self.table is None else self.table
        _require_column(table, name, self.source, "--also names columns of the table")
        return table[name].cast(pl.String).to_list()

    def fingerprint(self) -> dict[str, Any]:
        """See `LabelledImages`; a missing file counts as -1 bytes."""
        paths = [self.root / id_ for id_ in self.ids]
        sizes = [path.stat().st_size if path.is_file() else -1 for path in paths]
        return _fingerprint(self.source, self.ids, self.labels, sizes)


class Galaxy10Images:
    """A Galaxy10 file as labelled images; ids are `<file>#<row>`."""

    def __init__(self, source: Path) -> None:
        self.rows = Galaxy10(source)
        self.classes = list(self.rows.class_names)
        self.ids = [f"{source.name}#{row}" for row in range(len(self.rows))]
        self.labels = [self.classes[k] for k in self.rows.labels]

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, i: int, stretch: Stretch = _DEFAULT_STRETCH) -> Cutout:
        """Row `i`; its pixels are display values already."""
        return self.rows.read(i)

    def column(self, name: str) -> list[str | None]:
        """A Galaxy10 file has only the class."""
        raise InputError(f"no column {name!r}; it has classes only", where=self.rows.path)

    def fingerprint(self) -> dict[str, Any]:
        """See `LabelledImages`; the size of each image is that of its pixels."""
        height, width, planes = self.rows.shape[1:]
        return _fingerprint(self.rows.path, self.ids, self.labels, [height * width * planes] * len(self))


def _from_folder(source: Path) -> ImageFiles:
    files = [
        path
        for folder in sorted(source.iterdir())
        if folder.is_dir() and not folder.name.startswith(".")
        for path in sorted(folder.rglob("*"))
        if path.name.lower().endswith(PICTURE_SUFFIXES + FITS_SUFFIXES)
    ]
    if not files:
        raise InputError(
            "no images in folders in it",
            where=source,
            hint="put the images of each class in a folder named after it, or give a table",
        )
    ids = [path.relative_to(source).as_posix() for path in files]
    return ImageFiles(source, source, ids, [id_.split("/", 1)[0] for id_ in ids])


def _from_table(source: Path, image: str, label: str) -> ImageFiles:
    table = read_table(source)
    for column in (image, label):
        _require_column(table, column, source, "choose with --image and --label")
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
    return ImageFiles(source, source.parent, ids, labels, table)


def _require_column(table: pl.DataFrame, column: str, source: Path, hint: str) -> None:
    if column not in table.columns:
        there = ", ".join(table.columns) or "none"
        raise InputError(f"no column {column!r}; it has {there}", where=source, hint=hint)


def read_table(path: Path) -> pl.DataFrame:
    """A .csv, .tsv (every cell as text) or .parquet table. InputError when it cannot be read."""
    try:
        if path.name.lower().endswith(".parquet"):
            return pl.read_parquet(path)
        separator = "\t" if path.name.lower().endswith(".tsv") else ","
        return pl.read_csv(path, separator=separator, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0][:160]
        raise InputError(f"is not a table ({reason})", where=path, hint="check the file") from error


def _fingerprint(source: Path, ids: Sequence[str], labels: Sequence[str], sizes: Sequence[int]) -> dict[str, Any]:
    digest = hashlib.sha256()
    for row in zip(ids, labels, sizes, strict=True):
        digest.update("\0".join(map(str, row)).encode() + b"\n")
    counts = dict(sorted(Counter(labels).items()))
    return {"source": source.name, "count": len(ids), "classes": counts, "sha256": digest.hexdigest()}
