"""Heat maps as Secondary Capture: what is drawn, what it refers to, and dciodvfy's opinion."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_result_fixtures import ALGORITHM, CLASSES, KEY, assert_valid, header, heat, save
from highdicom import imread
from matplotlib import colormaps

from attn.data_adapters.dicom.capture import FOOT, LINE, LONG_SIDE, OPACITY, draw_heat, write_capture
from attn.data_adapters.dicom.evidence import IDENTITY, read_evidence
from attn.data_adapters.dicom.flags import Flag


def test_the_picture_is_the_image_mixed_with_the_colours_of_the_map() -> None:
    grey = np.full((8, 8), 0.5, np.float32)
    flat = np.zeros((2, 2), np.float32)
    picture = draw_heat(grey, flat)
    coldest = np.array(colormaps["inferno"](0.0)[:3])
    expected = (1 - OPACITY) * 128 + OPACITY * 255 * coldest
    assert picture.shape == (LONG_SIDE + FOOT, LONG_SIDE, 3)
    assert np.abs(picture[:LONG_SIDE] - expected).max() <= 1


def test_the_hottest_place_of_the_map_is_the_brightest_of_a_flat_image() -> None:
    heat_hw = np.zeros((4, 4), np.float32)
    heat_hw[0, 3] = 1
    picture = draw_heat(np.zeros((30, 30), np.float32), heat_hw)[:LONG_SIDE]
    row, column = np.unravel_index(picture.sum(-1).argmax(), picture.shape[:2])
    assert row < LONG_SIDE / 4 and column > 3 * LONG_SIDE / 4


@pytest.mark.parametrize(
    ("shape", "spacing", "rows"),
    [
        ((100, 200), (1.0, 1.0), LONG_SIDE // 2),
        ((100, 200), (2.0, 1.0), LONG_SIDE),
        ((200, 100), (1.0, 1.0), LONG_SIDE),
    ],
)
def test_pixels_of_the_picture_are_square(shape: tuple[int, int], spacing: tuple[float, float], rows: int) -> None:
    picture = draw_heat(np.ones(shape, np.float32), heat(), spacing)
    assert picture.shape == (rows + FOOT, LONG_SIDE, 3)


def test_the_band_states_the_caption_the_range_and_the_use() -> None:
    grey = np.ones((8, 8), np.float32)
    bands = [draw_heat(grey, heat() * scale, caption=text)[LONG_SIDE:] for scale in (1, 2) for text in ("", "covid")]
    for number, band in enumerate(bands):
        assert band.max() == 255
        assert not any(np.array_equal(band, other) for other in bands[number + 1 :])


def test_no_line_of_the_caption_hides_another() -> None:
    grey = np.ones((8, 8), np.float32)
    one, both = (draw_heat(grey, heat(), caption=text)[LONG_SIDE:] for text in ("covid", "covid\nFlags: lateral"))
    assert len(one) == FOOT and len(both) == FOOT + LINE
    np.testing.assert_array_equal(both[:18], one[:18])
    np.testing.assert_array_equal(both[-24:], one[-24:])
    assert both[22 : 22 + LINE].max() == 255


@pytest.mark.parametrize("kind", CLASSES)
def test_the_capture_refers_to_its_image_and_reads_back(tmp_path: Path, kind: str) -> None:
    image = header(kind, PatientOrientation=["A", "F"])
    evidence = read_evidence(save(image, tmp_path / "source.dcm"), "source")
    picture = draw_heat(np.ones((8, 8), np.float32), heat())
    capture = write_capture(evidence, picture, ALGORITHM, flags=(Flag.LOSSY,))
    capture.save_as(tmp_path / "heat.dcm", enforce_file_format=True)
    assert_valid(tmp_path / "heat.dcm")
    capture = imread(tmp_path / "heat.dcm")
    assert np.array_equal(capture.pixel_array, picture)
    for keyword in (*IDENTITY, "StudyInstanceUID"):
        assert str(capture[keyword].value) == str(image[keyword].value)
    assert capture.SourceImageSequence[0].ReferencedSOPInstanceUID == image.SOPInstanceUID
    assert [*capture.PatientOrientation] == ["A", "F"]
    assert capture.LossyImageCompression == "01"
    assert "Research use" in capture.SeriesDescription


def test_dciodvfy_finds_no_error_in_a_capture_of_a_bare_image(tmp_path: Path) -> None:
    image = header(**dict.fromkeys((*IDENTITY, "StudyInstanceUID", "SeriesInstanceUID")))
    for key in (None, KEY):
        evidence = read_evidence(save(image, tmp_path / "source.dcm"), "source", frame=2, key=key)
        capture = write_capture(evidence, draw_heat(np.ones((8, 8), np.float32), heat()), ALGORITHM)
        capture.save_as(tmp_path / "heat.dcm", enforce_file_format=True)
        assert "ReferencedFrameNumber" not in pydicom.dcmread(tmp_path / "heat.dcm").SourceImageSequence[0]
        assert_valid(tmp_path / "heat.dcm")
