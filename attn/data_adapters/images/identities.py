"""Pictures of individuals for training, searching and measuring, as people keep them."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from attn.core.errors import InputError, UsageError
from attn.data_adapters.images.boxes import BoxFormat, Frame
from attn.data_adapters.images.camtrap import camtrap_rows, is_camtrap
from attn.data_adapters.images.cutout import Cutout, Display
from attn.data_adapters.images.detections import with_detections
from attn.data_adapters.images.identity_layouts import METADATA, layout_of
from attn.data_adapters.images.identity_rows import Rows, unlabelled
from attn.data_adapters.images.identity_table import NO, table_rows
from attn.data_adapters.images.labelled import fingerprint_of, sizes_of
from attn.data_adapters.images.photographs import photographs_below, read_photograph
from attn.data_adapters.tables.small import TABLE_SUFFIXES, require_column

TEST = ("query", "gallery")  # what layouts with two lists for testing call them


def open_individuals(
    source: str | Path,
    *,
    image: str | None = None,
    identity: str | None = None,
    camera: str | None = None,
    encounter: str | None = None,
    time: str | None = None,
    within: str | None = None,
    box: str | None = None,
    box_format: BoxFormat | None = None,
    box_frame: Frame = "shown",
    split: str | None = None,
    unknown: Iterable[str] = (),
) -> "LabelledIndividuals":
    """The individuals of a table, of a folder in a published layout, or of one with a folder per individual.

    image, identity, camera, encounter, time: columns of the table; None takes `path`, `identity` and, where they are
    there, `camera`, `encounter` and `time`; "none" takes no column, and where it is that of identities nobody is named.
    within: the column by which pictures are compared, such as the flank. box: columns of boxes, "x,y,w,h" or one of
    lists, or a JSON file of MegaDetector or COCO; None takes usual names, "none" none. box_format: None is "coco".
    box_frame: whether boxes lie in the picture as shown (upright) or as stored. split: only the rows with this value;
    "test" is also query and gallery. unknown: identities that mean that nobody knows.

    InputError: nothing there, unreadable, a column that the table lacks (those it has are listed), rows without path,
    identities that read like nobody and are not in `unknown`, boxes that are no numbers. UsageError: columns for a
    folder.
    """
    source = Path(source)
    if not source.exists():
        raise InputError("no such file or folder", where=source, hint="check the path")
    if source.is_dir() and (source / METADATA).is_file():
        source = source / METADATA
    detected = Path(box) if box is not None and box.lower().endswith(".json") else None
    columns = {
        "image": image, "identity": identity, "camera": camera, "encounter": encounter, "time": time, "within": within,
        "box": "none" if detected else box, "box_format": box_format,
    }  # fmt: skip
    if source.name.lower().endswith(TABLE_SUFFIXES):
        rows = table_rows(source, **columns, box_frame=box_frame)  # type: ignore[arg-type]
    elif source.is_dir():
        if named := [name for name, column in columns.items() if column not in (None, "none")]:
            options = ", ".join(f"--{name.replace('_', '-')}" for name in named)
            raise UsageError("has no columns to choose", where=source, hint=f"leave {options} out")
        rows = camtrap_rows(source) if is_camtrap(source) else (layout_of(source) or folder_rows)(source)
    else:
        hint = "give a folder with one folder per individual, or a .csv, .tsv or .parquet table"
        raise InputError("not a set of individuals", where=source, hint=hint)
    if identity == NO:
        rows = replace(rows, identities=[""] * len(rows))
    if detected:
        rows = with_detections(rows, detected, box_frame)
    individuals = LabelledIndividuals(source, unlabelled(rows, unknown, source))
    return individuals if split is None else individuals.select(split)


class LabelledIndividuals:
    """Pictures with an individual each; pixels are read one at a time.

    ids: one per row, the path, and the box where a picture has several. paths: relative to `root`. identities: text, ""
    for a picture of nobody known. cameras, encounters, times, within, splits: None where nothing says so, "" for a row
    of which it is not known. problems: why a row cannot be used; reading it raises that. notices: sentences for people.
    """

    def __init__(self, source: Path, rows: Rows) -> None:
        self.source, self.rows = source, rows
        self.root, self.table = rows.root, rows.table
        self.paths, self.identities, self.boxes = rows.paths, rows.identities, rows.boxes
        self.cameras, self.encounters, self.times = rows.cameras, rows.encounters, rows.times
        self.within, self.splits = rows.within, rows.splits
        self.problems, self.notices = rows.problems, rows.notices
        often = Counter(self.paths)
        pairs = zip(self.paths, self.boxes, strict=True)
        self.ids = [path if often[path] == 1 or box is None else f"{path} [{box}]" for path, box in pairs]

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def individuals(self) -> list[str]:
        """The identities that occur, sorted, without the unlabelled."""
        return sorted({*self.identities} - {""})

    def read(self, i: int) -> Display:
        """Pixels (H, W, 3) uint8 of row `i`, cropped to its box. InputError when it cannot be used."""
        return self.photograph(i).pixels

    def photograph(self, i: int) -> Cutout:
        """Row `i` with what is odd about it; as `read`."""
        if i in self.problems:
            raise self.problems[i]
        return read_photograph(self.root / self.paths[i], self.ids[i], self.boxes[i])

    def take(self, rows: Iterable[int]) -> "LabelledIndividuals":
        """A set of these rows, in this order."""
        return LabelledIndividuals(self.source, self.rows.take([int(row) for row in rows]))

    def select(self, split: str) -> "LabelledIndividuals":
        """The rows of a split. InputError: there are no splits, or none of this name."""
        if self.splits is None:
            raise InputError("has no splits", where=self.source, hint="leave --split out, or add a column `split`")
        there = sorted({*self.splits} - {""})
        wanted: Callable[[str], bool] = (split, *(TEST if split == "test" and split not in there else ())).__contains__
        found = [i for i, each in enumerate(self.splits) if wanted(each)]
        if not found:
            raise InputError(f"no split {split!r}; it has {', '.join(there) or 'none'}", where=self.source)
        return self.take(found)

    def column(self, name: str) -> list[str | None]:
        """Another column of the table; InputError when there is none of this name."""
        require_column(self.table, name, self.source, "name a column of the table")
        return self.table[name].cast(pl.String).to_list()

    def fingerprint(self) -> dict[str, Any]:
        """What a model's record keeps of its data: `source`, `count`, `individuals` and `sha256`.

        The hash is over the id, identity and size in bytes of each picture, as for galaxies; a missing file has -1.
        """
        found = fingerprint_of(self.source, self.ids, self.identities, sizes_of(self.root, self.paths))
        del found["classes"]
        return {**found, "individuals": len(self.individuals)}


def folder_rows(source: Path) -> Rows:
    """One folder per individual, named after it; pictures that lie in no folder are unlabelled."""
    found, others = photographs_below(source)
    paths = [path.relative_to(source).as_posix() for path in found]
    identities = [path.split("/", 1)[0] if "/" in path else "" for path in paths]
    if not paths:
        hint = "put the pictures of each individual in a folder named after it, or give a table"
        raise InputError("no pictures in it", where=source, hint=hint)
    notices = [f"{others} other files left out"] if others else []
    return Rows(source, paths, identities, pl.DataFrame(), [None] * len(paths), notices=notices)
