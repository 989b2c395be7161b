"""Drawn chest radiographs: as arrays, as a labelled set, as DICOM files."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from attn.apps.chest.model import MedusaConfig

PER_CLASS, SIDE = 12, 64
LABELS = ("covid", "normal", "pneumonia")
CHEST = {
    "Modality": "DX",
    "BodyPartExamined": "CHEST",
    "ViewPosition": "PA",
    "PatientOrientation": ["L", "F"],
    "PresentationIntentType": "FOR PRESENTATION",
}


def chest(label: str = "normal", number: int = 0, side: int = SIDE) -> np.ndarray:
    """A frontal chest, (side, side) uint8: dark lungs in a bright body, the heart at the right of the picture.

    Pneumonia is one bright patch in a lung, covid a haze at both sides.
    """
    draw = np.random.default_rng([LABELS.index(label), number])
    y, x = np.mgrid[:side, :side] / side
    x, y = x + draw.uniform(-0.03, 0.03), y + draw.uniform(-0.03, 0.03)

    def ellipse(cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
        return np.exp(-((((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2) ** 3))

    light = 0.75 * ellipse(0.5, 0.6, 0.47, 0.6)
    light -= 0.55 * (ellipse(0.29, 0.47, 0.15, 0.33) + ellipse(0.71, 0.47, 0.15, 0.33))
    light += 0.5 * ellipse(0.58, 0.62, 0.15, 0.16) + 0.1 * ellipse(0.5, 0.5, 0.04, 0.5)
    if label == "pneumonia":
        light += 0.45 * ellipse(draw.choice([0.28, 0.72]), draw.uniform(0.4, 0.65), 0.09, 0.09)
    elif label == "covid":
        light += 0.35 * (ellipse(0.2, 0.65, 0.08, 0.2) + ellipse(0.8, 0.65, 0.08, 0.2))
    light *= draw.uniform(0.85, 1.05)
    return (255 * (light + draw.normal(0, 0.02, light.shape))).clip(0, 255).astype(np.uint8)


def write_set(folder: Path, per_class: int = PER_CLASS, first: int = 0) -> Path:
    """`labels.csv` with path, label, patient_id, source and sex, and its pictures; the path of the table.

    A patient has two images of one class. The pictures of a class are numbered from `first`.
    """
    folder.mkdir(parents=True)
    rows = []
    for label in LABELS:
        for number in range(per_class):
            name = f"{label}_{number}.png"
            Image.fromarray(chest(label, first + number)).save(folder / name)
            rows.append([name, label, f"{label}-{number // 2}", "east" if number % 4 < 2 else "west", "FM"[number % 2]])
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "label", "patient_id", "source", "sex"], *rows])
    return folder / "labels.csv"


def write_dicom(path: Path, pixels: np.ndarray | None = None, **changes: Any) -> Path:
    """A DX file of 8-bit (H, W) or (frames, H, W) `pixels`, a normal chest when there are none; None removes a tag."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

    pixels = chest() if pixels is None else pixels
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    tags = CHEST | {
        "SOPClassUID": meta.MediaStorageSOPClassUID,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "PatientName": "TEST^PATIENT",
        "PatientID": "TEST-1",
        "PhotometricInterpretation": "MONOCHROME2",
        "SamplesPerPixel": 1,
        "Rows": pixels.shape[-2],
        "Columns": pixels.shape[-1],
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
        "WindowCenter": 128,
        "WindowWidth": 256,
    }
    if pixels.ndim == 3:
        tags["NumberOfFrames"] = len(pixels)
    for name, value in (tags | changes).items():
        if value is not None:
            setattr(dataset, name, value)
    dataset.PixelData = pixels.tobytes() + b"\0" * (pixels.size % 2)
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path)
    return path


def micro_config(**changes: Any) -> MedusaConfig:
    """A small Medusa."""
    return MedusaConfig(image_size=64, body=(8, 8, 16), head=16, scales=4).model_copy(update=changes)
