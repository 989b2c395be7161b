"""Damaged files of boxes and tables of individuals."""

import json
from pathlib import Path

import pytest
from fuzz.mutate import fuzz, mutants

from attn.data_adapters.images.boxes import Box
from attn.data_adapters.images.detections import read_detections
from attn.data_adapters.images.identities import open_individuals

DETECTOR = {
    "images": [
        {"file": "a.png", "detections": [{"category": "1", "conf": 0.92, "bbox": [0.25, 0.25, 0.375, 0.375]}]},
        {"file": "b.png", "failure": "x", "detections": None},
    ],
    "detection_categories": {"1": "animal"},
}
COCO = {
    "images": [{"id": 1, "file_name": "a.png"}],
    "annotations": [{"image_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 0, "score": 0.5}],
}
TABLES = [
    "path,identity,camera,x,y,w,h\na.png,A,c1,1,2,3,4\nb.png,,c2,,,,\n",
    'path;identity;bbox\r\na.png;"007";"[1, 2, 3, 4]"\r\na.png;unknown;[5,6,7,8]\r\n',
]
MEDIA = "mediaID,deploymentID,filePath\nm1,d1,a.png\nm2,d2,b.jpg\n"
SEEN = (
    "mediaID,observationType,individualID,bboxX,bboxY,bboxWidth,bboxHeight\nm1,animal,A,0,0,0.5,0.5\nm2,animal,,,,,\n"
)


def test_boxes(tmp_path: Path, fuzz_count: int) -> None:
    path = tmp_path / "x.json"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        for boxes in read_detections(path).values():
            good = [each.box for each in boxes if isinstance(each.box, Box)]
            assert all(box.w > 0 and box.h > 0 for box in good)

    outcomes = fuzz(read, mutants([json.dumps(each).encode() for each in (DETECTOR, COCO)], fuzz_count // 2, "json"))
    assert outcomes["read"] and outcomes["InputError"]


@pytest.mark.parametrize("kind", ["table", "camtrap", "msmt17"])
def test_rows(tmp_path: Path, kind: str, fuzz_count: int) -> None:
    seeds = {"table": TABLES, "camtrap": [SEEN], "msmt17": ["0000/0000_045_12_0303morning_0006_2.jpg 0\n"]}[kind]
    source = tmp_path / "labels.csv" if kind == "table" else tmp_path
    path = {"table": source, "camtrap": tmp_path / "observations.csv", "msmt17": tmp_path / "list_train.txt"}[kind]
    if kind == "camtrap":
        (tmp_path / "media.csv").write_text(MEDIA)
    if kind == "msmt17":
        for name in ("list_query.txt", "list_gallery.txt"):
            (tmp_path / name).write_text("0000/0000_002_01_0303morning_0016_2.jpg 0\n")

    def read(data: bytes) -> None:
        path.write_bytes(data)
        found = open_individuals(source)
        assert len(found.ids) == len(found.identities) == len(found)

    outcomes = fuzz(read, mutants([seed.encode() for seed in seeds], fuzz_count // 6, kind))
    assert outcomes["read"] and outcomes["InputError"]
