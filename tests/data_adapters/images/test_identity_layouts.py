"""Published layouts of individuals and of fine classes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from attn.core.errors import InputError
from attn.data_adapters.images.identities import open_individuals


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_market1501(tmp_path: Path) -> None:
    touch(tmp_path, "query/0001_c1s1_001051_00.jpg", "bounding_box_train/0002_c2s3_000451_03.jpg")
    gallery = [
        "-1_c1s1_000401_03.jpg",
        "0000_c1s1_000151_01.jpg",
        "0001_c6s4_002401_01.jpg",
        "Thumbs.db",
        "._0001_c1.jpg",
    ]
    touch(tmp_path, *(f"bounding_box_test/{name}" for name in gallery))
    found = open_individuals(tmp_path)
    assert found.identities == ["0002", "0001", "", "0001"] and found.individuals == ["0001", "0002"]
    assert found.cameras == ["2", "1", "1", "6"] and found.splits == ["train", "query", "gallery", "gallery"]
    assert found.column("sequence") == ["3", "1", "1", "4"]
    assert found.notices == [
        "1 junk pictures (-1) left out",
        "1 distractors (0000) are nobody",
        "1 other files left out",
    ]
    assert len(open_individuals(tmp_path, split="test")) == 3


def test_veri776(tmp_path: Path) -> None:
    touch(tmp_path, "image_train/0001_c001_00016450_0.jpg", "image_query/0002_c002_00030600_0.jpg")
    touch(tmp_path, "image_test/0002_c012_00030640_0.jpg")
    found = open_individuals(tmp_path)
    assert (found.identities, found.cameras) == (["0001", "0002", "0002"], ["001", "002", "012"])


def test_msmt17(tmp_path: Path) -> None:
    write(tmp_path / "list_train.txt", "0000/0000_045_12_0303morning_0006_2.jpg 0")
    write(tmp_path / "list_val.txt", "0001/0001_010_14_0303morning_0016_1.jpg 1")
    write(tmp_path / "list_query.txt", "0000/0000_002_01_0303morning_0016_2.jpg 0")
    write(tmp_path / "list_gallery.txt", "0000/0000_013_04_0303noon_0020_2_ex.jpg 0")
    touch(tmp_path, "mask_test_v2/x")
    found = open_individuals(tmp_path)
    assert found.paths[0].startswith("train/0000/") and found.paths[2].startswith("mask_test_v2/0000/")
    assert found.identities == ["train/0000", "train/0001", "test/0000", "test/0000"]
    assert (found.cameras, found.splits) == (["12", "14", "01", "04"], ["train", "val", "query", "gallery"])
    write(tmp_path / "list_val.txt", "0001.jpg one")
    with pytest.raises(InputError, match=r"list_val\.txt, line 1"):
        open_individuals(tmp_path)


def test_wildlife_datasets(tmp_path: Path) -> None:
    write(tmp_path / "metadata.csv", "image_id,identity,path,bbox,orientation", 'a,7,im/a.png,"[1, 2, 8, 6]",left')
    (tmp_path / "im").mkdir()
    Image.fromarray(np.zeros((12, 12, 3), np.uint8)).save(tmp_path / "im/a.png")
    found = open_individuals(tmp_path, within="orientation")
    assert (found.identities, found.within, found.read(0).shape) == (["7"], ["left"], (6, 8, 3))


def test_cub(tmp_path: Path) -> None:
    write(tmp_path / "images.txt", "1 001.Albatross/a b.jpg", "2 002.Auklet/c.jpg")
    write(tmp_path / "image_class_labels.txt", "1 1", "2 2")
    write(tmp_path / "train_test_split.txt", "1 1", "2 0")
    write(tmp_path / "classes.txt", "1 001.Albatross", "2 002.Auklet")
    write(tmp_path / "bounding_boxes.txt", "1 60.0 27.0 325.0 304.0")
    found = open_individuals(tmp_path)
    assert found.paths == ["images/001.Albatross/a b.jpg", "images/002.Auklet/c.jpg"]
    assert (found.identities, found.splits) == (["001.Albatross", "002.Auklet"], ["train", "test"])
    assert str(found.boxes[0]) == "60,27,325,304" and found.boxes[1] is None
    write(tmp_path / "image_class_labels.txt", "1 1")
    with pytest.raises(InputError, match="the lists do not fit one another"):
        open_individuals(tmp_path)


def test_aircraft(tmp_path: Path) -> None:
    write(tmp_path / "data/images_variant_train.txt", "1025794 707-320")
    write(tmp_path / "data/images_variant_test.txt", "0034309 Cessna 172")
    write(tmp_path / "data/images_box.txt", "1025794 3 144 998 431")
    found = open_individuals(tmp_path)
    assert found.paths == ["data/images/1025794.jpg", "data/images/0034309.jpg"]
    assert found.identities == ["707-320", "Cessna 172"] and str(found.boxes[0]) == "3,144,995,287"


def test_cars(tmp_path: Path) -> None:
    fields = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname"]
    rows = np.zeros(2, dtype=[(name, object) for name in fields])
    rows[0], rows[1] = (39, 116, 569, 375, 2, "00001.jpg"), (36, 116, 868, 587, 1, "00002.jpg")
    (tmp_path / "devkit").mkdir()
    savemat(tmp_path / "devkit/cars_train_annos.mat", {"annotations": rows})
    names = np.array(["AM General Hummer", "Acura RL"], dtype=object)
    savemat(tmp_path / "devkit/cars_meta.mat", {"class_names": names})
    found = open_individuals(tmp_path)
    assert found.paths == ["cars_train/00001.jpg", "cars_train/00002.jpg"]
    assert found.identities == ["Acura RL", "AM General Hummer"] and str(found.boxes[0]) == "39,116,530,259"
    (tmp_path / "devkit/cars_train_annos.mat").write_bytes(b"nothing")
    with pytest.raises(InputError, match="MATLAB files of Stanford Cars cannot be read"):
        open_individuals(tmp_path)
