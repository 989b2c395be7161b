"""Boxes around the objects in pictures: the formats they are written in, and the crop that each means.

A box is left, top, width, height, in pixels or as fractions of the picture. It lies in the picture as shown, which is
upright, or as stored, which a camera that was held sideways leaves to be turned (EXIF).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from attn.core.errors import InputError
from attn.data_adapters.boundary import boundary
from attn.data_adapters.images.cutout import Display
from attn.data_adapters.images.pictures import Picture

BoxFormat = Literal["coco", "voc", "yolo", "megadetector"]
"""coco: x, y, w, h in pixels. voc: x1, y1, x2, y2 in pixels. yolo: centre, w, h as fractions. megadetector: x, y, w, h
as fractions."""
Frame = Literal["shown", "stored"]
_SLACK = 1.5  # pixels that a box may lie outside, for rounding; of a side, one in a hundred
_SWAPS = (5, 6, 7, 8)  # EXIF orientations by which width and height change places


@dataclass(frozen=True)
class Box:
    """left, top, width, height, each in pixels, or as a fraction of the picture when `relative`."""

    x: float
    y: float
    w: float
    h: float
    relative: bool = False
    frame: Frame = "shown"

    @classmethod
    def of(
        cls, four: Iterable[float | str], format: BoxFormat, frame: Frame = "shown", where: str | Path = "box"
    ) -> "Box":
        """The box that four numbers mean. InputError at `where`: not four, no size, no fractions of the picture."""
        with boundary(where, "a box is to be four numbers"):
            a, b, c, d = numbers = tuple(float(number) for number in four)
        if format == "voc":
            box = cls(a, b, c - a, d - b, False, frame)
        elif format == "yolo":
            box = cls(a - c / 2, b - d / 2, c, d, True, frame)
        else:
            box = cls(a, b, c, d, format == "megadetector", frame)
        if not np.isfinite(numbers).all() or box.w <= 0 or box.h <= 0:
            raise InputError(f"the {format} box {_text(numbers)} has no size", where=where)
        if box.relative and max(abs(box.x), abs(box.y), box.w, box.h) > 1.5:
            raise InputError(f"the {format} box {_text(numbers)} is not in fractions of the picture", where=where)
        return box

    def __str__(self) -> str:
        return _text((self.x, self.y, self.w, self.h))


def each_box(makers: Iterable[Callable[[], Box | None]]) -> tuple[list[Box | None], dict[int, InputError]]:
    """The box of each row, and why a row has none that can be used, by row number.

    One bad box is the problem of its row. InputError, the first, where no box is any good: they mean something else.
    """
    boxes: list[Box | None] = []
    problems: dict[int, InputError] = {}
    for row, make in enumerate(makers):
        try:
            boxes.append(make())
        except InputError as error:
            boxes.append(None)
            problems[row] = error
    if problems and not any(boxes):
        raise next(iter(problems.values()))
    return boxes, problems


def crop(picture: Picture, box: Box) -> tuple[Display, bool]:
    """The pixels (h, w, 3) in a box, at least one, and whether the box was cut at the edge of the picture.

    InputError: more than half of the box lies outside the picture, or the box fits the other frame but not its own.
    """
    height, width = picture.pixels.shape[:2]
    shown, stored = (width, height), (height, width) if picture.orientation in _SWAPS else (width, height)
    own, other = (shown, stored) if box.frame == "shown" else (stored, shown)
    corners = _corners(box, own)
    if not _fits(corners, own):
        if _fits(_corners(box, other), other):
            raise InputError(
                f"the box {box} does not fit the picture as {box.frame} ({own[0]} x {own[1]}), but as "
                f"{_other(box.frame)} ({other[0]} x {other[1]})",
                hint=f"say --box-frame {_other(box.frame)}",
            )
        if _inside(corners, own) < 0.5:
            raise InputError(f"the box {box} lies outside the picture, which has {own[0]} x {own[1]} pixels")
    left, top, right, bottom = corners if box.frame == "shown" else _turned(corners, stored, picture.orientation)
    x, y = (min(max(round(at), 0), size - 1) for at, size in ((left, width), (top, height)))
    x2, y2 = min(max(round(right), x + 1), width), min(max(round(bottom), y + 1), height)
    return picture.pixels[y:y2, x:x2], not _fits(corners, own)


Corners = tuple[float, float, float, float]
"""left, top, right, bottom."""


def _corners(box: Box, size: tuple[int, int]) -> Corners:
    sx, sy = size if box.relative else (1, 1)
    return box.x * sx, box.y * sy, (box.x + box.w) * sx, (box.y + box.h) * sy


def _fits(corners: Corners, size: tuple[int, int]) -> bool:
    left, top, right, bottom = corners
    x, y = (max(_SLACK, side / 100) for side in size)
    return left >= -x and top >= -y and right <= size[0] + x and bottom <= size[1] + y


def _inside(corners: Corners, size: tuple[int, int]) -> float:
    """The part of the box that lies in the picture."""
    left, top, right, bottom = corners
    w, h = min(right, size[0]) - max(left, 0), min(bottom, size[1]) - max(top, 0)
    return max(w, 0) * max(h, 0) / ((right - left) * (bottom - top))


def _turned(corners: Corners, size: tuple[int, int], orientation: int) -> Corners:
    """Corners in the stored picture, of `size`, as corners in the shown one (EXIF 2.3, orientation)."""
    left, top, right, bottom = corners
    if orientation in (2, 3, 7, 8):
        left, right = size[0] - right, size[0] - left
    if orientation in (3, 4, 6, 7):
        top, bottom = size[1] - bottom, size[1] - top
    return (top, left, bottom, right) if orientation in _SWAPS else (left, top, right, bottom)


def _other(frame: Frame) -> Frame:
    return "stored" if frame == "shown" else "shown"


def _text(numbers: tuple[float, ...]) -> str:
    return ",".join(f"{number:g}" for number in numbers)
