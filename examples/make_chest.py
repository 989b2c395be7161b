"""Write examples/chest_phantom.dcm: `python examples/make_chest.py`.

No patient: a body, two lungs, a heart and ribs of ellipses, in a DICOM file of a CR device.
"""

from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian
from scipy.ndimage import gaussian_filter

SIDE, BITS = 256, 12
UID = "2.25.1"


def ellipse(x: float, y: float, width: float, height: float, tilt: float = 0.0) -> np.ndarray:
    """1 inside an ellipse about (x, y) in parts of the side, 0 outside."""
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    u, v = columns - x, rows - y
    u, v = u * np.cos(tilt) + v * np.sin(tilt), v * np.cos(tilt) - u * np.sin(tilt)
    return ((u / width) ** 2 + (v / height) ** 2 < 1).astype(float)


def chest() -> np.ndarray:
    """Stored values (SIDE, SIDE): bright where much was in the way of the rays."""
    shades = 0.1 + 0.5 * ellipse(0.5, 0.62, 0.46, 0.55) + 0.2 * ellipse(0.5, 0.5, 0.07, 0.6)
    lungs = np.maximum(ellipse(0.31, 0.48, 0.14, 0.3, 0.12), ellipse(0.69, 0.48, 0.14, 0.3, -0.12))
    shades -= 0.38 * lungs
    shades += 0.25 * ellipse(0.57, 0.63, 0.16, 0.14, 0.5) + 0.15 * ellipse(0.5, 0.98, 0.44, 0.2)
    for y in np.linspace(0.2, 0.75, 8):
        for x in (0.29, 0.71):
            rim = ellipse(x, y + 0.06, 0.2, 0.1) - ellipse(x, y + 0.075, 0.2, 0.1)
            shades += 0.06 * np.clip(rim, 0, 1)
    shades = gaussian_filter(shades, 2) + np.random.default_rng(0).normal(0, 0.01, (SIDE, SIDE))
    return (shades.clip(0, 1) * (2**BITS - 1)).astype(np.uint16)


def main() -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ComputedRadiographyImageStorage, UID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = ComputedRadiographyImageStorage, UID
    file.StudyInstanceUID, file.SeriesInstanceUID = f"{UID}.2", f"{UID}.3"
    file.Modality, file.BodyPartExamined, file.ViewPosition = "CR", "CHEST", "PA"
    file.PatientName, file.PatientID, file.PatientSex, file.PatientBirthDate = "PHANTOM", "PHANTOM", "", ""
    file.StudyDate, file.StudyTime, file.AccessionNumber, file.StudyID, file.ReferringPhysicianName = ("",) * 5
    file.SamplesPerPixel, file.PhotometricInterpretation, file.PixelRepresentation = 1, "MONOCHROME2", 0
    file.Rows = file.Columns = SIDE
    file.BitsAllocated, file.BitsStored, file.HighBit = 16, BITS, BITS - 1
    file.WindowCenter, file.WindowWidth = 2 ** (BITS - 1), 2**BITS
    file.PixelData = chest().astype("<u2").tobytes()
    file.save_as(Path(__file__).with_name("chest_phantom.dcm"), enforce_file_format=True)


if __name__ == "__main__":
    main()
