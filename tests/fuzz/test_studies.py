"""Damaged archives, DICOMDIRs and lists of labelled radiographs."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from fuzz.mutate import fuzz, mutants
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, MediaStorageDirectoryStorage, generate_uid

from attn.core.errors import InputError
from attn.data_adapters.dicom.identity import read_identity
from attn.data_adapters.dicom.labelled import open_studies
from attn.data_adapters.dicom.studies import list_entries

CANARY = "ZZCANARY"


def archives() -> list[bytes]:
    found = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as file:
            file.writestr("a", np.random.default_rng(0).bytes(60))
            file.writestr("série/b.dcm", b"1" * 90)
        found.append(buffer.getvalue())
    return found


def directories() -> list[bytes]:
    found = []
    for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = syntax
        data.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
        data.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["set"])
        patient, image = Dataset(), Dataset()
        patient.DirectoryRecordType, patient.PatientName, patient.PatientID = "PATIENT", f"{CANARY}^B", f"{CANARY}ID"
        image.DirectoryRecordType, image.RecordInUseFlag, image.ReferencedFileID = "IMAGE", 0xFFFF, ["PT0", "IM0"]
        data.DirectoryRecordSequence = [patient, image]
        buffer = io.BytesIO()
        data.save_as(buffer, enforce_file_format=True)
        found.append(buffer.getvalue())
    return found


LISTS = {
    "labels.csv": b"path,label,patient_id,duplicate_group\na.png,x,1,g\nb.png,y,2,\nc.png,x,,g\n",
    "nih.csv": b"Image Index,Finding Labels,Patient ID\na.png,Mass|Edema,1\nb.png,No Finding,2\n",
    "rsna.csv": b"patientId,x,y,width,height,Target\na,1,2,3,4,1\na,5,6,7,8,1\nb,,,,,0\n",
    "chexpert.csv": b"Path,Frontal/Lateral,Edema,Fracture\na/patient1/v.jpg,Frontal,1.0,-1.0\npatient2/v,Frontal,,0\n",
    "covidx.txt": b"1 a.png positive cohen\n2 b (1).png negative rsna\n3 c.png negative\n",
}


@pytest.mark.parametrize(("name", "seeds"), [("s.zip", archives()), ("DICOMDIR", directories())])
def test_studies(tmp_path: Path, name: str, seeds: list[bytes], fuzz_count: int) -> None:
    """Whatever is in the file, it has entries; each opens or says why, and no patient is named."""
    path = tmp_path / name
    (tmp_path / "PT0").mkdir()
    (tmp_path / "PT0" / "IM0").write_bytes(b"1")

    def read(data: bytes) -> None:
        path.write_bytes(data)
        refused = None
        for entry in list_entries([str(path)]):
            assert CANARY not in entry.id + entry.refusal
            try:
                with entry.open() as file:
                    assert len(file.read()) < 1 << 20
                    read_identity(file)
            except InputError as error:
                refused = error
        if refused is not None:
            raise refused

    outcomes = fuzz(read, mutants(seeds, fuzz_count // 4, name))
    assert outcomes["read"] and outcomes["InputError"]


@pytest.mark.parametrize("name", LISTS)
def test_lists(tmp_path: Path, name: str, fuzz_count: int) -> None:
    path = tmp_path / name

    def read(data: bytes) -> None:
        path.write_bytes(data)
        studies = open_studies(path, patient=None)
        assert len(studies) == len(studies.labels) == len(studies.targets)
        assert studies.targets.shape[1] == len(studies.classes)
        assert len(studies.groups) == len(studies.patients) == len(studies)
        studies.fingerprint()

    outcomes = fuzz(read, mutants([LISTS[name]], fuzz_count // len(LISTS), name))
    assert outcomes["read"] and outcomes["InputError"]
