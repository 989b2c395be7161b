"""The picture of a ranking: a sheet of the first galaxies, each with its rank, its score and its name."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from attn.apps.galaxy.read import read_cutout
from attn.core.errors import AttnError, UsageError
from attn.core.files import legible, replacing
from attn.core.results.prediction import Prediction
from attn.data_adapters.images.pictures import PICTURE_SUFFIXES
from attn.data_adapters.sky.framing import frame
from attn.data_adapters.sky.stretch import Stretch

COLUMNS, ROWS = 6, 6
TILE, GAP, LINE = 160, 6, 14
LETTERS = 26  # that fit below a tile
FONT = ImageFont.load_default(12)
INK, PAPER = (230, 230, 230), (20, 20, 20)


def check_name(path: Path) -> None:
    """Raise UsageError unless the name is that of a picture."""
    if not path.name.lower().endswith(PICTURE_SUFFIXES):
        raise UsageError("the answers are drawn as a picture", where=path, hint="end its name in .png")


def draw_ranking(
    path: Path, ranked: Sequence[Prediction], score: str, stretch: Stretch, hdu: int | str | None = None
) -> int:
    """Draw the first 36 of `ranked`, whose ids are paths, in their order; says how many. `score` is a value of each.

    The pictures are read again, whole and not cropped to the galaxy: what makes one unusual may lie beside it.
    """
    shown = [each for each in ranked if each.error is None][: COLUMNS * ROWS]
    high = TILE + 2 * LINE + GAP
    rows = max(1, -(-len(shown) // COLUMNS))
    sheet = Image.new("RGB", (COLUMNS * (TILE + GAP) + GAP, rows * high + GAP), PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, each in enumerate(shown):
        left, top = GAP + number % COLUMNS * (TILE + GAP), GAP + number // COLUMNS * high
        sheet.paste(_tile(each.id, stretch, hdu), (left, top))
        name = legible(Path(each.id).name)
        value = each.values[score]
        said = f"{each.values['rank']}. {value:.3f} {each.label or ''}"
        for line, text in enumerate((said, name if len(name) <= LETTERS else "..." + name[3 - LETTERS :])):
            plain = "".join(letter if letter.isprintable() else "?" for letter in text)
            pen.text((left, top + TILE + line * LINE), plain, INK, font=FONT)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        sheet.save(part)
    return len(shown)


def _tile(path: str, stretch: Stretch, hdu: int | str | None) -> Image.Image:
    """Black where the file is gone meanwhile."""
    try:
        return Image.fromarray(frame(read_cutout(path, stretch, hdu).pixels, TILE))
    except AttnError:
        return Image.fromarray(np.zeros((TILE, TILE, 3), np.uint8))
