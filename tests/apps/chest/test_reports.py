"""Predictions with DICOM results: a report and a heat map for each answer, nothing for what is refused."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from chest_fixtures import chest, write_dicom
from highdicom.sr import srread
from PIL import Image

from attn.apps.chest.predict import ChestPredictor
from attn.apps.chest.read import Reading
from attn.apps.chest.reports import Reports, algorithm
from attn.data_adapters.dicom.privacy import Key
from attn.data_adapters.dicom.studies import list_entries


@pytest.fixture(scope="module")
def predictor(chest_model: Path) -> ChestPredictor:
    return ChestPredictor.load(chest_model, device="cpu")


def test_each_answer_has_a_report_that_says_the_same(tmp_path: Path, predictor: ChestPredictor) -> None:
    for number in range(2):
        write_dicom(tmp_path / f"{number}.dcm", chest("covid", number))
    entries = [*list_entries([str(tmp_path)])]
    plain = [*predictor.predict_many(entries)]
    rows = [*Reports(tmp_path / "out", predictor).predict_many(entries, Reading())]
    assert [row.id for row in rows] == [row.id for row in plain]
    for row, alone in zip(rows, plain, strict=True):
        assert row.probabilities == pytest.approx(alone.probabilities, abs=1e-6)
        (group,) = srread(tmp_path / "out" / str(row.values["report"])).content.get_image_measurement_groups()
        said = {each.name.value: each.value for each in group.get_measurements()}
        assert said == pytest.approx({f"p_{label}": p for label, p in row.probabilities.items()}, rel=1e-5)
        capture = pydicom.dcmread(tmp_path / "out" / str(row.values["heat_map"]))
        assert capture.PhotometricInterpretation == "RGB" and np.ptp(capture.pixel_array) > 100


def test_the_algorithm_is_the_model_folder(predictor: ChestPredictor) -> None:
    point = {"threshold": 0.2, "sensitivity": 0.95, "specificity": 0.5, "target_sensitivity": 0.95}
    calibration = {"temperature": 1.3, "shift": [0.1, 0, 0], "operating_points": {"covid": point}}
    said = algorithm(predictor.record.model_copy(update={"calibration": calibration}))
    assert said.sha256 == predictor.record.files["model.safetensors"] and len(said.sha256) == 64
    assert said.operating_points["covid"].threshold == 0.2
    assert said.operating_points["covid"].meaning == "sensitivity 0.950, specificity 0.500 where it was chosen"
    assert (said.settings["temperature"], said.settings["shift"]) == ("1.3", "0.1, 0, 0")


def test_frames_of_a_file(tmp_path: Path, predictor: ChestPredictor) -> None:
    frames = np.stack([chest("normal"), chest("covid")])
    path = write_dicom(tmp_path / "two.dcm", frames)
    entries = [*list_entries([str(path)])]
    both = [*Reports(tmp_path / "out", predictor).predict_many(entries, Reading())]
    (second,) = Reports(tmp_path / "one", predictor).predict_many(entries, Reading(frame=2))
    assert [row.error for row in (*both, second)] == [None] * 3
    for row, folder in ((both[1], "out"), (second, "one")):
        (group,) = srread(tmp_path / folder / str(row.values["report"])).content.get_image_measurement_groups()
        assert group.tracking_identifier == "frame 2"
    assert len([*(tmp_path / "out").glob("*.dcm")]) == 4


def test_nothing_is_written_for_what_has_no_answer_or_no_study(tmp_path: Path, predictor: ChestPredictor) -> None:
    (tmp_path / "a.dcm").write_bytes(write_dicom(tmp_path / "c.dcm").read_bytes()[:2000])
    Image.fromarray(chest()).save(tmp_path / "b.png")
    write_dicom(tmp_path / "c.dcm", SOPInstanceUID=None)
    (tmp_path / "d.dcm").write_text("<html>")
    (tmp_path / "notes.txt").write_text("nothing")
    skipped: list[object] = []
    entries = list_entries([str(tmp_path)])
    rows = [*Reports(tmp_path / "out", predictor).predict_many(entries, Reading(), skipped=skipped.append)]
    assert [row.error is not None for row in rows] == [True] * 4
    assert [row.label is not None for row in rows] == [False, True, True, False]
    assert rows[1].error == "no report: a picture belongs to no study"
    assert "no report: has no SOPInstanceUID" in str(rows[2].error)
    assert {row.values["report"] for row in rows} == {None} and len(skipped) == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".attn"]


def test_what_a_report_lacks_is_told_without_values(tmp_path: Path, predictor: ChestPredictor) -> None:
    path = write_dicom(tmp_path / "a.dcm", AccessionNumber="A" * 16)
    data = path.read_bytes().replace(b"A" * 16, b"A" * 14 + b"\\B")
    path.write_bytes(data)
    said: list[str] = []
    reports = Reports(tmp_path / "out", predictor, Key(b"k" * 16), said.append)
    (row,) = reports.predict_many(list_entries([str(path)]), Reading())
    assert row.error is None
    assert said == [
        f"{path}: AccessionNumber is not valid and is left empty",
        f"{path}: StudyInstanceUID is missing, and another is made",
        f"{path}: SeriesInstanceUID is missing, and another is made",
    ]
    report = (tmp_path / "out" / str(row.values["report"])).read_bytes()
    assert b"TEST" not in report
