"""Questions: what belongs together, what is known of a picture, and what has no usable vector."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from attn.apps.reid.gallery import Gallery, ModelId
from attn.apps.reid.index import index
from attn.apps.reid.queries import list_photographs, of_files, questions
from attn.apps.reid.ranks import filters, summary
from attn.apps.reid.search import search
from attn.data_adapters.images.identities import open_individuals

MODEL = ModelId("m", "ab", 3)


def colours(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """A stand-in for a model: the mean colour, less grey."""
    return np.stack([each.mean(axis=(0, 1)) - 127.3 for each in pictures])


@pytest.fixture(scope="module")
def gallery(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    individuals = open_individuals(photographs, within="flank", split="test")
    return index(individuals, colours, MODEL, tmp_path_factory.mktemp("g") / "g")[0]


def test_rows_of_one_encounter_and_identity_are_one_query(photographs: Path, gallery: Gallery) -> None:
    asked = open_individuals(photographs, within="flank")
    found = list(questions(asked, gallery, colours))
    assert [each.rows for each in found[:4]] == [[0, 1], [2, 3], [4, 5], [6, 7]] and len(found) == 36
    assert found[0].query is not None and found[0].query.within == ("L", "R") and found[0].query.identity == "animal000"
    apart = open_individuals(photographs, within="flank", encounter="none")
    assert len(list(questions(apart, gallery, colours))) == 72
    (all_in_one,) = questions(apart, gallery, colours, together=True)
    assert all_in_one.rows == [*range(72)] and all_in_one.query is not None and all_in_one.query.identity == ""


def test_two_boxes_of_one_file_are_two_animals(photographs: Path, gallery: Gallery, tmp_path: Path) -> None:
    picture = photographs.parent / "animal000_0.png"
    rows = [f"{picture},{x},0,18,40,7" for x in (0, 18)] + [f"{picture.with_name('animal000_1.png')},0,0,36,40,7"]
    (tmp_path / "q.csv").write_text("\n".join(["path,x,y,w,h,encounter", *rows]))
    asked = open_individuals(tmp_path / "q.csv", identity="none")
    assert [each.rows for each in questions(asked, gallery, colours)] == [[0], [1], [2]]


def test_a_picture_of_the_gallery_has_what_is_known_of_it_there(photographs: Path, gallery: Gallery) -> None:
    (found,) = questions(of_files([str(photographs.parent / "animal002_3.png")]), gallery, colours)
    query = found.query
    assert query is not None and (query.identity, query.within, query.encounters) == ("animal002", ("R",), ("1",))
    assert gallery.rows["id"][query.itself[0][0]] == "animal002_3.png"
    (bare,) = questions(of_files([str(photographs.parent / "animal002_3.png")]), gallery, colours, off=["within"])
    assert bare.query is not None and bare.query.within is None


def test_a_picture_of_which_nothing_is_known_is_compared_with_all(photographs: Path, gallery: Gallery) -> None:
    (found,) = questions(of_files([str(photographs.parent / "animal007_0.png")]), gallery, colours)
    assert found.query is not None
    answer = search(found.query, gallery, 10)
    assert len(answer.ranked) == 3 and filters(answer) == "within not known (-0); encounter not known (-0)"
    said = summary([answer], ["camera"], "the model is not calibrated")
    assert said[0].endswith("1 queries have no value, and are compared with all") and said[1] == "camera: not used"


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_vector_without_direction_is_a_failure(photographs: Path, gallery: Gallery, value: float) -> None:
    asked = of_files([str(photographs.parent / f"animal00{i}_0.png") for i in (5, 6)])

    def half(pictures: Sequence[np.ndarray]) -> np.ndarray:
        vectors = colours(pictures)
        vectors[0] = value
        return vectors

    bad, good = questions(asked, gallery, half)
    assert bad.query is None and "no usable embedding" in bad.failed[0][1] and good.query is not None
    (together,) = questions(asked, gallery, half, together=True)
    assert together.query is not None and together.rows == [1] and len(together.failed) == 1


def test_hidden_files_and_loops_of_links_are_left_out(photographs: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    picture = (photographs.parent / "animal000_0.png").read_bytes()
    for name in ("1.png", "._1.png"):
        (tmp_path / "a" / name).write_bytes(picture)
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    assert list_photographs([str(tmp_path), str(tmp_path / "a" / "1.png")]) == [tmp_path / "a" / "1.png"]
