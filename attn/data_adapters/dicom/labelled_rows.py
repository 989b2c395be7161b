"""Labelled radiographs as the field publishes them: who is in the image, which findings, whose patient.

- COVIDx: a text file, `patient file label source` in each line (Wang, Lin, Wong 2020).
- RSNA pneumonia: `patientId`, `Target` and a row per box, or `patientId` and `class` (Shih et al. 2019).
- NIH ChestX-ray14: `Image Index`, `Finding Labels` as `A|B`, `Patient ID` (Wang et al. 2017).
- CheXpert: `Path` and a column per finding: 1, 0, -1 uncertain, empty not mentioned (Irvin et al. 2019).
- any other table with columns of paths and labels, and a folder with one folder per class.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from attn.core.errors import InputError, UsageError
from attn.data_adapters.boundary import boundary
from attn.data_adapters.dicom.locate import locate
from attn.data_adapters.images.pictures import PICTURE_SUFFIXES
from attn.data_adapters.paths import LIST_SUFFIXES, below, is_hidden
from attn.data_adapters.tables.small import TABLE_SUFFIXES, read_table, require_column

Uncertain = Literal["ignore", "zero", "one"]
RADIOGRAPH_SUFFIXES = (*PICTURE_SUFFIXES, ".dcm", ".dicom", ".dic", ".ima")
PATIENT_COLUMNS = ("patient_id", "patientid", "patient id", "patient", "subject_id", "subject")
CHEXPERT_FINDINGS = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema",
    "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture",
    "Support Devices",
)  # fmt: skip
NO_FINDING = "No Finding"
RSNA_TARGETS = {"0": "no_pneumonia", "1": "pneumonia"}
_MOST_LIST = 1 << 28  # bytes
_PATIENT_FOLDER = re.compile(r"(?:^|/)(patient\d+)/")


@dataclass(frozen=True)
class Rows:
    """One row per image.

    `ids` are paths relative to `root`; `targets` are (N, K) float32, NaN where unknown; `exclusive`: an image has
    exactly one class. `patients` is None where nothing says whose the images are. `table` has a row per image.
    """

    root: Path
    ids: list[str]
    labels: list[str]
    classes: list[str]
    targets: np.ndarray
    exclusive: bool
    patients: list[str] | None
    table: pl.DataFrame


def read_rows(
    source: Path, image: str | None, label: str | None, patient: str | None, uncertain: Uncertain | None
) -> Rows:
    """The rows of a labelled set in whichever layout it has; `open_studies` says what is raised."""
    if not source.exists():
        raise InputError("no such file or folder", where=source, hint="check the path")
    named = not (image is label is patient is None)
    is_table = source.name.lower().endswith(TABLE_SUFFIXES)
    if named and not is_table:
        raise UsageError("has no columns to choose", where=source, hint="leave --image, --label and --patient out")
    table = read_table(source) if is_table else pl.DataFrame()
    if is_table and table.is_empty():
        raise InputError("the table has no rows", where=source)
    columns = set(table.columns)
    if {"Path", "Frontal/Lateral"} <= columns and image in (None, "Path"):
        return _chexpert(source, table, label, patient, uncertain or "ignore")
    if uncertain is not None:
        raise UsageError("has no uncertain labels", where=source, hint="leave --uncertain out: it is for CheXpert")
    if source.is_dir():
        return _folder(source)
    if not is_table:
        return _covidx(source)
    if "patientId" in columns and columns & {"Target", "class"} and image in (None, "patientId"):
        return _rsna(source, table, label, patient)
    if {"Image Index", "Finding Labels"} <= columns:
        image, label, patient = image or "Image Index", label or "Finding Labels", patient or "Patient ID"
    return _table(source, table, image or "path", label or "label", patient)


def _table(source: Path, table: pl.DataFrame, image: str, label: str, patient: str | None) -> Rows:
    ids = _filled(source, table, image, "choose with --image and --label")
    labels = _filled(source, table, label, "choose with --image and --label")
    if image == "Image Index":  # of NIH, which has its images in twelve folders
        ids = locate(source, ids)
    exclusive = label != "Finding Labels" and not any("|" in text for text in labels)
    classes, targets = _one_of(labels) if exclusive else _several_of(labels)
    return Rows(source.parent, ids, labels, classes, targets, exclusive, _patients(source, table, patient), table)


def _rsna(source: Path, table: pl.DataFrame, label: str | None, patient: str | None) -> Rows:
    """Of several rows of one image the first stays; a column `boxes` counts them. All must have one label."""
    label = label or ("Target" if "Target" in table.columns else "class")
    require_column(table, label, source, "choose with --label")
    counted = table.group_by("patientId", maintain_order=True).agg(
        pl.exclude("patientId").first(), boxes=pl.len(), _labels=pl.col(label).n_unique()
    )
    if differ := int((counted["_labels"] > 1).sum()):
        raise InputError(
            f"the rows of {differ} images differ in {label!r}", where=source, hint="an image has one label"
        )
    if "x" in table.columns:  # a row without a box says that there is none
        counted = counted.with_columns(boxes=pl.when(_empty("x")).then(0).otherwise("boxes"))
    table = counted.drop("_labels")
    names = _filled(source, table, "patientId", "")
    labels = [RSNA_TARGETS.get(text, text) for text in _filled(source, table, label, "")]
    classes, targets = _one_of(labels)
    ids = locate(source, names, suffixes=(".dcm", ".png", ".jpg", ""))
    return Rows(source.parent, ids, labels, classes, targets, True, _patients(source, table, patient), table)


def _chexpert(source: Path, table: pl.DataFrame, label: str | None, patient: str | None, uncertain: Uncertain) -> Rows:
    """Patients are in the paths, `.../patient00001/study1/view1_frontal.jpg`."""
    classes = [name for name in CHEXPERT_FINDINGS if name in table.columns] if label is None else [label]
    for name in classes:
        require_column(table, name, source, "choose a finding with --label")
    names = _filled(source, table, "Path", "")
    targets = np.full((len(table), len(classes)), np.nan, np.float32)
    for k, name in enumerate(classes):
        with boundary(source, f"column {name!r} is to have 1, 0, -1 or nothing"):
            texts = table[name].cast(pl.String).str.strip_chars().replace("", None)
            targets[:, k] = texts.cast(pl.Float32).fill_null(np.nan).to_numpy()
        if not np.isin(targets[:, k][~np.isnan(targets[:, k])], (1, 0, -1)).all():
            raise InputError(f"column {name!r} is to have 1, 0, -1 or nothing", where=source)
    targets[targets == -1] = {"ignore": np.nan, "zero": 0, "one": 1}[uncertain]
    labels = ["|".join(name for name, value in zip(classes, row, strict=True) if value == 1) for row in targets]
    if patient is None:
        found = [_PATIENT_FOLDER.search(name) for name in names]
        patients: list[str] | None = [match[1] if match else "" for match in found]
    else:
        patients = _patients(source, table, patient)
    return Rows(source.parent, locate(source, names), labels, classes, targets, False, patients, table)


def is_covidx(path: Path) -> bool:
    """Whether a file of this name begins with a line `patient file label source`, and is no list of paths."""
    if path.suffix.lower() not in LIST_SUFFIXES or not path.is_file():
        return False
    with suppress(OSError), path.open("rb") as file:
        words = file.readline(4096).decode("utf-8-sig", "replace").lower().split()
        return any(map(_is_image, words[1:-1])) and not _is_image(words[-1])
    return False


def _is_image(name: str) -> bool:
    return name.endswith(RADIOGRAPH_SUFFIXES)


def _covidx(source: Path) -> Rows:
    with boundary(source, "is neither a table nor a list of images", "one of .csv .tsv .parquet .txt, or a folder"):
        if source.stat().st_size > _MOST_LIST:
            raise InputError(f"is a list of more than {_MOST_LIST:,} bytes", where=source)
        lines = source.read_text(encoding="utf-8-sig").splitlines()
    rows = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if 0 < len(words) < 3:
            raise InputError("is not `patient file label source`", where=f"{source}, line {number}")
        if len(words) == 3:
            rows.append((*words, ""))
        elif words:  # names of files may hold blanks
            rows.append((words[0], " ".join(words[1:-2]), *words[-2:]))
    if not rows:
        raise InputError("the list has no lines", where=source)
    table = pl.DataFrame(rows, ["patient", "file", "label", "source"], orient="row")
    part = re.split(r"[_.]", source.name)[0]  # train_COVIDx9A.txt lists the folder train
    labels = table["label"].to_list()
    classes, targets = _one_of(labels)
    ids = locate(source, table["file"].to_list(), prefer=part)
    return Rows(source.parent, ids, labels, classes, targets, True, table["patient"].to_list(), table)


def _folder(source: Path) -> Rows:
    inside = [path.relative_to(source) for path in below(source) if _looks_like_image(path)]
    files = [path for path in inside if len(path.parts) > 1 and not any(map(is_hidden, path.parts))]
    if not files:
        raise InputError(
            "no images in folders in it",
            where=source,
            hint="put the images of each class in a folder named after it, or give a table",
        )
    labels = [path.parts[0] for path in files]
    classes, targets = _one_of(labels)
    ids = [path.as_posix() for path in files]
    return Rows(source, ids, labels, classes, targets, True, None, pl.DataFrame())


def _looks_like_image(path: Path) -> bool:
    """Radiographs often have no suffix, or a UID as their name, whose end looks like a suffix of digits."""
    suffix = path.suffix.lower()
    return (suffix in ("", *RADIOGRAPH_SUFFIXES) or suffix[1:].isdigit()) and path.is_file()


def _filled(source: Path, table: pl.DataFrame, column: str, hint: str) -> list[str]:
    """A column as text without outer blanks. InputError: not there, or empty in a row."""
    require_column(table, column, source, hint)
    missing = table.select(_empty(column)).to_series()
    if missing.any():
        first = int(missing.arg_true()[0]) + 1
        raise InputError(
            f"{missing.sum()} of {len(table)} rows have no {column!r}, the first is row {first}",
            where=source,
            hint="fill or remove them",
        )
    return table[column].cast(pl.String).str.strip_chars().to_list()


def _empty(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.String).str.strip_chars().fill_null("") == ""


def _patients(source: Path, table: pl.DataFrame, patient: str | None) -> list[str] | None:
    """The column `patient`, else the one with a usual name; None when there is none, or it is not to be used."""
    if patient == "none":
        return None
    if patient is None:
        usual = {name.lower(): name for name in reversed(table.columns)}
        patient = next((usual[name] for name in PATIENT_COLUMNS if name in usual), None)
        if patient is None:
            return None
    require_column(table, patient, source, "choose with --patient")
    return table[patient].cast(pl.String).fill_null("").str.strip_chars().to_list()


def _one_of(labels: Sequence[str]) -> tuple[list[str], np.ndarray]:
    classes = sorted(set(labels))
    return classes, np.eye(len(classes), dtype=np.float32)[np.searchsorted(classes, labels)]


def _several_of(labels: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Of texts such as `Edema|Mass`; `No Finding` is no class but the absence of all."""
    found = [{name.strip() for name in text.split("|")} - {NO_FINDING, ""} for text in labels]
    classes = sorted(set().union(*found))
    return classes, np.array([[name in row for name in classes] for row in found], np.float32)
