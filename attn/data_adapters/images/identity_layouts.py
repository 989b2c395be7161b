"""Sets of individuals as the field publishes them, found by the names of their folders and lists.

- Market-1501 (Zheng et al. 2015): `0002_c1s1_000451_03.jpg`; -1 is junk and left out, 0000 a distractor.
- VeRi-776 (Liu et al. 2016): `image_train`, `image_query`, `image_test`, `0002_c002_00030600_0.jpg`.
- MSMT17 (Wei et al. 2018): lists of `0000/0000_045_12_0303morning_0006_2.jpg 0`; the third field is the camera.
- wildlife-datasets: a folder with `metadata.csv`.
- for classes instead of individuals: CUB-200-2011, Stanford Cars and FGVC-Aircraft.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from attn.core.errors import InputError
from attn.data_adapters.boundary import boundary
from attn.data_adapters.images.boxes import Box
from attn.data_adapters.images.identity_rows import Rows
from attn.data_adapters.images.photographs import PHOTOGRAPH_SUFFIXES
from attn.data_adapters.paths import is_hidden

METADATA = "metadata.csv"
JUNK, DISTRACTOR = "-1", "0000"
_MOST_LIST = 1 << 28  # bytes
_MARKET = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
_VERI = {"train": "image_train", "query": "image_query", "gallery": "image_test"}
_NAME = re.compile(r"(-?\d+)_c(\d+)(?:s(\d+))?_")
_MSMT = {"train": "list_train.txt", "val": "list_val.txt", "query": "list_query.txt", "gallery": "list_gallery.txt"}
_MSMT_FOLDERS = {"train": ("train", "mask_train_v2"), "test": ("test", "mask_test_v2")}
_CUB = ("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt", "bounding_boxes.txt")
_CARS = {
    "train": ("cars_train", "devkit/cars_train_annos.mat"),
    "test": ("cars_test", "cars_test_annos_withlabels.mat"),
}


def layout_of(source: Path) -> Callable[[Path], Rows] | None:
    """The reader of the published layout that a folder has, or None."""
    for folders in (_MARKET, _VERI):
        if (source / folders["train"]).is_dir() or all((source / folders[s]).is_dir() for s in ("query", "gallery")):
            return lambda source: _by_name(source, folders)
    if all((source / name).is_file() for name in (_MSMT["train"], _MSMT["query"], _MSMT["gallery"])):
        return _msmt17
    if all((source / name).is_file() for name in _CUB[:3]):
        return _cub
    if (source / _CARS["train"][1]).is_file():
        return _cars
    return _aircraft if (source / "data" / "images_variant_train.txt").is_file() else None


def _by_name(source: Path, folders: dict[str, str]) -> Rows:
    """Market-1501 and VeRi-776: identity, camera and sequence stand in the name of the file."""
    found: list[tuple[str, str, str, str, str]] = []
    junk = others = 0
    for split, folder in folders.items():
        if not (source / folder).is_dir():
            continue
        for name in sorted(path.name for path in (source / folder).iterdir() if not is_hidden(path.name)):
            match = _NAME.match(name) if name.lower().endswith(PHOTOGRAPH_SUFFIXES) else None
            if match is None:
                others += 1
            elif match[1] == JUNK:
                junk += 1
            else:
                found.append((f"{folder}/{name}", match[1], match[2], match[3] or "", split))
    if not found:
        raise InputError("no pictures with names such as 0002_c1s1_000451_03.jpg", where=source)
    notices = [f"{junk} junk pictures ({JUNK}) left out"] if junk else []
    if distractors := sum(row[1] == DISTRACTOR for row in found):
        notices.append(f"{distractors} distractors ({DISTRACTOR}) are nobody")
    if others:
        notices.append(f"{others} other files left out")
    table = pl.DataFrame(found, ["path", "identity", "camera", "sequence", "split"], orient="row")
    return _of_table(source, table, notices, nobody=DISTRACTOR)


def _msmt17(source: Path) -> Rows:
    """Identities count from 0 in train and again in test, and are named by both: train/0000."""
    found: list[tuple[str, str, str, str]] = []
    for split, name in _MSMT.items():
        part = "train" if split in ("train", "val") else "test"
        folder = next((each for each in _MSMT_FOLDERS[part] if (source / each).is_dir()), part)
        for number, line in enumerate(_lines(source / name) if (source / name).is_file() else [], 1):
            path, _, identity = line.rpartition(" ")
            fields = path.rsplit("/", 1)[-1].split("_")
            if not path or not identity.isdigit() or len(fields) < 4:
                raise InputError(
                    "is not `person/person_..._camera_....jpg number`", where=f"{source / name}, line {number}"
                )
            found.append((f"{folder}/{path}", f"{part}/{int(identity):04d}", fields[2], split))
    if not found:
        raise InputError("the lists are empty", where=source)
    return _of_table(source, pl.DataFrame(found, ["path", "identity", "camera", "split"], orient="row"), [])


def _cub(source: Path) -> Rows:
    paths, labels, train = (_pairs(source / name) for name in _CUB[:3])
    names = _pairs(source / _CUB[3]) if (source / _CUB[3]).is_file() else {}
    corners = _pairs(source / _CUB[4]) if (source / _CUB[4]).is_file() else {}
    with boundary(source, "the lists do not fit one another"):
        found = [
            (f"images/{path}", names.get(labels[key], labels[key]), "train" if train[key] == "1" else "test")
            for key, path in paths.items()
        ]
        boxes = [
            Box.of(corners[key].split(), "coco", where=source / _CUB[4]) if key in corners else None for key in paths
        ]
    return _of_table(source, pl.DataFrame(found, ["path", "identity", "split"], orient="row"), [], boxes=boxes)


def _aircraft(source: Path) -> Rows:
    data = source / "data"
    boxes = _pairs(data / "images_box.txt") if (data / "images_box.txt").is_file() else {}
    found: list[tuple[str, str, str]] = []
    corners: list[Box | None] = []
    for split in ("train", "val", "test"):
        path = data / f"images_variant_{split}.txt"
        for key, name in (_pairs(path) if path.is_file() else {}).items():
            found.append((f"data/images/{key}.jpg", name, split))
            where = data / "images_box.txt"
            corners.append(Box.of(boxes[key].split(), "voc", where=where) if key in boxes else None)
    if not found:
        raise InputError("the lists are empty", where=data)
    return _of_table(source, pl.DataFrame(found, ["path", "identity", "split"], orient="row"), [], boxes=corners)


def _cars(source: Path) -> Rows:
    """Stanford Cars: MATLAB files, which hold numbers and texts only."""
    from scipy.io import loadmat

    found: list[tuple[str, str, str]] = []
    boxes: list[Box | None] = []
    with boundary(source, "the MATLAB files of Stanford Cars cannot be read"):
        meta = source / "devkit" / "cars_meta.mat"
        names = [str(name[0]) for name in loadmat(meta)["class_names"][0]] if meta.is_file() else []
        for split, (folder, file) in _CARS.items():
            for row in loadmat(source / file)["annotations"][0] if (source / file).is_file() else []:
                label = int(row["class"][0, 0])
                name = names[label - 1] if 0 < label <= len(names) else str(label)
                found.append((f"{folder}/{row['fname'][0]}", name, split))
                corners = (row[key][0, 0] for key in ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"))
                boxes.append(Box.of(corners, "voc", where=source / file))
    if not found:
        raise InputError("the lists are empty", where=source)
    return _of_table(source, pl.DataFrame(found, ["path", "identity", "split"], orient="row"), [], boxes=boxes)


def _of_table(
    root: Path, table: pl.DataFrame, notices: list[str], *, nobody: str = "", boxes: Sequence[Box | None] | None = None
) -> Rows:
    return Rows(
        root=root,
        paths=table["path"].to_list(),
        identities=["" if name == nobody else name for name in table["identity"].to_list()],
        table=table,
        boxes=[None] * len(table) if boxes is None else list(boxes),
        cameras=table["camera"].to_list() if "camera" in table.columns else None,
        splits=table["split"].to_list(),
        notices=notices,
    )


def _lines(path: Path) -> list[str]:
    with boundary(path, "is not a list of pictures"):
        if path.stat().st_size > _MOST_LIST:
            raise InputError(f"is a list of more than {_MOST_LIST:,} bytes", where=path)
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]


def _pairs(path: Path) -> dict[str, str]:
    """Lines of a key, a blank and the rest."""
    return {key: rest.strip() for key, _, rest in (line.partition(" ") for line in _lines(path))}
