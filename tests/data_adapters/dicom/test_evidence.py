"""What results take over from an image: valid or empty, never made up but for missing UIDs, never printed."""

import io
import warnings
from pathlib import Path

import pytest
from dicom_result_fixtures import KEY, header, save

from attn.core.errors import InputError
from attn.data_adapters.dicom.evidence import IDENTITY, read_evidence
from attn.data_adapters.dicom.privacy import Key


def test_patient_and_study_are_copied(tmp_path: Path) -> None:
    image = header()
    evidence = read_evidence(save(image, tmp_path / "a.dcm"), "a")
    assert {key: str(evidence.identity[key].value) for key in IDENTITY} == {
        key: str(image[key].value) for key in IDENTITY
    }
    assert (evidence.study, evidence.series) == (image.StudyInstanceUID, image.SeriesInstanceUID)
    assert (evidence.sop_class, evidence.sop_instance) == (image.SOPClassUID, image.SOPInstanceUID)
    assert evidence.notes == ()


def test_an_open_file_is_read_from_its_beginning(tmp_path: Path) -> None:
    data = io.BytesIO(save(header(), tmp_path / "a.dcm").read_bytes())
    assert read_evidence(data, "a") == read_evidence(tmp_path / "a.dcm", "a")


def test_missing_type_2_attributes_are_empty_without_a_word(tmp_path: Path) -> None:
    image = header(**dict.fromkeys(IDENTITY))
    evidence = read_evidence(save(image, tmp_path / "a.dcm"), "a")
    assert {keyword: evidence.identity[keyword].value for keyword in IDENTITY} == dict.fromkeys(IDENTITY, "")
    assert evidence.notes == ()


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientSex", "X"),
        ("PatientBirthDate", "1949-04-17"),
        ("StudyDate", "15.01.24"),
        ("StudyTime", "quarter past"),
        ("AccessionNumber", "A" * 17),
        ("PatientID", "B" * 65),
        ("PatientID", ["two", "ids"]),
        ("PatientName", "C" * 200),
        ("StudyID", "line\x07bell"),
    ],
)
def test_a_value_that_breaks_its_representation_is_left_empty_and_named(
    tmp_path: Path, keyword: str, value: object
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of what it writes here
        path = save(header(**{keyword: value}), tmp_path / "a.dcm")
    evidence = read_evidence(path, "a")
    assert evidence.identity[keyword].value == ""
    assert evidence.notes == (f"{keyword} is not valid and is left empty",)


def test_a_missing_study_gets_one_that_depends_on_the_image(tmp_path: Path) -> None:
    path = save(header(StudyInstanceUID=None, SeriesInstanceUID=None), tmp_path / "a.dcm")
    first, second = read_evidence(path, "a"), read_evidence(path, "b")
    other = read_evidence(save(header(StudyInstanceUID=None, SOPInstanceUID="1.2.3"), tmp_path / "b.dcm"), "b")
    assert first.study == second.study != other.study
    assert first.study.startswith("2.25.") and first.series.startswith("2.25.") and first.study != first.series
    assert "StudyInstanceUID is missing, and another is made" in first.notes


@pytest.mark.parametrize("uid", ["999.1.2", "1.02.3", "abc", "1.2." + "3" * 64, "2"])
def test_uids_that_are_none(tmp_path: Path, uid: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = save(header(StudyInstanceUID=uid), tmp_path / "a.dcm")
        instance = save(header(SOPInstanceUID=uid), tmp_path / "b.dcm")
    assert read_evidence(study, "a").notes == ("StudyInstanceUID is not valid, and another is made",)
    with pytest.raises(InputError, match=r"b: has a SOPInstanceUID \(0008,0018\) that is no valid UID") as refused:
        read_evidence(instance, "b")
    assert uid not in str(refused.value).split()
    assert read_evidence(instance, "b", key=KEY).sop_instance.startswith("2.25.")


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SOPClassUID"])
def test_an_image_that_nothing_can_refer_to_is_refused(tmp_path: Path, keyword: str) -> None:
    path = save(header(**{keyword: None}), tmp_path / "a.dcm")
    with pytest.raises(InputError, match=f"a: has no {keyword} "):
        read_evidence(path, "a", key=KEY)


def test_what_is_no_dicom_is_refused_without_its_words(tmp_path: Path) -> None:
    path = tmp_path / "page.dcm"
    path.write_text("<html><body>Please log in</body></html>", encoding="utf-8")
    with pytest.raises(InputError, match=r"^page: has ") as refused:
        read_evidence(path, "page")
    assert "log in" not in str(refused.value)


def test_pseudonyms_replace_identity_and_keep_what_belongs_together(tmp_path: Path) -> None:
    image = header()
    one = read_evidence(save(image, tmp_path / "a.dcm"), "a", key=KEY)
    again = read_evidence(save(header(PatientName="Mueller^J"), tmp_path / "b.dcm"), "b", key=KEY)
    other = read_evidence(save(header(PatientID="ID-1235"), tmp_path / "c.dcm"), "c", key=KEY)
    rekeyed = read_evidence(tmp_path / "a.dcm", "a", key=Key(b"another secret..."))
    assert one == again, "the id decides, not the spelling of the name"
    assert one.study == other.study and one.identity.PatientID != other.identity.PatientID
    assert rekeyed.study != one.study and rekeyed.identity.PatientID != one.identity.PatientID
    said = str(one)
    for keyword in (*IDENTITY, "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "InstitutionName"):
        assert keyword == "PatientSex" or str(image[keyword].value) not in said
    assert one.identity.PatientSex == "M"
    assert one.identity.PatientBirthDate == one.identity.StudyDate == one.identity.ReferringPhysicianName == ""
    assert one.identity.PatientIdentityRemoved == "YES"


def test_a_patient_without_id_and_name_has_no_pseudonym(tmp_path: Path) -> None:
    evidence = read_evidence(save(header(PatientName="", PatientID=""), tmp_path / "a.dcm"), "a", key=KEY)
    assert evidence.identity.PatientID == evidence.identity.PatientName == ""


def test_a_character_set_that_does_not_exist_leaves_no_broken_name(tmp_path: Path) -> None:
    image = header(SpecificCharacterSet="ISO_IR 100")
    data = save(image, tmp_path / "a.dcm").read_bytes().replace(b"ISO_IR 100", b"ISO_IR 192")
    (tmp_path / "a.dcm").write_bytes(data)  # Latin 1 that says it is UTF-8
    evidence = read_evidence(tmp_path / "a.dcm", "a")
    assert evidence.identity.PatientName == ""
    assert "PatientName is not valid and is left empty" in evidence.notes


@pytest.mark.parametrize(
    ("given", "kept"), [(["L", "F"], ("L", "F")), (["A", "FR"], ("A", "FR")), (["x", "y"], None), (["L"], None)]
)
def test_orientation(tmp_path: Path, given: list[str], kept: tuple[str, str] | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = save(header(PatientOrientation=given), tmp_path / "a.dcm")
    assert read_evidence(path, "a").orientation == kept
