"""A folder of DICOM results: names that tell nothing, whole files or none, foreign files untouched."""

import resource
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_result_fixtures import ALGORITHM, ANSWER, KEY, assert_valid, header, heat, save
from highdicom.sr import srread

from attn.core.errors import AttnError, InputError, UsageError
from attn.data_adapters.dicom.capture import LONG_SIDE
from attn.data_adapters.dicom.flags import Flag
from attn.data_adapters.dicom.pixels import read_dicom
from attn.data_adapters.dicom.radiograph import Radiograph
from attn.data_adapters.dicom.write import NO_CAPTURE, ResultFolder

PIXELS = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)


def radiograph(id: str = "Müller_Jürgen/scan.dcm", *flags: Flag) -> Radiograph:
    return Radiograph(id=id, pixels_hw=PIXELS, flags=flags)


def test_a_report_and_a_heat_map_for_each_image(tmp_path: Path) -> None:
    results = ResultFolder(tmp_path / "out", ALGORITHM)
    source = save(header(), tmp_path / "scan.dcm")
    first = results.write(source, radiograph(), ANSWER, heat())
    second = results.write(source, radiograph("other"), ANSWER, heat())
    assert first.heat_map is not None
    names = [path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")]
    assert len(names) == 4 and not [name for name in names if "scan" in name or "ller" in name]
    reports = [pydicom.dcmread(each.report) for each in (first, second)]
    assert reports[0].SeriesInstanceUID == reports[1].SeriesInstanceUID, "one series of a study"
    assert [report.InstanceNumber for report in reports] == [1, 2]
    capture = pydicom.dcmread(first.heat_map)
    assert capture.SeriesInstanceUID != reports[0].SeriesInstanceUID
    for path in (first.report, first.heat_map):
        assert_valid(path)


def test_the_heat_map_states_the_flags(tmp_path: Path) -> None:
    """It travels without the report: a hand must not look like a chest with an answer."""
    source, results = save(header(), tmp_path / "scan.dcm"), ResultFolder(tmp_path / "out", ALGORITHM)
    rows = []
    for number, flags in enumerate(((), ("not-chest",), ("lateral",), tuple(map(str, Flag)))):
        written = results.write(source, radiograph(str(number)), replace(ANSWER, flags=flags), heat())
        assert written.heat_map is not None
        rows.append(pydicom.dcmread(written.heat_map).pixel_array)
    assert len(rows[0]) < len(rows[1]) == len(rows[2]) < len(rows[3])
    assert not np.array_equal(rows[1], rows[2])
    assert rows[3][LONG_SIDE:, -3:].max() == 0, "a line runs out of the picture"


def test_the_same_image_replaces_its_older_result(tmp_path: Path) -> None:
    source = save(header(), tmp_path / "scan.dcm")
    older, newer = (
        ResultFolder(tmp_path / "out", ALGORITHM).write(source, radiograph(), ANSWER, heat()) for _ in range(2)
    )
    assert older.report == newer.report
    assert len([*(tmp_path / "out").glob("*.dcm")]) == 2


def test_a_refused_image_leaves_nothing(tmp_path: Path) -> None:
    results = ResultFolder(tmp_path / "out", ALGORITHM)
    source = save(header(SOPInstanceUID=None), tmp_path / "scan.dcm")
    with pytest.raises(InputError, match="has no SOPInstanceUID"):
        results.write(source, radiograph(), ANSWER, heat())
    with pytest.raises(AttnError, match="cannot be reported on"):
        results.write(save(header(SOPClassUID="1.2.3.4"), source), radiograph(), ANSWER, heat())
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".attn"]


def test_a_disk_that_is_full_is_one_sentence(tmp_path: Path) -> None:
    source, results = save(header(), tmp_path / "scan.dcm"), ResultFolder(tmp_path / "out", ALGORITHM)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            results.write(source, radiograph(), ANSWER, heat())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert Path(caught.value.filename).parent == tmp_path / "out" and "Traceback" not in str(caught.value)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".attn"]


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "report.dcm").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"holds report\.dcm, which attn did not write"):
        ResultFolder(tmp_path, ALGORITHM)


def test_under_a_pseudonym_burned_in_text_is_not_copied(tmp_path: Path) -> None:
    source, image = save(header(), tmp_path / "scan.dcm"), radiograph("a", Flag.BURNED_IN)
    named = ResultFolder(tmp_path / "named", ALGORITHM).write(source, image, ANSWER, heat())
    assert named.heat_map is not None
    assert pydicom.dcmread(named.heat_map).BurnedInAnnotation == "YES"
    results = ResultFolder(tmp_path / "keyed", ALGORITHM, KEY)
    results.write(source, radiograph("a"), ANSWER, heat())
    keyed = results.write(source, image, ANSWER, heat())
    assert keyed.heat_map is None and keyed.notes == (NO_CAPTURE,)
    assert [path.name for path in (tmp_path / "keyed").glob("*.dcm")] == [keyed.report.name]


def test_a_frame_of_several_is_named(tmp_path: Path) -> None:
    source = save(header(SOPClassUID="1.2.840.10008.5.1.4.1.1.7.2"), tmp_path / "scan.dcm")
    image = Radiograph("a#3", PIXELS, flags=(Flag.MULTI_FRAME,), header={"frame": 3.0})
    result = ResultFolder(tmp_path / "out", ALGORITHM).write(source, image, ANSWER, heat())
    (group,) = srread(result.report).content.get_image_measurement_groups()
    assert [*group.source_images[0].referenced_frame_numbers] == [3]
    assert result.heat_map is not None
    assert pydicom.dcmread(result.heat_map).SourceImageSequence[0].ReferencedFrameNumber == 3
    assert_valid(result.heat_map)


def test_nothing_of_the_identity_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    source = save(header(PatientName="OneWord", PatientSex=None), tmp_path / "scan.dcm")
    result = ResultFolder(tmp_path / "out", ALGORITHM).write(source, radiograph(), ANSWER, heat())
    said = caplog.text + str(result)
    for secret in ("OneWord", "ID-1234", "ACC99", "19490417", header().SOPInstanceUID):
        assert secret not in said


@pytest.mark.real_data
@pytest.mark.slow
def test_real_files(data_dir: Path, tmp_path: Path) -> None:
    """Each frame that can be read has a report and a heat map without an Error; some only under a pseudonym."""
    named, keyed = ResultFolder(tmp_path / "named", ALGORITHM), ResultFolder(tmp_path / "keyed", ALGORITHM, KEY)
    written, refused = 0, set()
    for path in sorted([*data_dir.glob("chest/dicom/*.dcm"), *data_dir.glob("chest/cases/*.dcm")]):
        for image in readable(path):
            try:
                result = named.write(path, image, ANSWER, heat())
            except InputError:
                refused.add(path.name)
                result = keyed.write(path, image, ANSWER, heat())
            written += 1
            assert_valid(result.report)
            assert result.heat_map is not None
            assert_valid(result.heat_map)
    assert refused == {"CR-ModalitySequenceLUT.dcm", "bad_sequence.dcm"}
    assert written > 50


def readable(path: Path) -> list[Radiograph]:
    try:
        return list(islice(read_dicom(path, path.name), 2))
    except InputError:
        return []


def test_dciodvfy_would_find_an_error(tmp_path: Path) -> None:
    source = save(header(), tmp_path / "scan.dcm")
    result = ResultFolder(tmp_path / "out", ALGORITHM).write(source, radiograph(), ANSWER, heat())
    report = pydicom.dcmread(result.report)
    del report.CompletionFlag
    report.save_as(tmp_path / "broken.dcm")
    with pytest.raises(AssertionError, match="CompletionFlag"):
        assert_valid(tmp_path / "broken.dcm")
