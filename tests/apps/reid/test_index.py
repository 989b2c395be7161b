"""Indexing: only what is new is embedded, what cannot be used is told, and a killed run goes on."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attn.apps.reid import index as module
from attn.apps.reid.gallery import ModelId, open_gallery
from attn.apps.reid.index import index
from attn.core.errors import InputError, ModelError
from attn.data_adapters.images.cutout import Display
from attn.data_adapters.images.identities import open_individuals

MODEL = ModelId("runs/mine", "ab" * 32, 3)


class Embed:
    """The mean colour, and how many pictures were seen; dies before picture number `dies`."""

    def __init__(self, dies: int | None = None) -> None:
        self.seen, self.dies = 0, dies

    def __call__(self, pictures: list[Display]) -> np.ndarray:
        if self.dies is not None and self.seen + len(pictures) > self.dies:
            raise KeyboardInterrupt
        self.seen += len(pictures)
        return np.stack([each.reshape(-1, 3).mean(axis=0) for each in pictures])


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    monkeypatch.setattr(module, "PART", 2)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for k in range(7):
        path = tmp_path / "photos" / f"{'AB'[k % 2]}/{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(k).integers(1, 256, (20, 30, 3)).astype(np.uint8)).save(path)
    return tmp_path / "photos"


def test_only_new_and_changed_pictures_are_embedded(photos: Path, tmp_path: Path) -> None:
    out, embed = tmp_path / "g", Embed()
    first, done = index(open_individuals(photos), embed, MODEL, out)
    assert (embed.seen, done.new, done.kept, len(first)) == (7, 7, 0, 7)
    shutil.copy(photos / "A/0.png", photos / "A/9.png")
    Image.fromarray(np.full((20, 30, 3), 9, np.uint8)).save(photos / "A/2.png")
    (photos / "A/4.png").unlink()
    again, done = index(open_individuals(photos), embed, MODEL, out)
    assert (embed.seen, done.new, done.kept, len(again)) == (9, 2, 5, 7)
    whole, _ = index(open_individuals(photos), Embed(), MODEL, tmp_path / "h")
    np.testing.assert_array_equal(open_gallery(out).vectors, whole.vectors)
    assert open_gallery(out).rows.equals(whole.rows) and not (out / module.RUN).exists()


def test_another_model_makes_all_anew(photos: Path, tmp_path: Path) -> None:
    index(open_individuals(photos), Embed(), MODEL, tmp_path / "g")
    embed = Embed()
    index(open_individuals(photos), embed, ModelId("runs/new", "cd" * 32, 3), tmp_path / "g")
    assert embed.seen == 7
    with pytest.raises(ModelError, match=r"runs/new.*runs/mine"):
        index(open_individuals(photos), embed, MODEL, tmp_path / "g", add=True)


def test_add_from_another_folder(photos: Path, tmp_path: Path) -> None:
    index(open_individuals(photos), Embed(), MODEL, tmp_path / "g")
    (tmp_path / "more/C").mkdir(parents=True)
    shutil.copy(photos / "A/0.png", tmp_path / "more/C/0.png")
    embed = Embed()
    gallery, done = index(open_individuals(tmp_path / "more"), embed, MODEL, tmp_path / "g", add=True)
    assert (embed.seen, done.new, done.kept) == (1, 1, 7)
    assert gallery.rows["id"].to_list()[:1] == ["../more/C/0.png"] and gallery.rows["identity"][0] == "C"
    assert (gallery.photos / gallery.rows["path"][0]).is_file()


@pytest.mark.parametrize("dies", [0, 3, 6])
def test_a_killed_run_goes_on_and_the_old_gallery_stays(photos: Path, tmp_path: Path, dies: int) -> None:
    out = tmp_path / "g"
    index(open_individuals(photos / "A"), Embed(), MODEL, out)
    with pytest.raises(KeyboardInterrupt):
        index(open_individuals(photos), Embed(dies), MODEL, out)
    assert len(open_gallery(out)) == 4
    embed = Embed()
    gallery, _ = index(open_individuals(photos), embed, MODEL, out)
    assert embed.seen == 7 - dies // 2 * 2 and len(gallery) == 7
    whole, _ = index(open_individuals(photos), Embed(), MODEL, tmp_path / "h")
    np.testing.assert_array_equal(gallery.vectors, whole.vectors)


def test_a_damaged_part_costs_its_time_only(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "g"
    with pytest.raises(KeyboardInterrupt):
        index(open_individuals(photos), Embed(4), MODEL, out)
    first, second = sorted((out / module.RUN).glob("*.parquet"))
    first.write_bytes(second.read_bytes()[:50])
    embed = Embed()
    gallery, _ = index(open_individuals(photos), embed, MODEL, out)
    assert embed.seen == 5 and len(gallery) == 7


def test_what_cannot_be_used_is_left_out_with_a_reason(photos: Path, tmp_path: Path) -> None:
    (photos / "A/broken.png").write_bytes(b"no picture")
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(photos / "A/black.png")  # its mean colour is 0
    (photos / os.fsdecode(b"B/\xff.png")).write_bytes((photos / "A/0.png").read_bytes())
    gallery, done = index(open_individuals(photos), Embed(), MODEL, tmp_path / "g")
    reasons = dict(done.left_out)
    assert len(gallery) == 7 and len(reasons) == 3
    assert "not a picture" in reasons["A/broken.png"] and "no usable embedding" in reasons["A/black.png"]
    assert "is not UTF-8" in reasons[os.fsdecode(b"B/\xff.png")]


def test_a_picture_that_goes_while_it_is_indexed(photos: Path, tmp_path: Path) -> None:
    individuals = open_individuals(photos)
    (photos / "B/5.png").unlink()
    gallery, done = index(individuals, Embed(), MODEL, tmp_path / "g")
    assert len(gallery) == 6 and "no such file" in dict(done.left_out)["B/5.png"]


def test_nothing_to_index_leaves_nothing(photos: Path, tmp_path: Path) -> None:
    for path in photos.rglob("*.png"):
        path.write_bytes(b"no picture")
    with pytest.raises(InputError, match="none of the pictures can be used"):
        index(open_individuals(photos), Embed(), MODEL, tmp_path / "g")
    assert not (tmp_path / "g").exists()


def test_boxes_of_one_picture_are_rows_of_their_own(photos: Path, tmp_path: Path) -> None:
    table = photos / "labels.csv"
    table.write_text("path,identity,x,y,w,h\nA/0.png,M,0,0,15,20\nA/0.png,J,15,0,15,20\n")
    gallery, done = index(open_individuals(table), Embed(), MODEL, tmp_path / "g")
    assert gallery.rows["identity"].to_list() == ["M", "J"] and done.new == 2
    table.write_text("path,identity,x,y,w,h\nA/0.png,M,0,0,15,20\nA/0.png,J,14,0,15,20\n")
    assert index(open_individuals(table), Embed(), MODEL, tmp_path / "g")[1].new == 1
