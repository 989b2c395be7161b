"""What a predictor reads: files, frames, arrays, and what files are called in results."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from chest_fixtures import chest, write_dicom
from PIL import Image

from attn.apps.chest.read import Reading
from attn.core.errors import InputError
from attn.data_adapters.dicom.privacy import Key
from attn.data_adapters.dicom.radiograph import NotAnImageError
from attn.data_adapters.dicom.studies import list_entries

KEY = Key(b"sixteen bytes or more")


def test_a_dicom_file_a_picture_and_arrays_are_the_same_radiograph(tmp_path: Path) -> None:
    pixels = chest()
    Image.fromarray(pixels).save(tmp_path / "a.png")
    sources = [
        write_dicom(tmp_path / "a.dcm", pixels),
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
        pixels,
        pixels.astype(np.uint16) * 257,
        pixels / 255,
    ]
    for source in sources:
        np.testing.assert_allclose(Reading().one(source).pixels_hw, pixels / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4, 3)), "of shape .4, 4, 3. is no radiograph"),
        (np.zeros((0, 4)), "is no radiograph"),
        (np.full((4, 4), 7), "int64 goes beyond 0 to 1"),
        (np.full((4, 4), np.nan), "goes beyond"),
    ],
)
def test_other_arrays_are_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Reading().one(array)


def test_frames_are_read_one_by_one_and_one_is_chosen(tmp_path: Path) -> None:
    frames = np.stack([chest("normal", number) for number in range(3)])
    path = write_dicom(tmp_path / "many.dcm", frames)
    found = list(Reading().frames(path))
    assert [one.id for one in found] == [f"{path}#1", f"{path}#2", f"{path}#3"]
    np.testing.assert_allclose(Reading(frame=2).one(path).pixels_hw, frames[1] / 255, atol=1e-6)
    with pytest.raises(InputError, match=r"many.dcm: has several frames; say which"):
        Reading().one(path)


def test_a_window_that_a_file_lacks_is_the_fault_of_that_file(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", WindowCenter=[128, 60], WindowWidth=[256, 40])
    dark, light = Reading(window="0").one(path), Reading(window="1").one(path)
    assert dark.pixels_hw.mean() < light.pixels_hw.mean()
    error = next(Reading(window="9").frames_or_error(path))
    assert type(error) is InputError and "window 9 is none of this file" in str(error)


def test_a_path_with_the_patient_in_it_becomes_a_pseudonym(tmp_path: Path) -> None:
    named = write_dicom(tmp_path / "Lovelace_Ada.dcm", PatientName="Lovelace^Ada")
    other = write_dicom(tmp_path / "x.dcm", PatientName="Lovelace^Ada")
    reading = Reading(key=KEY)
    assert "ovelace" not in reading.one(named).id and reading.one(named).id.endswith(".dcm")
    assert reading.one(other).id == str(other)
    assert reading.one(named).id == Reading(key=KEY).one(named).id != Reading().one(named).id
    assert str(tmp_path) not in Reading(key=KEY, hash_names=True).one(other).id


def test_an_error_has_the_pseudonym_too(tmp_path: Path) -> None:
    broken = write_dicom(tmp_path / "Lovelace_Ada.dcm", PatientName="Lovelace^Ada")
    broken.write_bytes(broken.read_bytes()[:-1000])
    (error,) = Reading(key=KEY).frames_or_error(broken)
    assert isinstance(error, InputError) and "ovelace" not in str(error)
    (absent,) = Reading(key=KEY, hash_names=True).frames_or_error(tmp_path / "absent.dcm")
    assert "absent" not in str(absent) and "no such file" in str(absent)


def test_entries_of_an_archive_are_read_in_it(tmp_path: Path) -> None:
    picture = io.BytesIO()
    Image.fromarray(chest()).save(picture, "PNG")
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        archive.writestr("a/b.png", picture.getvalue())
        archive.writestr("notes.txt", "no image")
    found = [one for entry in list_entries([str(tmp_path / "study.zip")]) for one in Reading().frames_or_error(entry)]
    assert [type(one).__name__ for one in found] == ["Radiograph", "NotAnImageError"]
    assert found[0].id == f"{tmp_path}/study.zip/a/b.png"
    assert isinstance(found[1], NotAnImageError)
