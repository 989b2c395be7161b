"""The galleries of `reid/cases`, made after public bug reports: names, broken files, one picture, another model."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attn.apps.reid.gallery import ModelId, open_gallery
from attn.apps.reid.index import index
from attn.apps.reid.nearest import unit
from attn.apps.reid.rerank import rerank
from attn.core.errors import ModelError
from attn.data_adapters.images.identities import open_individuals
from attn.data_adapters.images.photographs import read_photograph

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def cases(data_dir: Path) -> Path:
    return data_dir / "reid" / "cases"


def read(path: Path) -> np.ndarray:
    return read_photograph(path, path.name).pixels


MODEL = ModelId("runs/new", "ab" * 32, 48)


def colours(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """A stand-in for a model: the colours of 16 places, less grey."""
    small = [Image.fromarray(each).resize((4, 4), Image.Resampling.BOX) for each in pictures]
    return np.stack([np.asarray(each, np.float32).ravel() - 127.3 for each in small])


def test_names_in_a_gallery(cases: Path, tmp_path: Path) -> None:
    found = open_individuals(cases / "names")
    gallery, done = index(found, colours, MODEL, tmp_path / "g")
    assert (
        gallery.rows["path"].to_list() == sorted(path.name for path in (cases / "names").iterdir())
        and not done.left_out
    )
    rows, _ = gallery.search(colours([found.read(i) for i in range(len(found))]), 1)
    assert [gallery.rows["path"][int(row)] for row in rows[:, 0]] == found.paths


def test_an_index_of_broken_files(cases: Path, tmp_path: Path) -> None:
    gallery, done = index(open_individuals(cases / "broken_files"), colours, MODEL, tmp_path / "g")
    assert gallery.rows["path"].to_list() == ["good1.jpg", "good2.jpg", "really_png.jpg"] and len(done.left_out) == 5


def test_tiny_pictures_have_finite_distances(cases: Path, tmp_path: Path) -> None:
    gallery, _ = index(open_individuals(cases / "tiny"), colours, MODEL, tmp_path / "g")
    assert len(gallery) == 5 and np.isfinite(gallery.search(gallery.vectors, 5)[1]).all()


def test_gallery_of_one(cases: Path, tmp_path: Path) -> None:
    gallery, _ = index(open_individuals(cases / "gallery_of_one/photos"), colours, MODEL, tmp_path / "g")
    query = colours([read(cases / "gallery_of_one" / name) for name in ("query_same.jpg", "query_other.jpg")])
    rows, cosines = gallery.search(query, 10)
    assert (rows >= 0).sum(axis=1).tolist() == [1, 1] and cosines[0, 0] > cosines[1, 0]
    assert np.isfinite(rerank(unit(query)[0], gallery.vectors)(slice(None))).all()


def test_other_model_gallery(cases: Path, tmp_path: Path) -> None:
    index(open_individuals(cases / "gallery_of_one/photos"), colours, MODEL, tmp_path / "g")
    described = json.loads((tmp_path / "g/gallery.json").read_text())
    hint = json.loads((cases / "other_model_gallery/hint.json").read_text())
    for whole in ({**described, **hint}, hint):
        (tmp_path / "g/gallery.json").write_text(json.dumps(whole))
        with pytest.raises(ModelError) as caught:
            open_gallery(tmp_path / "g", MODEL)
        for part in ("runs/old", "512 channels", "runs/new", "48 channels", "attn reid index PHOTOS --out"):
            assert part in str(caught.value)
