"""Structured reports: highdicom reads them back, dciodvfy finds no error, and they say what the model said."""

from pathlib import Path

import pydicom
import pytest
from dicom_result_fixtures import ALGORITHM, ANSWER, CLASSES, KEY, assert_valid, header, save
from highdicom.sr import ComprehensiveSR, srread

from attn.data_adapters.dicom.evidence import IDENTITY, Evidence, read_evidence
from attn.data_adapters.dicom.report import Answer, Series, short, write_report


def evidence_of(folder: Path, kind: str = "CR", frame: int | None = None, **changes: object) -> Evidence:
    return read_evidence(save(header(kind, **changes), folder / "source.dcm"), "source", frame=frame)


def written(folder: Path, evidence: Evidence, answer: Answer = ANSWER) -> Path:
    path = folder / "report.dcm"
    write_report(evidence, answer, ALGORITHM).save_as(path, enforce_file_format=True)
    return path


def texts(dataset: pydicom.Dataset) -> list[str]:
    """All meanings and texts of a report."""
    found = [str(element.value) for element in dataset.iterall() if element.keyword in ("CodeMeaning", "TextValue")]
    return [" ".join(text.split()) for text in found]


def test_highdicom_reads_back_what_the_model_said(tmp_path: Path) -> None:
    report = srread(written(tmp_path, evidence_of(tmp_path)))
    assert isinstance(report, ComprehensiveSR)
    (group,) = report.content.get_image_measurement_groups()
    assert [(each.name.value, each.value) for each in group.get_measurements()] == [
        ("p_covid", 0.123457),
        ("p_normal", 2.5e-7),
        ("p_pneumonia", 0.876543),
    ]
    said = {(each.name.meaning, each.value.meaning) for each in group.get_qualitative_evaluations()}
    assert said == {
        ("Intended use", "Research use, not a medical device"),
        ("Likeliest class", "pneumonia"),
        ("Operating point of covid", "At or above"),
        ("Flag of the image", "lossy"),
        ("Flag of the image", "window missing"),
    }
    (source,) = group.source_images
    assert source.referenced_sop_instance_uid == header().SOPInstanceUID
    assert {"medusa-größe", "0.1.0", f"sha256: {'ab' * 32}", "temperature: 1.31"} <= {*texts(report)}
    assert "operating point of covid: 0.1 (sensitivity 0.95 on 120 images)" in texts(report)


@pytest.mark.parametrize("kind", CLASSES)
def test_patient_and_study_are_those_of_the_image(tmp_path: Path, kind: str) -> None:
    report = pydicom.dcmread(written(tmp_path, evidence_of(tmp_path, kind)))
    image = header(kind)
    for keyword in (*IDENTITY, "StudyInstanceUID"):
        assert str(report[keyword].value) == str(image[keyword].value)
    assert report.SeriesInstanceUID != image.SeriesInstanceUID
    assert report.SeriesDescription == "attn. Research use, not a medical device"
    assert report.VerificationFlag == "UNVERIFIED"


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("bare", [False, True])
def test_dciodvfy_finds_no_error(tmp_path: Path, kind: str, bare: bool) -> None:
    changes = dict.fromkeys((*IDENTITY, "StudyInstanceUID", "SeriesInstanceUID")) if bare else {}
    assert_valid(written(tmp_path, evidence_of(tmp_path, kind, **changes)))


def test_dciodvfy_finds_no_error_under_pseudonyms(tmp_path: Path) -> None:
    evidence = read_evidence(save(header(), tmp_path / "source.dcm"), "source", key=KEY)
    path = written(tmp_path, evidence)
    for secret in (b"M\xc3\xbcller", b"ID-1234", b"ACC99", b"Nord", b"19490417", b"20240115", b"1.3680043.8.498.7"):
        assert secret not in path.read_bytes()
    assert_valid(path)


@pytest.mark.parametrize("labels", [("covid-19 (PCR)", "a\\b"), ("肺炎", "x" * 90), ("", " ")])
def test_any_class_names_make_a_valid_report(tmp_path: Path, labels: tuple[str, str]) -> None:
    first, second = labels
    answer = Answer(label=first, probabilities={first: 1.0, second: 0.0})
    report = write_report(evidence_of(tmp_path), answer, ALGORITHM.__class__(name="m", version="1", sha256="0" * 64))
    report.save_as(tmp_path / "report.dcm", enforce_file_format=True)
    assert srread(tmp_path / "report.dcm").content.get_image_measurement_groups()
    assert_valid(tmp_path / "report.dcm")


def test_a_frame_is_named_where_the_standard_allows(tmp_path: Path) -> None:
    multi = evidence_of(tmp_path, frame=2, SOPClassUID="1.2.840.10008.5.1.4.1.1.7.2")
    report = srread(written(tmp_path, multi))
    (group,) = report.content.get_image_measurement_groups()
    assert [*group.source_images[0].referenced_frame_numbers] == [2]
    assert group.tracking_identifier == "frame 2"
    single = evidence_of(tmp_path, "SC", frame=2)
    report = srread(written(tmp_path, single))
    (group,) = report.content.get_image_measurement_groups()
    assert not group.source_images[0].referenced_frame_numbers
    assert group.tracking_identifier == "frame 2"
    assert_valid(tmp_path / "report.dcm")


def test_each_report_is_a_new_instance_of_its_series(tmp_path: Path) -> None:
    series = Series(number=3)
    first, second = (write_report(evidence_of(tmp_path), ANSWER, ALGORITHM, series) for _ in range(2))
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.SeriesInstanceUID == second.SeriesInstanceUID == series.uid
    assert first.InstanceNumber == 3


def test_short() -> None:
    assert short("a\\b\nc") == "a_b_c"
    assert short("") == short("  ") == "_"
    assert len(short("x" * 100)) == 64
