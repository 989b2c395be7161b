"""What is in inputs before any model sees them: header without identity, steps, flags, classes, a sheet of pictures."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from attn.apps.chest.gate import OF_THE_HEADER
from attn.apps.chest.preprocess import Preprocessing, to_bytes
from attn.apps.chest.read import Reading, Source, source_id
from attn.core.errors import AttnError, UsageError
from attn.core.files import replacing
from attn.data_adapters.dicom.flags import Flag
from attn.data_adapters.dicom.labelled import LabelledStudies
from attn.data_adapters.dicom.labelled_rows import is_covidx
from attn.data_adapters.dicom.radiograph import NotAnImageError, Radiograph
from attn.data_adapters.images.pictures import PICTURE_SUFFIXES
from attn.data_adapters.tables.small import TABLE_SUFFIXES

COLUMNS = (
    "contents",
    "pixels",
    "spacing",
    "encoding",
    "decoder",
    "modality_step",
    "windows",
    "voi_step",
    "polarity",
    "flags",
    "error",
)
MOST_TILES, MOST_COLUMNS, CAPTION = 48, 8, 14
SAMPLED = 50  # images of a class that are read
BURNED_IN = "the picture shows text that is burned into an image: look at it before you pass it on"


def is_labelled(path: str, patient: str | None) -> bool:
    """Whether `path` is a labelled set rather than an input: a table, a COVIDx list, or class folders of which
    `patient` is said.

    Studies in folders look like classes, and are often named after patients; class folders need `--patient none`.
    """
    if Path(path).is_dir():
        return patient is not None
    return path.lower().endswith(TABLE_SUFFIXES) or is_covidx(Path(path))


def inspect_files(
    xs: Iterable[Source],
    reading: Reading,
    skipped: Callable[[NotAnImageError], None],
    sheet: "Sheet | None" = None,
) -> Iterator[dict[str, object]]:
    """A row a frame with `id` and COLUMNS; a file that cannot be read has the reason as `error`.

    What holds no image goes to `skipped`. `sheet` gets every radiograph with the number of its row.
    """
    number = 0
    for found in chain.from_iterable(map(reading.frames_or_error, xs)):
        if isinstance(found, NotAnImageError):
            skipped(found)
            continue
        number += 1
        row: dict[str, object] = {"id": source_id(found), **dict.fromkeys(COLUMNS)}
        if isinstance(found, AttnError):
            yield row | {"error": str(found)}
            continue
        if sheet is not None:
            sheet.add(found, number)
        yield row | described(found)


def described(radiograph: Radiograph) -> dict[str, object]:
    """The cells of COLUMNS that are known of a radiograph. All of it is on the reader's allow-list."""
    header = radiograph.header
    height, width = radiograph.pixels_hw.shape
    high, wide = radiograph.spacing
    bits = f"{header['bits_stored']:g} of {header['bits_allocated']:g} bits" if "bits_stored" in header else ""
    contents = [header.get(name) for name in ("modality", "body_part", "view_position", "sop_class")]
    return {
        "contents": ", ".join(str(part) for part in contents if part) or "picture",
        "pixels": ", ".join(filter(None, (f"{width} x {height}", bits, str(header.get("photometric", ""))))),
        "spacing": f"{high:g} x {wide:g}",
        "encoding": header.get("transfer_syntax"),
        "flags": ";".join(radiograph.flags),
        **{name: header.get(name) for name in ("decoder", "modality_step", "windows", "voi_step", "polarity")},
    }


def inspect_labelled(source: LabelledStudies) -> list[dict[str, object]]:
    """A row per class: images, patients, share, and how many of (at most SAMPLED of) them cannot be read or are no
    frontal chests by their header, with the first reason."""
    rows: list[dict[str, object]] = []
    for column, name in enumerate(source.classes):
        members = np.flatnonzero(source.targets[:, column] == 1).tolist()
        reasons, flags = [], Counter[Flag]()
        for row in members[:: max(1, -(-len(members) // SAMPLED))]:
            try:
                flags.update(flag for flag in source.read(row).flags if flag in OF_THE_HEADER)
            except AttnError as error:
                reasons.append(str(error))
        rows.append(
            {
                "label": name,
                "images": len(members),
                "patients": len({source.patients[row] for row in members}),
                "share": len(members) / len(source),
                "unreadable": len(reasons),
                "flags": ";".join(flags),
                "reason": reasons[0] if reasons else None,
            }
        )
    return rows


class Sheet:
    """Pictures of exactly what the model sees: the first MOST_TILES radiographs at its side, with their rows' numbers.

    Names stand in the table beside it: a picture goes further than a table, and file names may tell patients.
    """

    def __init__(self, path: Path, preprocessing: Preprocessing) -> None:
        if not path.name.lower().endswith(PICTURE_SUFFIXES):
            raise UsageError("the preview is a picture", where=path, hint="end its name in .png")
        self.path, self.preprocessing = path, preprocessing
        self.tiles: list[tuple[int, np.ndarray]] = []
        self.burned_in = False

    def add(self, radiograph: Radiograph, number: int) -> None:
        """Keep what the model sees of row `number`, from 1, while there is room."""
        if len(self.tiles) < MOST_TILES:
            self.tiles.append((number, to_bytes(self.preprocessing.pixels(radiograph))))
            self.burned_in |= Flag.BURNED_IN in radiograph.flags

    def save(self) -> None:
        """Write the sheet; no metadata is in it."""
        side = self.preprocessing.side
        columns = max(1, min(MOST_COLUMNS, len(self.tiles)))
        rows = max(1, -(-len(self.tiles) // columns))
        sheet = Image.new("L", (columns * side, rows * (side + CAPTION)))
        pen = ImageDraw.Draw(sheet)
        for place, (number, tile) in enumerate(self.tiles):
            left, top = place % columns * side, place // columns * (side + CAPTION)
            sheet.paste(Image.fromarray(tile), (left, top))
            pen.text((left + 3, top + side + 1), str(number), fill=255)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as part:
            sheet.save(part)
