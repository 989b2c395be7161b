"""The labelled sets of `reid/cases`, made after public bug reports: identities, boxes, layouts and what is wrong."""

from pathlib import Path

import numpy as np
import pytest

from attn.core.errors import InputError
from attn.core.measures.retrieval import Rules, evaluate_retrieval
from attn.data_adapters.images.copies import copy_groups, find_copies
from attn.data_adapters.images.identities import open_individuals

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def cases(data_dir: Path) -> Path:
    return data_dir / "reid" / "cases"


RED = (200, 30, 30)


def test_same_picture_two_individuals(cases: Path) -> None:
    found = open_individuals(cases / "same_picture_two_individuals/labels.csv")
    named = {(found.ids[c.first], found.ids[c.second]): (c.kind, c.conflict) for c in find_copies(found)}
    assert named["mara1.jpg", "juma1.jpg"] == ("exact", True)
    assert named["mara1.jpg", "mara3.jpg"] == ("exact", False)
    assert named["mara3.jpg", "juma1.jpg"] == ("exact", True)
    assert named["mara1.jpg", "mara2.jpg"] == ("near", False)
    assert not any("juma2.jpg" in pair or "mara4.jpg" in pair for pair in named)
    codes = {name: k for k, name in enumerate(found.individuals)}
    who, copies = np.array([codes[name] for name in found.identities]), np.array(copy_groups(found))
    same = evaluate_retrieval(np.zeros((7, 7)), who, who, Rules(copies={"copies": (copies, copies)}))
    assert same.dropped == {"copies": 3 * 3 + 4}  # three exact copies, each without all three; four without themselves


def test_csv_bom_semicolon(cases: Path) -> None:
    found = open_individuals(cases / "csv_bom_semicolon/labels.csv")
    assert (len(found), len(found.individuals), len({*(found.cameras or [])})) == (6, 2, 2)
    assert found.table.columns == ["path", "identity", "camera"]


def test_identity_strings(cases: Path) -> None:
    found = open_individuals(cases / "identity_strings/labels.csv")
    names = {"007", "7", "0007", "1e3", "1000", "NA", "None", "nan", "null", "True", "-", "x "}
    assert {*found.individuals} == names and found.identities.count("") == 2


def test_unknown_individuals(cases: Path) -> None:
    source = cases / "unknown_individuals/labels.csv"
    with pytest.raises(InputError, match="8 pictures have an identity that reads like nobody"):
        open_individuals(source)
    found = open_individuals(source, unknown=["unknown", "Unidentified", "?", "unk"])
    assert found.individuals == ["A", "B", "C"] and found.identities.count("") == 10


def test_two_animals_one_picture(cases: Path) -> None:
    found = open_individuals(cases / "two_animals_one_picture/labels.csv")
    assert found.ids[:2] == ["pair.jpg [0,0,160,120]", "pair.jpg [160,0,160,120]"]
    assert not np.array_equal(found.read(0), found.read(1))
    with pytest.raises(InputError, match=r"one.jpg: is listed as 'Mara' \(line 4\) and 'Juma' \(line 5\)"):
        found.read(found.paths.index("one.jpg"))


def test_missing_and_extra(cases: Path) -> None:
    found = open_individuals(cases / "missing_and_extra/labels.csv")
    assert found.paths == [f"p{k}.jpg" for k in range(5)]
    reasons = {}
    for i, path in enumerate(found.paths):
        try:
            found.read(i)
        except InputError as error:
            reasons[path] = str(error)
    assert sorted(reasons) == ["p2.jpg", "p3.jpg", "p4.jpg"] and all(
        "no such file" in each for each in reasons.values()
    )
    assert "'p2.JPG'" in reasons["p2.jpg"] and "p3.JPG" not in reasons["p3.jpg"]
    assert "1 repeated rows count once" in found.notices
    assert any("pictures beside the listed ones are not in the table" in each for each in found.notices)


def test_one_image_each(cases: Path) -> None:
    found = open_individuals(cases / "one_image_each/labels.csv", split="train")
    assert sorted(found.identities.count(name) for name in found.individuals) == [1] * 6 + [3] * 2


def test_layout_market1501(cases: Path) -> None:
    found = open_individuals(cases / "layout_market1501")
    parts = {split: found.select(split) for split in ("train", "query", "gallery")}
    assert {split: len(part) for split, part in parts.items()} == {"train": 4, "query": 2, "gallery": 5}
    assert parts["train"].individuals == ["0002", "0007"] and parts["gallery"].identities.count("") == 1
    assert "2 junk pictures (-1) left out" in found.notices
    assert parts["query"].cameras == ["1", "6"] and parts["query"].column("sequence") == ["1", "1"]


def test_layout_msmt17(cases: Path) -> None:
    found = open_individuals(cases / "layout_msmt17")
    assert found.cameras is not None and found.cameras[0] == "12" and len(found.individuals) == 4
    assert {s: (found.splits or []).count(s) for s in ("train", "query", "gallery")} == {
        "train": 2,
        "query": 1,
        "gallery": 2,
    }
    assert all((found.root / path).is_file() for path in found.paths)


def test_box_formats(cases: Path) -> None:
    folder = cases / "box_formats"
    crops = [
        open_individuals(folder / f"{name}.csv", box_format=name).read(0)  # type: ignore[arg-type]
        for name in ("coco", "voc", "yolo", "megadetector")
    ]
    crops += [open_individuals(folder / "coco.csv").read(0), open_individuals(folder / "bbox_list.csv").read(0)]
    detected = open_individuals(folder, box=str(folder / "megadetector.json"))
    crops.append(detected.read(detected.paths.index("a.png")))
    for pixels in crops:
        assert pixels.shape == (90, 120, 3)
        np.testing.assert_allclose(pixels.mean(axis=(0, 1)), RED, atol=1)
    with pytest.raises(InputError, match="all within 0 and 1; say what they are: --box-format"):
        open_individuals(folder / "megadetector.csv")
