"""A photograph of an individual: the picture or a box of it, and what is odd about it."""

import os
import unicodedata
from enum import StrEnum
from pathlib import Path

import numpy as np

from attn.core.errors import InputError
from attn.data_adapters.images.boxes import Box, crop
from attn.data_adapters.images.cutout import Cutout, Display
from attn.data_adapters.images.heif import HEIF_SUFFIXES
from attn.data_adapters.images.pictures import PICTURE_SUFFIXES, check_regular_file, open_picture
from attn.data_adapters.paths import is_hidden, to_search

PHOTOGRAPH_SUFFIXES = (*PICTURE_SUFFIXES, *HEIF_SUFFIXES)
TINY = 16  # pixels of the shorter side
_BLANK = 1.5  # grey levels of spread


class Flag(StrEnum):
    """A remark on a photograph. Each value is the word that stands in the column `flags`."""

    SEVERAL_FRAMES = "several-frames"
    """The file has several frames or pages; the first is used, and `frames` counts them."""
    TINY = "tiny"
    """The shorter side has less than 16 pixels."""
    BLANK = "blank"
    """All pixels are nearly equal: there is nothing to recognise."""
    BOX_CUT = "box-cut"
    """The box reaches over the edge of the picture, and ends there."""


def read_photograph(path: Path, id: str, box: Box | None = None) -> Cutout:
    """The picture, or its part in `box`, with flags. InputError: see `open_picture` and `crop`."""
    try:
        check_regular_file(path)
    except InputError as error:
        if error.what == "no such file" and path.is_symlink():
            raise InputError("is a link to a file that is not there", where=path, hint="check the link") from error
        if error.what == "no such file" and (other := similar_name(path)):
            hint = f"there is {other!r}, which differs in case or in how its letters are stored"
            raise InputError(error.what, where=path, hint=hint) from error
        raise
    picture = open_picture(path)
    pixels, flags = picture.pixels, []
    if box is not None:
        try:
            pixels, cut = crop(picture, box)
        except InputError as error:
            raise InputError(error.what, where=path, hint=error.hint) from error
        flags += [Flag.BOX_CUT] * cut
    flags += [Flag.SEVERAL_FRAMES] * (picture.frames > 1) + [Flag.TINY] * (min(pixels.shape[:2]) < TINY)
    flags += [Flag.BLANK] * _is_blank(pixels)
    values: dict[str, float | str] = {"frames": picture.frames} if picture.frames > 1 else {}
    return Cutout(id, pixels, tuple(flags), values)


def photographs_below(folder: Path) -> tuple[list[Path], int]:
    """The pictures in a folder, at any depth, sorted, and how many other files were left out.

    Hidden files and folders, and `__MACOSX`, are not looked at; links to folders are not followed, so that a loop of
    them ends; folders that attn made hold results.
    """
    found: list[Path] = []
    others = 0
    for place, folders, names in os.walk(folder):
        folders[:] = to_search(Path(place), [name for name in folders if not is_hidden(name)])
        pictures = [name for name in names if not is_hidden(name) and name.lower().endswith(PHOTOGRAPH_SUFFIXES)]
        others += len(names) - len(pictures)
        found += [Path(place, name) for name in pictures]
    return sorted(found), others


def plain_name(name: str) -> str:
    """The same for names that differ in case or in their Unicode form only."""
    return unicodedata.normalize("NFC", name).casefold()


def similar_name(path: Path) -> str | None:
    """A file beside `path` whose name differs in case or in its Unicode form only."""
    asked = plain_name(path.name)
    try:
        return next((name for name in os.listdir(path.parent) if plain_name(name) == asked), None)  # noqa: PTH208
    except OSError:
        return None


def _is_blank(pixels: Display) -> bool:
    small = pixels[:: max(1, len(pixels) // 256), :: max(1, pixels.shape[1] // 256)]
    return float(np.std(small.reshape(-1, 3).astype(np.float32), axis=0).max()) < _BLANK
