"""Labelled radiographs: who shares a patient or a picture stays together."""

from pathlib import Path

import networkx
import numpy as np
import polars as pl
import pytest
from PIL import Image

from attn.core.errors import InputError, UsageError
from attn.data_adapters.dicom.labelled import open_studies


def table(folder: Path, name: str = "labels.csv", **columns: list[str]) -> Path:
    pl.DataFrame(columns).write_csv(folder / name)
    return folder / name


def partition(numbers: list[int]) -> set[frozenset[int]]:
    return {frozenset(row for row, other in enumerate(numbers) if other == number) for number in numbers}


def test_a_table(tmp_path: Path) -> None:
    columns = {"path": ["a.png", " b.png", "c.png"], "label": ["y", "x", "y"], "patient_id": ["1", "1", "2"]}
    path = table(tmp_path, **columns, site=["e", "", "f"])
    studies = open_studies(path)
    assert studies.ids == ["a.png", "b.png", "c.png"]
    assert (studies.labels, studies.classes, studies.exclusive) == (["y", "x", "y"], ["x", "y"], True)
    assert studies.targets.dtype == np.float32
    assert studies.targets.tolist() == [[0, 1], [1, 0], [0, 1]]
    assert studies.patients == ["1", "1", "2"]
    assert partition(studies.groups) == {frozenset({0, 1}), frozenset({2})}
    assert studies.column("site") == ["e", "", "f"]
    with pytest.raises(InputError, match="no column 'sex'; it has path, label"):
        studies.column("sex")


def test_columns_of_other_names(tmp_path: Path) -> None:
    path = table(tmp_path, f=["a", "b"], d=["1", "2"], who=["p", "q"], path=["", ""])
    studies = open_studies(path, image="f", label="d", patient="who")
    assert (studies.ids, studies.labels, studies.patients) == (["a", "b"], ["1", "2"], ["p", "q"])
    with pytest.raises(InputError, match="no column 'whom'"):
        open_studies(path, image="f", label="d", patient="whom")


def test_several_findings_in_one_column(tmp_path: Path) -> None:
    studies = open_studies(table(tmp_path, path=["a", "b", "c"], label=["Mass|Edema", "No Finding", "Edema"]))
    assert (studies.classes, studies.exclusive) == (["Edema", "Mass"], False)
    assert studies.targets.tolist() == [[1, 1], [0, 0], [1, 0]]


def test_groups_are_the_connected_components_of_patients_duplicates_and_files(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    size = 400
    patients = [str(draw.integers(300)) if draw.random() < 0.8 else "" for _ in range(size)]
    duplicates = [f"g{draw.integers(100)}" if draw.random() < 0.2 else "" for _ in range(size)]
    files = [f"{i if draw.random() < 0.9 else draw.integers(size)}.png" for i in range(size)]
    path = table(tmp_path, path=files, label=["x"] * size, patient_id=patients, duplicate_group=duplicates)
    graph = networkx.Graph()
    graph.add_nodes_from(range(size))
    for values in (patients, duplicates, files):
        for a in range(size):
            for b in range(a):
                if values[a] and values[a] == values[b]:
                    graph.add_edge(a, b)
    assert partition(open_studies(path).groups) == set(map(frozenset, networkx.connected_components(graph)))


def test_a_patient_is_no_duplicate_group_of_the_same_name(tmp_path: Path) -> None:
    path = table(tmp_path, path=["1", "2"], label=["x", "y"], patient_id=["a", "b"], duplicate_group=["b", ""])
    assert len(set(open_studies(path).groups)) == 2


@pytest.mark.parametrize("ids", [["", ""], ["7", "7"], ["nan", " "], ["Anonymous", "anonymous"], None])
def test_constant_empty_and_absent_patients_refuse_to_split_unless_it_is_said(
    tmp_path: Path, ids: list[str] | None
) -> None:
    columns = {"path": ["a", "b"], "label": ["x", "y"]} | ({} if ids is None else {"patient_id": ids})
    path = table(tmp_path, **columns)
    for what in ("groups", "patients", "without_patient"):
        with pytest.raises(InputError, match=r"patient.*; give the column with --patient, or say --patient none"):
            getattr(open_studies(path), what)
    alone = open_studies(path, patient="none")
    assert alone.patients == ["a", "b"]
    assert len(set(alone.groups)) == 2


def test_without_patients_duplicates_stay_together(tmp_path: Path) -> None:
    path = table(tmp_path, path=["a", "b", "c"], label=["x"] * 3, duplicate_group=["g", "", "g"])
    assert partition(open_studies(path, patient="none").groups) == {frozenset({0, 2}), frozenset({1})}


def test_images_whose_patient_is_missing_count_as_one_each(tmp_path: Path) -> None:
    path = table(tmp_path, path=["a", "b", "c", "d"], label=["x"] * 4, patient_id=["1", "", "1", "2"])
    studies = open_studies(path)
    assert studies.patients == ["1", "b", "1", "2"]
    assert studies.without_patient == 1
    assert len(set(studies.groups)) == 3


def test_rows_without_path_or_label_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 of 3 rows have no 'label', the first is row 2"):
        open_studies(table(tmp_path, path=["a", "b", "c"], label=["x", " ", "y"]))
    with pytest.raises(InputError, match="the table has no rows"):
        open_studies(table(tmp_path, path=[], label=[]))
    with pytest.raises(InputError, match="no column 'path'; it has file, label"):
        open_studies(table(tmp_path, file=["a"], label=["x"]))
    with pytest.raises(InputError, match="no such file or folder"):
        open_studies(tmp_path / "absent.csv")


def test_columns_are_for_tables_and_uncertain_labels_for_chexpert(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("1 a.png normal x\n")
    for source in (tmp_path, tmp_path / "list.txt"):
        with pytest.raises(UsageError, match="has no columns"):
            open_studies(source, patient="who")
    with pytest.raises(UsageError, match="has no uncertain labels"):
        open_studies(table(tmp_path, path=["a"], label=["x"]), uncertain="one")


def test_images_are_read_and_a_bad_one_says_which(tmp_path: Path) -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    (tmp_path / "d").write_bytes(b"")
    path = table(tmp_path, path=["a.png", "b.png", "c.png", "d"], label=["x"] * 4)
    studies = open_studies(path)
    radiograph = studies.read(0)
    assert radiograph.id == "a.png"
    np.testing.assert_allclose(radiograph.pixels_hw, pixels / 255, atol=1e-6)
    for row, name in enumerate(("b.png", "c.png", "d"), 1):
        with pytest.raises(InputError, match=name):
            studies.read(row)


@pytest.mark.parametrize(
    ("path", "patient", "named"),
    [
        ("doe/a.png", "Doe^Jane", "labels.csv, image 2"),
        ("MRN-123456.png", "mrn123456", "labels.csv, image 2"),
        ("b.png", "Doe^Jane", "b.png"),
        ("00000002_000.png", "2", "00000002_000.png"),
    ],
)
def test_a_path_that_tells_the_patient_is_not_said(tmp_path: Path, path: str, patient: str, named: str) -> None:
    """A number is enough to find the row."""
    studies = open_studies(table(tmp_path, path=["a", path], label=["x", "y"], patient_id=["Somebody", patient]))
    assert studies.name(1) == str(tmp_path / named)
    with pytest.raises(InputError) as caught:
        studies.read(1)
    assert str(caught.value).startswith(f"{tmp_path / named}: no such file")
    alone = open_studies(tmp_path / "labels.csv", patient="none")
    assert alone.name(1) == str(tmp_path / path)


def test_the_fingerprint_changes_with_labels_and_files_and_not_with_the_folder(tmp_path: Path) -> None:
    def made(folder: str, labels: list[str], content: bytes) -> dict[str, object]:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a").write_bytes(content)
        return open_studies(table(tmp_path / folder, path=["a", "b"], label=labels)).fingerprint()

    first = made("1", ["x", "y"], b"1")
    assert first["classes"] == {"x": 1, "y": 1}
    assert (first["source"], first["count"]) == ("labels.csv", 2)
    assert made("2", ["x", "y"], b"1") == first
    others = [made("3", ["y", "y"], b"1"), made("4", ["x", "y"], b"12"), made("5", ["x|y", "y"], b"1")]
    assert len({first["sha256"], *(other["sha256"] for other in others)}) == 4


@pytest.mark.real_data
def test_the_collected_set(data_dir: Path) -> None:
    path = data_dir / "chest" / "labels.csv"
    studies = open_studies(path, image="path", label="label", patient="patient_id")
    assert len(studies) == 8959
    assert studies.classes == ["covid", "normal", "other", "pneumonia"]
    assert studies.targets.sum(axis=0).tolist() == [1722, 2888, 4, 4345]
    assert studies.without_patient == 2600
    for kind in ("patient_id", "duplicate_group"):
        groups: dict[str, set[int]] = {}
        for value, group in zip(studies.column(kind), studies.groups, strict=True):
            groups.setdefault(value or f"alone {len(groups)}", set()).add(group)
        assert all(len(numbers) == 1 for numbers in groups.values())
    assert studies.read(0).pixels_hw.shape == (224, 224)
