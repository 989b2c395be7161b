"""Camtrap DP: observations of pictures as rows."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attn.core.errors import InputError
from attn.data_adapters.images.identities import open_individuals

MEDIA = """mediaID,deploymentID,timestamp,filePath,fileMediatype
m1,d1,2024-05-01T10:00:00Z,media/a.png,image/png
m2,d2,2024-05-02T10:00:00Z,media/b.png,image/png
m3,d2,2024-05-02T10:00:00Z,media/c.mp4,video/mp4
m4,d2,2024-05-02T10:00:00Z,https://example.org/d.jpg,image/jpeg
"""
SEEN = """observationID,deploymentID,mediaID,eventID,observationType,individualID,bboxX,bboxY,bboxWidth,bboxHeight
o1,d1,m1,e1,animal,007,0,0,0.5,1
o2,d1,m1,e1,animal,NA,0.5,0,0.5,1
o3,d2,m2,e2,animal,,,,,
o4,d2,m2,e2,human,,,,,
o5,d2,,e2,animal,007,,,,
o6,d2,m3,e2,animal,007,,,,
o7,d2,m4,e3,animal,8,,,,
"""


def package(folder: Path, media: str = MEDIA, seen: str = SEEN) -> Path:
    (folder / "media").mkdir()
    for name in ("a", "b"):
        Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(folder / "media" / f"{name}.png")
    (folder / "media.csv").write_text("\ufeff" + media, encoding="utf-8")
    (folder / "observations.csv").write_text(seen, encoding="utf-8")
    return folder


def test_an_observation_of_a_picture_is_a_row(tmp_path: Path) -> None:
    found = open_individuals(package(tmp_path))
    assert found.paths == ["media/a.png", "media/a.png", "media/b.png", "https://example.org/d.jpg"]
    assert found.identities == ["007", "NA", "", "8"] and found.encounters == ["e1", "e1", "e2", "e3"]
    assert found.cameras == ["d1", "d1", "d2", "d2"] and found.times is not None and found.times[2][:10] == "2024-05-02"
    assert found.read(0).shape == (30, 20, 3) and found.read(2).shape == (30, 40, 3)
    assert found.notices == [
        "1 observations name no picture of media.csv and are left out",
        "1 observations are of films or other files and are left out",
    ]
    with pytest.raises(InputError, match="is a web address; download it"):
        found.read(3)


def test_one_bad_box_is_the_problem_of_its_row(tmp_path: Path) -> None:
    found = open_individuals(package(tmp_path, seen=SEEN.replace("0,0,0.5,1", "0,0,wide,1")))
    assert found.read(1).shape == (30, 20, 3)
    with pytest.raises(InputError, match=r"observations.csv, picture 1: a box is to be four numbers"):
        found.read(0)


@pytest.mark.parametrize(
    ("media", "seen", "message"),
    [
        ("a,b\n1,2\n", SEEN, r"media.csv: no column 'mediaID'"),
        (MEDIA + "m1,,,x.png,\n", SEEN, "has a mediaID twice"),
        (MEDIA, SEEN.splitlines()[0] + "\n", "no observation of a picture"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path: Path, media: str, seen: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_individuals(package(tmp_path, media, seen))
