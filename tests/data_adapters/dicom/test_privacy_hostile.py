"""No text of a header that tells who a patient is comes out of the readers, whatever is wrong with the file."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from canaries import CANARY, plant, traces

from attn.core.errors import InputError
from attn.data_adapters.dicom.read import read_radiographs
from attn.data_adapters.dicom.studies import list_entries

# Elements that are read. Not the names of windows, which `--window` takes: PS3.15 E.1 lets them stay too.
ALLOWED = [
    "BodyPartExamined", "BurnedInAnnotation", "ConversionType", "ImageLaterality", "ImageType", "LossyImageCompression",
    "Modality", "PatientOrientation", "PhotometricInterpretation", "PresentationIntentType", "PresentationLUTShape",
    "SOPClassUID", "SeriesDescription", "SpecificCharacterSet", "VOILUTFunction", "ViewPosition", "WindowCenter",
    "WindowWidth", "RescaleSlope", "RescaleIntercept", "NumberOfFrames", "PixelSpacing",
    "ImagerPixelSpacing", "PixelAspectRatio",
]  # fmt: skip


def said(path: Path) -> str:
    """All that comes back of a file but its pixels."""
    answers: list[Any] = []
    try:
        for entry in list_entries([str(path)]):
            with entry.open() as file:
                answers += [(r.id, r.spacing, r.flags, r.header) for r in read_radiographs(file, entry.id)]
    except InputError as error:
        answers += [str(error), repr(error), error.what, error.where, error.hint]
    return repr(answers)


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder) -> Any:
    """Call it to see that nothing was logged, warned or printed."""
    caplog.set_level(logging.DEBUG)

    def check() -> None:
        out, err = capfd.readouterr()
        spoken = [out, err, caplog.text, *(str(warning.message) for warning in recwarn.list)]
        assert [trace for text in spoken for trace in traces(text)] == []

    return check


def test_the_canaries_are_in_the_file_and_do_not_come_out(tmp_path: Path, quiet: Any) -> None:
    path = plant(tmp_path / "scan.dcm")
    assert path.read_bytes().count(CANARY.encode()) > 2015
    assert traces(path.read_bytes()) == [CANARY, "Jörgänsson", "18981231", "2.25.1898"]
    answer = said(path)
    assert "frontal" in answer
    assert traces(answer) == []
    quiet()


@pytest.mark.parametrize("keyword", ALLOWED)
def test_a_name_that_was_typed_into_another_field(tmp_path: Path, keyword: str, quiet: Any) -> None:
    assert traces(said(plant(tmp_path / "scan.dcm", **{keyword: f"{CANARY}9"}))) == []
    quiet()


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.5", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2", CANARY])
def test_a_file_that_cannot_be_decoded(tmp_path: Path, syntax: str, quiet: Any) -> None:
    path = plant(tmp_path / "scan.dcm")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"1.2.840.10008.1.2.1\0", syntax.encode().ljust(20, b"\0")))
    assert traces(said(path)) == []
    quiet()


def test_damaged_files(tmp_path: Path, quiet: Any) -> None:
    good = plant(tmp_path / "scan.dcm").read_bytes()
    header = len(good) - 64 * 64
    path = tmp_path / "damaged.dcm"
    draw = np.random.default_rng(0)
    for _ in range(150):
        content = bytearray(good[: draw.integers(140, len(good))] if draw.random() < 0.4 else good)
        for at in draw.integers(132, min(header, len(content)), draw.integers(1, 8)):
            content[at] = draw.integers(256)
        path.write_bytes(content)
        assert traces(said(path)) == []
    quiet()


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["c35_charset_not_supplied.dcm", "c51_names_everywhere.dcm"])
def test_the_cases_of_bug_reports(data_dir: Path, name: str, quiet: Any) -> None:
    answer = said(data_dir / "chest" / "cases" / name)
    assert "InputError" not in answer
    assert traces(answer) == []
    assert not any(trace in answer for trace in ("1898", "1901", "Müller", "ller", "TEST-c"))
    quiet()
