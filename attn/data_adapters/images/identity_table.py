"""Individuals in a table: columns of paths, identities, cameras, encounters, times, boxes and splits.

Cells are text: 007 stays 007, and NA is a name. No cell is evaluated as code.
"""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import polars as pl

from attn.core.errors import InputError, UsageError
from attn.data_adapters.images.boxes import Box, BoxFormat, Frame, each_box
from attn.data_adapters.images.identity_rows import Rows, each_once
from attn.data_adapters.images.photographs import PHOTOGRAPH_SUFFIXES, plain_name
from attn.data_adapters.paths import is_hidden
from attn.data_adapters.tables.small import read_table, require_column

CAMERAS = ("camera", "camera_id", "station", "site")
ENCOUNTERS = ("encounter", "encounter_id", "event", "sequence")
TIMES = ("time", "timestamp", "datetime", "date")
SPLITS = ("split",)
BOX_COLUMNS: dict[BoxFormat, Sequence[tuple[str, ...]]] = {
    "coco": [("x", "y", "w", "h"), ("bbox",), ("bbox_x", "bbox_y", "bbox_w", "bbox_h")],
    "voc": [("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"), ("bbox",)],
    "yolo": [("xc", "yc", "w", "h"), ("x", "y", "w", "h"), ("bbox",)],
    "megadetector": [("x", "y", "w", "h"), ("bbox",)],
}
NO = "none"  # for a column that is not to be taken although it is there


def table_rows(
    source: Path,
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
) -> Rows:
    """The rows of a .csv, .tsv or .parquet table; `open_individuals` says what the columns mean and what is raised."""
    table = read_table(source)
    if table.is_empty():
        raise InputError("the table has no rows", where=source)
    paths = _text(source, table, image or "path", "choose with --image and --identity")
    if missing := [i for i, path in enumerate(paths) if not path.strip()]:
        what = f"{len(missing)} of {len(paths)} rows have no {image or 'path'!r}, the first is row {missing[0] + 1}"
        raise InputError(what, where=source, hint="fill or remove them")
    hint = "choose with --identity, or say --identity none"
    boxes, problems = _boxes(source, table, box, box_format, box_frame)
    identities = [""] * len(paths) if identity == NO else _text(source, table, identity or "identity", hint)
    rows = Rows(
        root=source.parent,
        paths=paths,
        identities=[name if name.strip() else "" for name in identities],
        table=table,
        boxes=boxes,
        cameras=_optional(source, table, camera, CAMERAS, "--camera"),
        encounters=_optional(source, table, encounter, ENCOUNTERS, "--encounter"),
        times=_optional(source, table, time, TIMES, "--time"),
        within=_optional(source, table, within, (), "--within"),
        splits=_optional(source, table, None, SPLITS, ""),
        problems=problems,
        notices=_unlisted(source, paths),
    )
    return each_once(rows, line=None if source.name.lower().endswith(".parquet") else 2)


def _text(source: Path, table: pl.DataFrame, column: str, hint: str) -> list[str]:
    require_column(table, column, source, hint)
    return [text or "" for text in table[column].cast(pl.String).to_list()]


def _optional(
    source: Path, table: pl.DataFrame, column: str | None, usual: Sequence[str], option: str
) -> list[str] | None:
    if column == NO:
        return None
    if column is None:
        column = next((name for name in usual if name in table.columns), None)
    return None if column is None else [text.strip() for text in _text(source, table, column, f"choose with {option}")]


def _boxes(
    source: Path, table: pl.DataFrame, box: str | None, format: BoxFormat | None, frame: Frame
) -> tuple[list[Box | None], dict[int, InputError]]:
    columns = _box_columns(table, box, format)
    if columns is None:
        if format is not None:
            raise UsageError(f"has no columns of {format} boxes", where=source, hint="name them with --box x,y,w,h")
        return [None] * len(table), {}
    cells = [_text(source, table, column, "choose with --box") for column in columns]
    rows = [*zip(*cells, strict=True)]

    def made(format: BoxFormat, i: int) -> Box | None:
        where = f"{source}, row {i + 1}"
        four = _numbers(rows[i], columns, where)
        return None if four is None else Box.of(four, format, frame, where)

    found = each_box(partial(made, format or "coco", i) for i in range(len(rows)))
    known = [corner for box in found[0] if box for corner in (box.x, box.y, box.w, box.h)]
    if format is None and known and all(0 <= number <= 1 for number in known):
        raise InputError(
            f"the boxes in {', '.join(columns)} are all within 0 and 1",
            where=source,
            hint="say what they are: --box-format megadetector (left, top, width, height), yolo (centre, width, "
            "height) or coco (pixels)",
        )
    return found


def _box_columns(table: pl.DataFrame, box: str | None, format: BoxFormat | None) -> tuple[str, ...] | None:
    if box == NO:
        return None
    if box is not None:
        return tuple(name.strip() for name in box.split(","))
    usual = BOX_COLUMNS[format or "coco"]
    return next((names for names in usual if set(names) <= set(table.columns)), None)


def _numbers(cells: Sequence[str], columns: Sequence[str], where: str) -> tuple[float, float, float, float] | None:
    """Four numbers of four cells, or of one as [x, y, w, h]; None where all are empty."""
    if not any(cell.strip() for cell in cells):
        return None
    parts = list(cells) if len(cells) > 1 else cells[0].strip().strip("[]()").replace(",", " ").split()
    try:
        a, b, c, d = (float(part) for part in parts)
    except ValueError as error:
        shown = ",".join(cells)[:60]
        raise InputError(f"{','.join(columns)} are to be four numbers, not {shown!r}", where=where) from error
    return a, b, c, d


def _unlisted(source: Path, paths: Sequence[str]) -> list[str]:
    """How many pictures lie beside the listed ones and are not in the table, whatever the case of their names."""
    listed = {os.path.normpath(path) for path in paths}
    plain = {plain_name(path) for path in listed}
    count = 0
    for folder in sorted({os.path.dirname(path) for path in listed}):  # noqa: PTH120
        try:
            names = os.listdir(source.parent / folder)  # noqa: PTH208
        except (OSError, ValueError):
            continue
        pictures = (name for name in names if not is_hidden(name) and name.lower().endswith(PHOTOGRAPH_SUFFIXES))
        count += sum(plain_name(os.path.join(folder, name)) not in plain for name in pictures)  # noqa: PTH118
    return [f"{count} pictures beside the listed ones are not in the table"] if count else []
