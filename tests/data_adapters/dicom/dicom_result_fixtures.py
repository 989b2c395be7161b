"""Sources and answers for the tests of what is written, and the standard's own opinion of it: `dciodvfy`."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
)

from attn.data_adapters.dicom.privacy import Key
from attn.data_adapters.dicom.report import Algorithm, Answer, OperatingPoint

KEY = Key(b"0123456789abcdef")
CLASSES = {
    "CR": ComputedRadiographyImageStorage,
    "DX": DigitalXRayImageStorageForPresentation,
    "SC": SecondaryCaptureImageStorage,
}
ALGORITHM = Algorithm(
    name="medusa-größe",
    version="0.1.0",
    sha256="ab" * 32,
    operating_points={"covid": OperatingPoint(threshold=0.1, meaning="sensitivity 0.95 on 120 images")},
    settings={"temperature": "1.31"},
)
ANSWER = Answer(
    label="pneumonia",
    probabilities={"covid": 0.123456789, "normal": 2.5e-7, "pneumonia": 0.87654296},
    flags=("lossy", "window-missing"),
)


def header(kind: str = "CR", **changes: object) -> Dataset:
    """A small image of one class; `changes` set attributes, and None removes one."""
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = CLASSES[kind]
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = "1.2.826.0.1.3680043.8.498.77"
    image.SpecificCharacterSet = "ISO_IR 192"
    image.StudyInstanceUID, image.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.7", "1.2.826.0.1.3680043.8.498.70"
    image.PatientName, image.PatientID = "Müller^Jürgen", "ID-1234"
    image.PatientBirthDate, image.PatientSex = "19490417", "M"
    image.StudyDate, image.StudyTime, image.StudyID = "20240115", "101530", "S1"
    image.AccessionNumber, image.ReferringPhysicianName = "ACC99", "Grün^Doktor"
    image.InstitutionName, image.Modality = "Klinik Nord", "OT" if kind == "SC" else kind
    image.Rows = image.Columns = 8
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated = image.BitsStored = 8
    image.HighBit, image.PixelRepresentation = 7, 0
    image.PixelData = bytes(range(64))
    for keyword, value in changes.items():
        if value is None:
            delattr(image, keyword)
        else:
            setattr(image, keyword, value)
    return image


def save(image: Dataset, path: Path) -> Path:
    image.save_as(path, enforce_file_format=False)
    return path


def heat() -> np.ndarray:
    """A map of 4 x 4 whose upper left is the hottest."""
    return np.linspace(1, 0, 16, dtype=np.float32).reshape(4, 4)


def assert_valid(path: Path) -> None:
    """`dciodvfy` of dicom3tools finds no Error in the file. Skips the test where it is not installed."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed: apt-get install dicom3tools")
    done = subprocess.run(["dciodvfy", path], capture_output=True, text=True, timeout=60, errors="replace")
    lines = (done.stdout + done.stderr).splitlines()
    assert lines, "dciodvfy names what it found"
    errors = [line for line in lines if line.startswith("Error")]
    assert not errors, "\n".join(errors)
