"""Boxes that a detector or a person left in a file: MegaDetector's JSON and COCO's.

MegaDetector (Beery et al. 2019, output format 1.4) writes fractions of the picture as shown; of its categories the
animals count. COCO (Lin et al. 2014) has pixels. Of several boxes in one picture the surest is taken.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from attn.core.errors import InputError
from attn.data_adapters.boundary import boundary
from attn.data_adapters.images.boxes import Box, BoxFormat, Frame
from attn.data_adapters.images.identity_rows import Rows

SURE = 0.2  # the least confidence of a detection that counts, as MegaDetector's authors advise
_MOST_BYTES = 1 << 29


@dataclass(frozen=True)
class Detection:
    """A box, or why it is none, and how sure the detector is of it, 0 to 1."""

    box: Box | InputError
    confidence: float


def read_detections(path: Path, frame: Frame = "shown") -> dict[str, list[Detection]]:
    """The boxes of each picture, by its path as in the file, the surest first; pictures without one have [].

    InputError: not such a file, or no box in it is one; the first is named with its place.
    """
    with boundary(path, "is not a JSON file of boxes", "MegaDetector and COCO are read"):
        if (size := path.stat().st_size) > _MOST_BYTES:
            raise InputError(f"has {size:,} bytes; {_MOST_BYTES:,} are read", where=path)
        content = json.loads(path.read_bytes().decode("utf-8-sig"))
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list):
        raise InputError("has no list `images`", where=path, hint="MegaDetector's JSON and COCO's are read")
    found = _coco(path, content, frame) if "annotations" in content else _megadetector(path, content, frame)
    every = [each.box for boxes in found.values() for each in boxes]
    if every and isinstance(every[0], InputError) and not any(isinstance(box, Box) for box in every):
        raise every[0]
    return {name: sorted(boxes, key=lambda each: -each.confidence) for name, boxes in found.items()}


def with_detections(rows: Rows, source: Path, frame: Frame = "shown") -> Rows:
    """Rows with the surest box of each picture, unless they have one; a picture without any stays whole.

    source: a JSON file; its paths are relative to its folder or to that of the rows.
    """
    found: dict[str, list[Detection]] = {}
    for name, detections in read_detections(source, frame).items():
        for folder in (source.parent, rows.root):
            found[_place(folder, name)] = detections
    boxes_of = [found.get(_place(rows.root, path), []) for path in rows.paths]
    surest = [old or (each[0].box if each else None) for old, each in zip(rows.boxes, boxes_of, strict=True)]
    boxes = [box if isinstance(box, Box) else None for box in surest]
    problems = {i: box for i, box in enumerate(surest) if isinstance(box, InputError)}
    notices = list(rows.notices)
    if without := surest.count(None):
        notices.append(f"{without} pictures have no box in {source.name} and stay whole")
    if several := sum(len(each) > 1 for each in boxes_of):
        notices.append(f"{several} pictures have several boxes in {source.name}; the surest is taken")
    return replace(rows, boxes=boxes, problems=problems | rows.problems, notices=notices)


def _place(folder: Path, name: str) -> str:
    return os.path.normpath(folder.absolute() / name)


def _megadetector(path: Path, content: dict[str, Any], frame: Frame) -> dict[str, list[Detection]]:
    categories = content.get("detection_categories", {"1": "animal"})
    found: dict[str, list[Detection]] = {}
    for number, image in enumerate(content["images"], 1):
        where = f"{path}, image {number}"
        with boundary(where, "is not as MegaDetector writes it"):
            boxes = found.setdefault(_text(image["file"], where), [])
            for each in image.get("detections") or []:  # null where the picture could not be read
                sure = float(each["conf"])
                if categories.get(str(each["category"])) == "animal" and sure >= SURE:
                    boxes.append(Detection(_box(each["bbox"], "megadetector", frame, where), sure))
    return found


def _coco(path: Path, content: dict[str, Any], frame: Frame) -> dict[str, list[Detection]]:
    names: dict[Any, str] = {}
    for number, image in enumerate(content["images"], 1):
        where = f"{path}, image {number}"
        with boundary(where, "is not as COCO has it"):
            names[image["id"]] = _text(image["file_name"], where)
    found: dict[str, list[Detection]] = {name: [] for name in names.values()}
    if not isinstance(content["annotations"], list):
        raise InputError("`annotations` is not a list", where=path)
    for number, each in enumerate(content["annotations"], 1):
        where = f"{path}, annotation {number}"
        with boundary(where, "is not as COCO has it"):
            if each["image_id"] not in names:
                raise InputError(f"names the image {each['image_id']!r}, which is not there", where=where)
            if not each.get("iscrowd"):
                sure = float(each.get("score", 1))
                found[names[each["image_id"]]].append(Detection(_box(each["bbox"], "coco", frame, where), sure))
    return found


def _box(four: Iterable[float], format: BoxFormat, frame: Frame, where: str) -> Box | InputError:
    try:
        return Box.of(four, format, frame, where)
    except InputError as error:
        return error


def _text(name: object, where: str) -> str:
    if not isinstance(name, str) or not name or "\0" in name:
        raise InputError("names no file", where=where)
    return name
