"""Camtrap DP (Bubnicki et al. 2023, https://camtrap-dp.tdwg.org): media and observations of camera traps in a folder.

An observation of one picture is a row: individualID is the individual, deploymentID the camera
("unknown" is none), eventID the encounter, and the four bbox columns are fractions of the picture, left, top, width,
height.
"""

from functools import partial
from pathlib import Path

import polars as pl

from attn.core.errors import InputError
from attn.data_adapters.images.boxes import Box, each_box
from attn.data_adapters.images.identity_rows import Rows, each_once
from attn.data_adapters.images.photographs import PHOTOGRAPH_SUFFIXES
from attn.data_adapters.tables.small import read_table, require_column

MEDIA, OBSERVATIONS = "media.csv", "observations.csv"
NO_DEPLOYMENT = "unknown"  # an identifier that the standard does not let be empty
_BOX = ("bboxX", "bboxY", "bboxWidth", "bboxHeight")


def is_camtrap(source: Path) -> bool:
    """Whether a folder has the two tables."""
    return (source / MEDIA).is_file() and (source / OBSERVATIONS).is_file()


def camtrap_rows(source: Path) -> Rows:
    """A row for each observation of an animal in a picture.

    InputError: a table that lacks a column, boxes that are no numbers, no observation of a picture.
    """
    media, seen = read_table(source / MEDIA), read_table(source / OBSERVATIONS)
    for table, name, columns in ((media, MEDIA, ("mediaID", "filePath")), (seen, OBSERVATIONS, ("mediaID",))):
        for column in columns:
            require_column(table, column, source / name, "is it Camtrap DP 1.0?")
    if media["mediaID"].is_duplicated().any():
        raise InputError("has a mediaID twice", where=source / MEDIA)
    notices = []
    if "observationType" in seen.columns:
        seen = seen.filter(pl.col("observationType").is_null() | (pl.col("observationType") == "animal"))
    joined = seen.join(media, on="mediaID", how="inner", suffix="_media", maintain_order="left")
    if whole := len(seen) - len(joined):
        notices.append(f"{whole} observations name no picture of {MEDIA} and are left out")
    is_picture = [str(path or "").lower().endswith(PHOTOGRAPH_SUFFIXES) for path in joined["filePath"]]
    pictures = joined.filter(pl.Series(is_picture, dtype=pl.Boolean))
    if others := len(joined) - len(pictures):
        notices.append(f"{others} observations are of films or other files and are left out")
    if pictures.is_empty():
        raise InputError("no observation of a picture", where=source / OBSERVATIONS)
    paths = _texts(pictures, "filePath") or []
    boxes, problems = _boxes(source / OBSERVATIONS, pictures)
    rows = Rows(
        root=source,
        paths=paths,
        identities=_texts(pictures, "individualID") or [""] * len(paths),
        table=pictures,
        boxes=boxes,
        cameras=[name if name != NO_DEPLOYMENT else "" for name in _texts(pictures, "deploymentID") or []] or None,
        encounters=_texts(pictures, "eventID"),
        times=_texts(pictures, "timestamp"),
        notices=notices,
        problems=problems
        | {
            i: InputError("is a web address", where=path, hint="download it, and name the file in filePath")
            for i, path in enumerate(paths)
            if "://" in path
        },
    )
    return each_once(rows, line=None)


def _texts(table: pl.DataFrame, column: str) -> list[str] | None:
    return [text or "" for text in table[column]] if column in table.columns else None


def _boxes(where: Path, table: pl.DataFrame) -> tuple[list[Box | None], dict[int, InputError]]:
    if not set(_BOX) <= set(table.columns):
        return [None] * len(table), {}

    def made(i: int, cells: tuple[str | None, ...]) -> Box | None:
        place = f"{where}, picture {i + 1}"
        return Box.of((cell or "" for cell in cells), "megadetector", where=place) if any(cells) else None

    return each_box(partial(made, i, cells) for i, cells in enumerate(table.select(_BOX).rows()))
