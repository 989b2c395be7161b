"""Published sets of labelled radiographs, drawn small in their own layouts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from attn.core.errors import InputError
from attn.core.files import claim
from attn.data_adapters.dicom.labelled import LabelledStudies, open_studies

NIH = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
)
CHEXPERT = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Edema,"
    "Pleural Effusion,Support Devices"
)


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def draw(folder: Path, *names: str) -> None:
    """A picture for each name, whose grey is its number."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (2, 2), 10 * number).save(folder / name, format="png")


def greys(studies: LabelledStudies) -> list[int]:
    return [round(255 * float(studies.read(i).pixels_hw[0, 0])) for i in range(len(studies))]


def rows(studies: LabelledStudies) -> list[list[Any]]:
    return [[None if np.isnan(value) else int(value) for value in row] for row in studies.targets.tolist()]


def nih(folder: Path) -> Path:
    draw(folder, "images_001/images/00000001_000.png", "images_001/images/00000001_001.png",
         "images_002/images/00000002_000.png")  # fmt: skip
    return write(
        folder / "Data_Entry_2017.csv",
        NIH,
        "00000001_000.png,Cardiomegaly|Effusion,0,1,58,M,PA,2682,2749,0.143,0.143,",
        "00000001_001.png,No Finding,1,1,58,M,PA,2894,2729,0.143,0.143,",
        "00000002_000.png,Effusion,0,2,81,F,AP,2500,2048,0.168,0.168,",
    )


@pytest.mark.parametrize(
    "named", [{}, {"image": "Image Index", "label": "Finding Labels", "patient": "Patient ID"}], ids=["found", "named"]
)
def test_nih(tmp_path: Path, named: dict[str, str]) -> None:
    studies = open_studies(nih(tmp_path), **named)
    assert studies.ids[2] == "images_002/images/00000002_000.png"
    assert (studies.classes, studies.exclusive) == (["Cardiomegaly", "Effusion"], False)
    assert rows(studies) == [[1, 1], [0, 0], [0, 1]]
    assert (studies.patients, studies.groups) == (["1", "1", "2"], [0, 0, 1])
    assert studies.column("View Position") == ["PA", "PA", "AP"]
    assert greys(studies) == [0, 10, 20]


def test_nih_with_other_labels(tmp_path: Path) -> None:
    studies = open_studies(nih(tmp_path), label="Patient Gender")
    assert (studies.classes, studies.exclusive) == (["F", "M"], True)
    assert studies.patients == ["1", "1", "2"]


def test_an_image_of_two_folders_is_not_guessed(tmp_path: Path) -> None:
    path = nih(tmp_path)
    draw(tmp_path, "old/00000002_000.png")
    with pytest.raises(InputError, match=r"Data_Entry.*csv: image 3 lies in 2 folders"):
        open_studies(path)


def test_an_image_that_is_nowhere_is_named_when_it_is_read(tmp_path: Path) -> None:
    path = nih(tmp_path)
    (tmp_path / "images_002/images/00000002_000.png").unlink()
    studies = open_studies(path)
    with pytest.raises(InputError, match=r"00000002_000\.png: no such file"):
        studies.read(2)


def test_rsna_has_a_row_per_box_and_an_image_per_patient(tmp_path: Path) -> None:
    draw(tmp_path, "stage_2_train_images/a.dcm", "stage_2_train_images/b.dcm", "stage_2_train_images/c.dcm")
    path = write(
        tmp_path / "stage_2_train_labels.csv",
        "patientId,x,y,width,height,Target",
        "b,264.0,152.0,213.0,379.0,1",
        "a,,,,,0",
        "b,562.0,152.0,256.0,453.0,1",
        "c,100.0,152.0,256.0,453.0,1",
    )
    studies = open_studies(path)
    assert studies.ids == ["stage_2_train_images/b.dcm", "stage_2_train_images/a.dcm", "stage_2_train_images/c.dcm"]
    assert studies.labels == ["pneumonia", "no_pneumonia", "pneumonia"]
    assert studies.column("boxes") == ["2", "0", "1"]
    assert studies.patients == ["b", "a", "c"]
    assert greys(studies) == [10, 0, 20]


def test_rsna_with_detailed_classes(tmp_path: Path) -> None:
    path = write(
        tmp_path / "stage_2_detailed_class_info.csv",
        "patientId,class",
        "a,No Lung Opacity / Not Normal",
        "b,Lung Opacity",
        "b,Lung Opacity",
        "c,Normal",
    )
    studies = open_studies(path)
    assert studies.labels == ["No Lung Opacity / Not Normal", "Lung Opacity", "Normal"]
    write(path, "patientId,class", "a,Normal", "a,Lung Opacity")
    with pytest.raises(InputError, match="the rows of 1 images differ in 'class'"):
        open_studies(path)


def chexpert(folder: Path, root: str = "CheXpert-v1.0-small/") -> Path:
    views = ["train/patient00001/study1/view1_frontal.jpg", "train/patient00002/study1/view1_frontal.jpg",
             "train/patient00002/study2/view1_frontal.jpg"]  # fmt: skip
    draw(folder, *views)
    return write(
        folder / "train.csv",
        CHEXPERT,
        f"{root}{views[0]},Female,68,Frontal,AP,1.0,,,,,1.0",
        f"{root}{views[1]},Female,87,Frontal,AP,,,-1.0,-1.0,0.0,",
        f"{root}{views[2]},Male,83,Frontal,AP,,,1.0,0.0,-1.0,",
    )


@pytest.mark.parametrize(("uncertain", "value"), [(None, None), ("ignore", None), ("zero", 0), ("one", 1)])
def test_chexpert(tmp_path: Path, uncertain: Any, value: int | None) -> None:
    studies = open_studies(chexpert(tmp_path), uncertain=uncertain)
    assert studies.classes == ["No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Edema", "Pleural Effusion",
                               "Support Devices"]  # fmt: skip
    assert not studies.exclusive
    assert rows(studies) == [
        [1, None, None, None, None, 1],
        [None, None, value, value, 0, None],
        [None, None, 1, 0, value, None],
    ]
    assert studies.patients == ["patient00001", "patient00002", "patient00002"]
    assert studies.column("Sex") == ["Female", "Female", "Male"]
    assert greys(studies) == [0, 10, 20]


def test_what_is_uncertain_changes_the_fingerprint(tmp_path: Path) -> None:
    path = chexpert(tmp_path)
    found = {
        str(open_studies(path, uncertain=uncertain).fingerprint()["sha256"]) for uncertain in ("ignore", "zero", "one")
    }
    assert len(found) == 3


def test_one_finding_of_chexpert(tmp_path: Path) -> None:
    studies = open_studies(chexpert(tmp_path, root=""), label="Edema", uncertain="one")
    assert (studies.classes, rows(studies)) == (["Edema"], [[None], [1], [0]])
    with pytest.raises(InputError, match="no column 'Gout'"):
        open_studies(tmp_path / "train.csv", label="Gout")


@pytest.mark.parametrize("value", ["2.0", "yes", "-2", "inf"])
def test_other_values_in_chexpert(tmp_path: Path, value: str) -> None:
    path = chexpert(tmp_path)
    path.write_text(path.read_text().replace(",0.0,-1.0,", f",{value},-1.0,"))
    with pytest.raises(InputError, match="column 'Edema' is to have 1, 0, -1 or nothing"):
        open_studies(path)


def test_covidx(tmp_path: Path) -> None:
    draw(tmp_path, "train/a.png", "train/COVID (1).png", "test/a.png", "c.jpg")
    path = write(
        tmp_path / "train_COVIDx9A.txt",
        "5 a.png positive cohen",
        "6 COVID (1).png positive sirm",
        "",
        "5 c.jpg negative rsna",
    )
    studies = open_studies(path)
    assert studies.ids == ["train/a.png", "train/COVID (1).png", "c.jpg"]
    assert (studies.labels, studies.classes) == (["positive", "positive", "negative"], ["negative", "positive"])
    assert (studies.patients, studies.groups) == (["5", "6", "5"], [0, 1, 0])
    assert studies.column("source") == ["cohen", "sirm", "rsna"]
    assert greys(studies) == [0, 10, 30]


def test_older_covidx_without_sources(tmp_path: Path) -> None:
    studies = open_studies(write(tmp_path / "train_split_v3.txt", "1 a.png COVID-19", "2 b.png normal"))
    assert studies.labels == ["COVID-19", "normal"]


def test_a_text_that_is_no_list(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 2: is not `patient file label source`"):
        open_studies(write(tmp_path / "list.txt", "1 a.png x y", "hello world"))
    with pytest.raises(InputError, match="the list has no lines"):
        open_studies(write(tmp_path / "list.txt", "", ""))
    (tmp_path / "scan.dcm").write_bytes(b"\xff\xfe\0DICM")
    with pytest.raises(InputError, match="neither a table nor a list"):
        open_studies(tmp_path / "scan.dcm")


def test_a_folder_per_class(tmp_path: Path) -> None:
    draw(tmp_path, "normal/a.png", "normal/deep/IM0001", "pneumonia/b.DCM", "pneumonia/1.2.840.113619", "x.png",
         "pneumonia/.hidden.png", ".git/c.png", "__MACOSX/normal/a.png")  # fmt: skip
    write(tmp_path / "normal" / "readme.txt", "no image")
    claim(tmp_path / "run")
    draw(tmp_path / "run", "d.png")
    studies = open_studies(tmp_path)
    assert studies.ids == ["normal/a.png", "normal/deep/IM0001", "pneumonia/1.2.840.113619", "pneumonia/b.DCM"]
    assert studies.labels == ["normal", "normal", "pneumonia", "pneumonia"]
    assert greys(studies) == [0, 10, 30, 20]
    with pytest.raises(InputError, match="does not say which images are of one patient"):
        _ = studies.groups
    assert open_studies(tmp_path, patient="none").groups == [0, 1, 2, 3]
    with pytest.raises(InputError, match="no images in folders in it"):
        open_studies(tmp_path / "normal" / "deep")
