"""Copies among pictures: the same bytes, or the same picture saved again.

A copy under another identity is a conflict of labels, and a copy of a query in the gallery is found by anything.
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from attn.core.errors import InputError
from attn.data_adapters.images.cutout import Display
from attn.data_adapters.images.identities import LabelledIndividuals

_SIDE = 16  # pixels of the thumbnails that are compared
_NEAR = 3.0  # grey levels: the mean difference of thumbnails of one picture saved again
_BLOCK = 1 << 24  # bytes of one block of differences
_LARGE = 16  # equal files of which every pair is named


@dataclass(frozen=True)
class Copy:
    """Two rows that show one picture; `conflict`: under two identities, both known."""

    first: int
    second: int
    kind: Literal["exact", "near"]
    conflict: bool


def copy_groups(individuals: LabelledIndividuals) -> list[int]:
    """A number for each row, equal where the bytes of the files, and the boxes, are. A missing file is its own copy."""
    sizes: dict[int, list[int]] = defaultdict(list)
    for i, path in enumerate(individuals.paths):
        sizes[_size(individuals.root / path)].append(i)
    numbers: dict[object, int] = {}
    found = [0] * len(individuals)
    for size, rows in sizes.items():
        for i in rows:
            place = individuals.root / individuals.paths[i]
            alone = size < 0 or len(rows) == 1
            content: object = os.path.normpath(place) if alone else _digest(place)
            found[i] = numbers.setdefault((content, individuals.boxes[i]), len(numbers))
    return found


def find_copies(individuals: LabelledIndividuals) -> list[Copy]:
    """Pairs of rows that show one picture, in order. Rows that cannot be read have no near copies."""
    groups = np.array(copy_groups(individuals))
    names = individuals.identities
    exact = set(_exact(groups.tolist(), names))
    thumbnails = []
    for i in range(len(individuals)):
        try:
            thumbnails.append(_thumbnail(individuals.read(i)))
        except InputError:
            thumbnails.append(np.full(_SIDE * _SIDE * 3, np.nan, np.float32))
    near = {(i, j) for i, j in _near(np.stack(thumbnails)) if groups[i] != groups[j]} if thumbnails else set()
    found = [(pair, "exact") for pair in exact] + [(pair, "near") for pair in near]
    return [
        Copy(i, j, "exact" if kind == "exact" else "near", bool(names[i] and names[j] and names[i] != names[j]))
        for (i, j), kind in sorted(found)
    ]


def _exact(groups: list[int], names: list[str]) -> Iterator[tuple[int, int]]:
    """All pairs of a group; of a large one each row with the first labelled one, since its pairs would be too many."""
    members: dict[int, list[int]] = defaultdict(list)
    for i in sorted(range(len(groups)), key=lambda i: (not names[i], i)):
        members[groups[i]].append(i)
    for rows in members.values():
        firsts = rows if len(rows) <= _LARGE else rows[:1]
        for place, first in enumerate(firsts):
            yield from ((min(first, i), max(first, i)) for i in rows[place + 1 :])


def _size(path: Path) -> int:
    try:
        return os.path.getsize(path) if os.path.isfile(path) else -1  # noqa: PTH113, PTH202, a Path raises for a long name
    except (OSError, ValueError):
        return -1


def _digest(path: Path) -> bytes | str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return os.path.normpath(path)


def _thumbnail(pixels: Display) -> np.ndarray:
    small = Image.fromarray(pixels).resize((_SIDE, _SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.float32).ravel()


def _near(thumbnails: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pairs whose thumbnails differ little; a blank one resembles every blank one, and has no copies."""
    usable = np.flatnonzero(np.nan_to_num(thumbnails.reshape(len(thumbnails), -1, 3).std(axis=1)).max(axis=1) > _NEAR)
    order = usable[np.argsort(thumbnails[usable].mean(axis=1), kind="stable")]
    means = thumbnails[order].mean(axis=1)
    for place, i in enumerate(order):
        end = int(np.searchsorted(means, means[place] + _NEAR, "right"))  # means differ no more than the pictures do
        step = max(1, _BLOCK // (4 * thumbnails.shape[1]))
        for first in range(place + 1, end, step):
            others = order[first : min(first + step, end)]
            for j in others[np.abs(thumbnails[others] - thumbnails[i]).mean(axis=1) <= _NEAR]:
                yield (int(min(i, j)), int(max(i, j)))
