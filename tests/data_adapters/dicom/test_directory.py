"""DICOMDIRs: written by pydicom's file sets, then damaged."""

from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    ExplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
    generate_uid,
)

from attn.core.errors import InputError
from attn.data_adapters.dicom.directory import list_images
from attn.data_adapters.dicom.studies import list_entries

NAME = "ZZCANARY^NAME"


def instance(i: int) -> Dataset:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid(entropy_srcs=[f"i{i}"])
    data.PatientName, data.PatientID, data.InstanceNumber = NAME, "ZZCANARYID", i
    return data


def record(kind: str, **elements: object) -> Dataset:
    data = Dataset()
    data.OffsetOfTheNextDirectoryRecord = data.OffsetOfReferencedLowerLevelDirectoryEntity = 0
    data.RecordInUseFlag, data.DirectoryRecordType = 0xFFFF, kind
    for keyword, value in elements.items():
        setattr(data, keyword, value)
    return data


@pytest.fixture
def disc(tmp_path: Path) -> Path:
    """A file set of three images; of the real data, one that pydicom's FileSet wrote is read in test_studies."""
    directory = Dataset()
    directory.file_meta = FileMetaDataset()
    directory.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    directory.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    directory.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["set"])
    directory.FileSetID = "SET"
    directory.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = 0
    directory.DirectoryRecordSequence = [
        record("PATIENT", PatientName=NAME, PatientID="ZZCANARYID"),
        record("STUDY", StudyDate="18980101", AccessionNumber="ZZCANARYACC"),
        record("SERIES", Modality="CR"),
    ]
    for i in range(3):
        file_id = ["PT000000", "ST000000", "SE000000", f"IM00000{i}"]
        path = tmp_path / "disc" / Path(*file_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        instance(i).save_as(path, enforce_file_format=True)
        directory.DirectoryRecordSequence.append(record("IMAGE", ReferencedFileID=file_id))
    directory.save_as(tmp_path / "disc" / "DICOMDIR", enforce_file_format=True)
    return tmp_path / "disc" / "DICOMDIR"


def files_of(disc: Path) -> list[Path]:
    return sorted(path for path in disc.parent.rglob("*") if path.is_file() and path != disc)


def change(disc: Path, **elements: object) -> None:
    """Set elements in the last directory record."""
    data = pydicom.dcmread(disc)
    for keyword, value in elements.items():
        setattr(data.DirectoryRecordSequence[-1], keyword, value)
    data.save_as(disc)


def test_its_images_in_order(disc: Path) -> None:
    entries = list(list_entries([str(disc)]))
    assert [entry.path for entry in entries] == files_of(disc)
    assert [int(pydicom.dcmread(entry.path).InstanceNumber) for entry in entries] == [0, 1, 2]


def test_a_folder_has_what_its_dicomdir_lists_and_what_it_does_not(disc: Path) -> None:
    first, *_ = files_of(disc)
    first.unlink()
    (disc.parent / "EXTRA").write_bytes(b"1")
    entries = list(list_entries([str(disc.parent)]))
    assert {entry.path for entry in entries} == {first, disc.parent / "EXTRA", *files_of(disc)}
    assert len(entries) == 4
    (missing,) = (entry for entry in entries if entry.refusal)
    with pytest.raises(InputError, match=r"IM000000: is listed in the DICOMDIR, but is not there") as caught:
        missing.open()
    assert "ZZCANARY" not in str(caught.value)


def test_discs_whose_file_system_changed_the_case_of_names(disc: Path) -> None:
    for path in sorted(disc.parent.rglob("*"), key=lambda path: -len(path.parts)):
        path.rename(path.with_name(path.name.lower()))
    entries = list(list_entries([str(disc.with_name("dicomdir"))]))
    assert [entry.refusal for entry in entries] == ["", "", ""]


def test_offsets_in_circles_are_not_followed(disc: Path) -> None:
    data = pydicom.dcmread(disc)
    at = data.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity
    for record in data.DirectoryRecordSequence:
        record.OffsetOfTheNextDirectoryRecord = record.OffsetOfReferencedLowerLevelDirectoryEntity = at
    data.save_as(disc)
    assert len(list(list_images(disc))) == 3


@pytest.mark.parametrize(
    "file_id",
    [["..", "..", "etc", "passwd"], ["/etc", "passwd"], [""], ["A" * 5000], ["a\x1b[2Jb"], ["."], ["NUL\x00"]],
)
def test_file_ids_that_lead_elsewhere_are_refused(disc: Path, file_id: list[str]) -> None:
    with pydicom.config.disable_value_validation():
        change(disc, ReferencedFileID=file_id)
    *_, (said, path) = list_images(disc)
    assert path is None
    assert said.isprintable()
    assert len(list(list_entries([str(disc)]))) == 3


def test_records_out_of_use_and_of_other_kinds_are_no_images(disc: Path) -> None:
    change(disc, RecordInUseFlag=0)
    assert len(list(list_images(disc))) == 2
    change(disc, RecordInUseFlag=0xFFFF, DirectoryRecordType="SR DOCUMENT")
    assert len(list(list_images(disc))) == 2


def test_a_deflated_one_is_refused_before_it_is_inflated(disc: Path) -> None:
    data = disc.read_bytes()
    disc.write_bytes(data.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99"[:20]))
    with pytest.raises(InputError, match=r"transfer syntax 1\.2\.840\.10008\.1\.2\.1"):
        list(list_images(disc))


def test_a_dicomdir_that_is_none_is_one_refused_entry(tmp_path: Path) -> None:
    path = tmp_path / "DICOMDIR"
    image = instance(0)
    image.save_as(tmp_path / "image", enforce_file_format=True)
    for content in (b"<html>", b"", bytes(200), (tmp_path / "image").read_bytes()):
        path.write_bytes(content)
        (entry,) = list_entries([str(path)])
        with pytest.raises(InputError, match="DICOMDIR") as caught:
            entry.open()
        assert "ZZCANARY" not in str(caught.value)
