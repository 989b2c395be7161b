"""What is in inputs before any model sees them: HDUs, sizes, flags, classes, and a sheet of pictures."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from attn.apps.galaxy.read import SUFFIXES, read_cutout
from attn.core.errors import AttnError, UsageError
from attn.core.files import replacing
from attn.data_adapters.images.labelled import LabelledImages
from attn.data_adapters.images.pictures import PICTURE_SUFFIXES
from attn.data_adapters.paths import expand_inputs
from attn.data_adapters.sky.fits import describe_fits
from attn.data_adapters.sky.framing import frame, galaxy_share
from attn.data_adapters.sky.kinds import HDF5_SUFFIXES, is_picture
from attn.data_adapters.sky.stretch import Stretch
from attn.data_adapters.tables.small import TABLE_SUFFIXES

COLUMNS = ("contents", "pixels", "flags")
SHEET_COLUMNS, SHEET_ROWS, TILE = 8, 6, 128


def is_labelled(path: str) -> bool:
    """Whether `path` is a labelled set rather than an input: a table, a Galaxy10 file, a folder of folders."""
    place = Path(path)
    if place.is_dir():
        return any(child.is_dir() for child in place.iterdir()) and not any(
            child.is_file() for child in place.iterdir()
        )
    return path.lower().endswith(TABLE_SUFFIXES + HDF5_SUFFIXES)


def inspect_file(path: Path, hdu: int | str | None = None) -> dict[str, object]:
    """The cells of `COLUMNS` for a file: its HDUs, the size in pixels, the flags of reading it.

    A file whose image cannot be read has the reason as `error`. Raises InputError for a file that cannot be read.
    """
    if is_picture(path):
        row: dict[str, object] = {"contents": "picture"}
    else:
        row = {"contents": "; ".join(f"{unit['hdu']}: {unit['content']}" for unit in describe_fits(path))}
    try:
        cutout = read_cutout(path, Stretch(), hdu)
    except AttnError as error:
        return row | {"error": str(error)}
    return row | {"pixels": "{1} x {0}".format(*cutout.pixels.shape), "flags": ";".join(cutout.flags)}


def inspect_labelled(source: LabelledImages) -> list[dict[str, object]]:
    """A row per class: images, share, and how many of (at most 50 of) them cannot be read, with the first reason."""
    counts = Counter(source.labels)
    rows = []
    for name in sorted(counts):
        members = [row for row, label in enumerate(source.labels) if label == name]
        reasons = []
        for row in members[:: max(1, len(members) // 50)]:
            try:
                source.read(row)
            except AttnError as error:
                reasons.append(str(error))
        rows.append(
            {
                "label": name,
                "images": counts[name],
                "share": counts[name] / len(source.labels),
                "unreadable": len(reasons),
                "reason": reasons[0] if reasons else None,
            }
        )
    return rows


def draw_preview(inputs: Iterable[str], path: Path, stretch: Stretch, hdu: int | str | None = None) -> int:
    """Draw the first 48 readable cut-outs as the model would see them, enlarged; returns how many there are.

    Raises UsageError for a `path` whose suffix is not that of a picture.
    """
    if not path.name.lower().endswith(PICTURE_SUFFIXES):
        raise UsageError("the preview is a picture", where=path, hint="end its name in .png")
    path.parent.mkdir(parents=True, exist_ok=True)
    tiles: list[np.ndarray] = []
    for source in expand_inputs(inputs, SUFFIXES):
        if len(tiles) == SHEET_COLUMNS * SHEET_ROWS:
            break
        try:
            cutout = read_cutout(source, stretch, hdu)
        except AttnError:
            continue  # the row of inspect_file has its reason
        tile = Image.fromarray(frame(cutout.pixels, TILE, galaxy_share(cutout.pixels)))
        ImageDraw.Draw(tile).text((3, TILE - 13), source.name[:20], fill=(255, 255, 120))
        tiles.append(np.asarray(tile))
    rows = -(-len(tiles) // SHEET_COLUMNS)
    sheet = np.zeros((max(rows, 1) * TILE, SHEET_COLUMNS * TILE, 3), np.uint8)
    for index, pixels in enumerate(tiles):
        top, left = index // SHEET_COLUMNS * TILE, index % SHEET_COLUMNS * TILE
        sheet[top : top + TILE, left : left + TILE] = pixels
    with replacing(path) as part:
        Image.fromarray(sheet).save(part)
    return len(tiles)
