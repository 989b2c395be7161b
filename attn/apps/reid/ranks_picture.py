"""Queries and the answers to each as a picture: a row per query, the best first, framed where the truth is known."""

import io
import math
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from attn.apps.reid.gallery import Gallery
from attn.apps.reid.local_features import local_features
from attn.apps.reid.ranks import answer_of
from attn.apps.reid.search import Answer, Ranked
from attn.apps.reid.verify import Matches, Verifier, match
from attn.core.errors import AttnError, UsageError
from attn.core.files import replacing
from attn.data_adapters.images.pictures import PICTURE_SUFFIXES

MOST_ROWS = 24
TILE, FRAME, GAP, LINE = 160, 5, 8, 15
LETTERS = 24  # that fit below a tile
RIGHT, WRONG, UNKNOWN = (0, 158, 115), (213, 94, 0), (190, 190, 190)  # Okabe and Ito's green and vermilion
LINES = (230, 159, 0)  # their orange
FONT = ImageFont.load_default(12)
INK, PAPER = (30, 30, 30), (255, 255, 255)
LEGEND = "green frame: the individual of the query. orange: another. grey: one of the two is not known."


def check_name(path: Path) -> None:
    """Raise UsageError unless the name is that of a picture."""
    if not path.name.lower().endswith(PICTURE_SUFFIXES):
        raise UsageError("the ranks are drawn as a picture", where=path, hint="end its name in .png")


def draw_ranks(
    path: Path, drawn: Sequence[tuple[Answer, Sequence[np.ndarray]]], gallery: Gallery, verifier: Verifier | None = None
) -> int:
    """Write the picture of at most MOST_ROWS answers; each comes with its query's pictures (H, W, 3). Says how many.

    With `verifier` each answer stands below the query, and lines join the inliers.
    """
    drawn = drawn[:MOST_ROWS]
    columns = 1 + max((len(answer.ranked) for answer, _ in drawn), default=0)
    tall = TILE if verifier is None else 2 * TILE
    wide, high = TILE + 2 * FRAME + GAP, tall + 2 * FRAME + 3 * LINE + GAP
    across = max(columns * wide, GAP + math.ceil(FONT.getlength(LEGEND)))  # a legend may be wider than few answers
    sheet = Image.new("RGB", (across + GAP, len(drawn) * high + LINE + 2 * GAP), PAPER)
    for number, (answer, pictures) in enumerate(drawn):
        own = [] if verifier is None else [local_features(each) for each in pictures]
        top = GAP + number * high
        said = answer_of(answer)
        lines = [answer.query.id, answer.query.identity, f"answer: {said}" if said else ""]
        _tile(sheet, GAP, top, TILE, Image.fromarray(pictures[0]), INK, lines)
        for column, each in enumerate(answer.ranked, 1):
            frame = _frame(answer.query.identity, each.individual)
            shown = _picture(gallery, each)
            if verifier is not None:
                found = match(own[each.of_query], verifier.features(each.row))
                shown = joined(Image.fromarray(pictures[each.of_query]), shown, found if each.inliers else None)
            _tile(sheet, GAP + column * wide, top, tall, shown, frame, _lines(each))
    _write(sheet, (GAP, len(drawn) * high + GAP), LEGEND)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        sheet.save(part)
    return len(drawn)


def joined(a: Image.Image, b: Image.Image, found: Matches | None) -> Image.Image:
    """b below a, both TILE high and wide at most, and a line for each inlier."""
    sheet = Image.new("RGB", (TILE, 2 * TILE), PAPER)
    scales, corners = [], []
    for number, picture in enumerate((a, b)):
        fitted = ImageOps.contain(picture, (TILE, TILE), Image.Resampling.LANCZOS)
        corners.append(np.array([(TILE - fitted.width) // 2, number * TILE + (TILE - fitted.height) // 2]))
        scales.append(np.array(fitted.size) / picture.size)
        sheet.paste(fitted, tuple(corners[-1].tolist()))
    if found is not None:
        pen = ImageDraw.Draw(sheet)
        ends = [
            (points + 0.5) * scale + corner
            for points, scale, corner in zip((found.a, found.b), scales, corners, strict=True)
        ]
        for start, end in zip(*(each[found.inliers] for each in ends), strict=True):
            pen.line((*start.tolist(), *end.tolist()), LINES)
    return sheet


def _frame(asked: str, found: str) -> tuple[int, int, int]:
    if not asked or not found:
        return UNKNOWN
    return RIGHT if asked == found else WRONG


def _lines(each: Ranked) -> list[str]:
    sure = f"similarity {each.similarity:.3f}"
    if each.inliers is not None:
        first = f"sim {each.similarity:.3f}" if each.probability is None else f"p {each.probability:.2f}"
        sure = f"{first}, {each.inliers} inliers"
    elif each.probability is not None:
        sure = f"p {each.probability:.2f}, {sure}"
    return [f"{each.rank}. {each.individual or '(nobody named)'}", sure, each.picture]


def _picture(gallery: Gallery, each: Ranked) -> Image.Image:
    """The photograph, or its thumbnail where it is no longer there."""
    try:
        return Image.fromarray(gallery.photograph(each.row).pixels)
    except AttnError:
        return Image.open(io.BytesIO(gallery.rows["thumbnail"][each.row])).convert("RGB")


def _tile(
    sheet: Image.Image,
    left: int,
    top: int,
    tall: int,
    picture: Image.Image,
    frame: tuple[int, int, int],
    lines: Sequence[str],
) -> None:
    fitted = ImageOps.contain(picture, (TILE, tall), Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(sheet)
    pen.rectangle((left, top, left + TILE + 2 * FRAME - 1, top + tall + 2 * FRAME - 1), frame)
    box = (left + FRAME, top + FRAME, left + FRAME + TILE, top + FRAME + tall)
    pen.rectangle((*box[:2], box[2] - 1, box[3] - 1), PAPER)
    sheet.paste(fitted, (box[0] + (TILE - fitted.width) // 2, box[1] + (tall - fitted.height) // 2))
    for number, line in enumerate(lines):
        _write(sheet, (left, top + tall + 2 * FRAME + 1 + number * LINE), line, LETTERS)


def _write(sheet: Image.Image, at: tuple[int, int], line: str, most: int = 200) -> None:
    """One line; of a long one the end, which says most of a path. Bytes that are no text become question marks."""
    composed = unicodedata.normalize("NFC", line)  # the font has ñ, and no tilde that joins an n
    plain = "".join(letter if letter.isprintable() else "?" for letter in composed)
    plain = plain if len(plain) <= most else "..." + plain[3 - most :]
    ImageDraw.Draw(sheet).text(at, plain, INK, font=FONT)
