"""Boxes from files of MegaDetector and COCO."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from attn.core.errors import InputError
from attn.data_adapters.images.boxes import Box
from attn.data_adapters.images.detections import read_detections
from attn.data_adapters.images.identities import open_individuals

MEGADETECTOR: dict[str, Any] = {
    "images": [
        {
            "file": "A/a.png",
            "detections": [
                {"category": "1", "conf": 0.3, "bbox": [0, 0, 0.5, 0.5]},
                {"category": "1", "conf": 0.92, "bbox": [0.25, 0.25, 0.375, 0.375]},
                {"category": "2", "conf": 0.99, "bbox": [0, 0, 1, 1]},
                {"category": "1", "conf": 0.1, "bbox": [0, 0, 1, 1]},
            ],
        },
        {"file": "A/b.png", "failure": "unreadable", "detections": None},
    ],
    "detection_categories": {"1": "animal", "2": "person"},
    "info": {"format_version": "1.4"},
}
COCO: dict[str, Any] = {
    "images": [{"id": 7, "file_name": "A/a.png"}, {"id": 8, "file_name": "A/b.png"}],
    "annotations": [
        {"image_id": 7, "bbox": [80, 60, 120, 90], "category_id": 1},
        {"image_id": 7, "bbox": [0, 0, 320, 240], "category_id": 1, "iscrowd": 1},
    ],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pixels = np.zeros((240, 320, 3), np.uint8)
    pixels[60:150, 80:200] = (200, 30, 30)
    (tmp_path / "A").mkdir()
    for name in ("a", "b", "c"):
        Image.fromarray(pixels).save(tmp_path / "A" / f"{name}.png")
    return tmp_path


def written(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_of_megadetector_the_animals_count_and_the_surest_comes_first(tmp_path: Path) -> None:
    found = read_detections(written(tmp_path / "md.json", MEGADETECTOR))
    assert [each.confidence for each in found["A/a.png"]] == [0.92, 0.3] and found["A/b.png"] == []
    assert found["A/a.png"][0].box == Box(0.25, 0.25, 0.375, 0.375, relative=True)


def test_coco(tmp_path: Path) -> None:
    found = read_detections(written(tmp_path / "coco.json", COCO))
    assert [each.box for each in found["A/a.png"]] == [Box(80, 60, 120, 90)] and found["A/b.png"] == []


@pytest.mark.parametrize("content", [MEGADETECTOR, COCO], ids=["megadetector", "coco"])
@pytest.mark.parametrize("place", [".", ".."])
def test_boxes_are_those_of_the_pictures(folder: Path, content: dict[str, Any], place: str) -> None:
    path = folder / place / f"boxes_{folder.name}.json"
    found = open_individuals(folder, box=str(written(path, content)))
    assert found.paths == ["A/a.png", "A/b.png", "A/c.png"]
    assert found.read(0).shape == (90, 120, 3) and (found.read(0) == (200, 30, 30)).all()
    assert found.read(1).shape == (240, 320, 3)
    assert f"2 pictures have no box in {path.name} and stay whole" in found.notices
    several = f"1 pictures have several boxes in {path.name}; the surest is taken"
    assert (several in found.notices) == (content is MEGADETECTOR)


@pytest.mark.parametrize("bad", [[0, 0, -1, 1], [0, 0, 1], ["a", 0, 1, 1], 7])
def test_one_bad_box_is_the_problem_of_its_picture(folder: Path, bad: object) -> None:
    content = json.loads(json.dumps(MEGADETECTOR))
    content["images"].append(
        {"file": "A/b.png", "detections": [{"category": "1", "conf": 0.9, "bbox": bad}]},
    )
    found = open_individuals(folder, box=str(written(folder / "boxes.json", content)))
    assert found.read(0).shape == (90, 120, 3)
    with pytest.raises(InputError, match=r"boxes.json, image \d+: "):
        found.read(found.paths.index("A/b.png"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "has no list `images`"),
        ({"images": 3}, "has no list `images`"),
        ({"images": [{"file": 3, "detections": []}]}, "image 1: names no file"),
        ({"images": [{"detections": []}]}, "image 1: is not as MegaDetector writes it"),
        ({"images": [{"file": "a", "detections": [{"category": 1, "conf": 1, "bbox": [0, 0, 1]}]}]}, "image 1: a box"),
        ({"images": [{"file": "a", "detections": [{"category": 1, "conf": 1, "bbox": [0, 0, 9, 9]}]}]}, "fractions"),
        ({"images": [], "annotations": [{"image_id": 1, "bbox": [0, 0, 1, 1]}]}, "annotation 1: names the image 1"),
        ({"images": [], "annotations": 1}, "`annotations` is not a list"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_detections(written(tmp_path / "x.json", content))


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[" * 100_000, b'{"images": NaN}', b"nothing"])
def test_bytes_that_are_no_json(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.json").write_bytes(data)
    with pytest.raises(InputError, match=r"x\.json"):
        read_detections(tmp_path / "x.json")
    with pytest.raises(InputError, match=r"nothing.json: is not a JSON file of boxes \(No such file"):
        read_detections(tmp_path / "nothing.json")
