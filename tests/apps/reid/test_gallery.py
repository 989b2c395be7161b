"""Galleries: what is written is whole, one writer at a time, other models refused, searches by hand."""

import json
import multiprocessing
import shutil
from pathlib import Path

import filelock
import numpy as np
import pytest
from PIL import Image

from attn.apps.reid import gallery as module
from attn.apps.reid.gallery import GALLERY, ModelId, check, open_gallery, remove, write_gallery, writing
from attn.apps.reid.index import index
from attn.apps.reid.search import Query, search
from attn.core.errors import InputError, ModelError, UsageError
from attn.data_adapters.images.cutout import Display
from attn.data_adapters.images.identities import open_individuals

MODEL = ModelId("runs/mine", "ab" * 32, 12)


def embed(pictures: list[Display]) -> np.ndarray:
    """Colours of four quarters, less their mean."""
    small = [np.asarray(Image.fromarray(each).resize((2, 2), Image.Resampling.BOX), np.float32) for each in pictures]
    return np.stack([each.ravel() - 127.3 for each in small])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("A/1.png", "A/2.png", "B/1.png", "loose.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.kron(rng.integers(0, 256, (2, 2, 3)), np.ones((15, 20, 1))).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / name)
    return tmp_path / "photos"


@pytest.fixture
def folder(photos: Path, tmp_path: Path) -> Path:
    index(open_individuals(photos), embed, MODEL, tmp_path / "g")
    return tmp_path / "g"


def test_each_picture_finds_itself(folder: Path, photos: Path) -> None:
    gallery = open_gallery(folder, MODEL)
    assert gallery.rows["id"].to_list() == ["A/1.png", "A/2.png", "B/1.png", "loose.png"]
    assert gallery.rows["identity"].to_list() == ["A", "A", "B", ""]
    individuals = open_individuals(photos)
    rows, cosines = gallery.search(embed([individuals.read(i) for i in range(4)]), 2)
    assert rows[:, 0].tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(cosines[:, 0], 1, atol=1e-6)
    assert gallery.rows["thumbnail"][0][:2] == b"\xff\xd8" and check(folder) == []


def test_a_gallery_moves_with_its_photographs(folder: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for each in (folder, photos):
        shutil.move(each, tmp_path / "elsewhere" / each.name)
    moved = tmp_path / "elsewhere/g"
    assert open_gallery(moved).photos == tmp_path / "elsewhere/photos" and check(moved) == []


def test_another_model_is_refused_and_both_are_named(folder: Path) -> None:
    other = ModelId("runs/new", "cd" * 32, 384)
    with pytest.raises(ModelError) as caught:
        open_gallery(folder, other)
    for part in ("runs/mine (abababababab, 12 channels)", "runs/new (cdcdcdcdcdcd, 384 channels)", "attn reid index"):
        assert part in str(caught.value)
    with pytest.raises(ModelError):
        open_gallery(folder, ModelId("runs/mine", "ef" * 32, 12))
    assert len(open_gallery(folder, ModelId("moved/mine", MODEL.fingerprint, 12))) == 4
    short = {"model": "runs/old", "fingerprint": "0" * 64, "dimensions": 512}
    (folder / GALLERY).write_text(json.dumps(short))
    with pytest.raises(ModelError, match=r"runs/old \(000000000000, 512 channels\), and this is runs/mine \(ab"):
        open_gallery(folder, MODEL)


def test_pictures_without_a_usable_vector_are_left_out_and_counted(
    folder: Path, photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of `A/2.png` zero, of `B/1.png` NaN; that of `loose.png` is very long, and keeps its direction."""
    before = open_gallery(folder)
    broken = before.vectors * np.array([[1], [0], [np.nan], [1e30]], np.float32)
    with writing(folder):
        write_gallery(folder, MODEL, photos, before.rows, broken)
    opened = open_gallery(folder, MODEL)
    assert opened.rows["id"].to_list() == ["A/1.png", "loose.png"]
    np.testing.assert_allclose(opened.vectors, before.vectors[[0, 3]], atol=1e-6)
    said = "2 pictures of the gallery have no usable vector and are left out; index them again"
    assert caplog.messages == [said] and "3 vectors do not have the length 1" in check(folder)[-1]
    assert [each.individual for each in search(Query("q", before.vectors[1:2]), opened, 4).ranked].count("A") == 1
    remove(folder, ["A/1.png"])
    assert len(open_gallery(folder, whole=True)) == 3, "who writes takes nothing else out"
    _, done = index(open_individuals(photos), embed, MODEL, folder)
    assert done.new == 4 and (open_gallery(folder).vectors == before.vectors).all() and check(folder) == []
    with writing(folder):
        write_gallery(folder, MODEL, photos, before.rows, 0 * before.vectors)
    with pytest.raises(InputError, match="no picture of the gallery has a usable vector; attn reid index"):
        open_gallery(folder)


def test_remove(folder: Path) -> None:
    assert remove(folder, ["A/2.png"]).rows["id"].to_list() == ["A/1.png", "B/1.png", "loose.png"]
    assert len(open_gallery(folder)) == 3 and len(list(folder.glob("vectors-*"))) == 1
    with pytest.raises(InputError, match=r"has no picture 'A/2\.png'"):
        remove(folder, ["A/2.png"])


def test_check_tells_what_is_gone_changed_and_damaged(folder: Path, photos: Path) -> None:
    (photos / "A/1.png").unlink()
    (photos / "B/1.png").write_bytes(b"other")
    assert check(folder) == ["A/1.png: no such file", "B/1.png: has changed since it was indexed"]
    vectors = next(folder.glob("vectors-*"))
    vectors.write_bytes(vectors.read_bytes()[:-1] + b"\x01")
    assert check(folder) == [f"{vectors.name} is not as it was written"]
    vectors.unlink()
    assert check(folder) == [f"{vectors.name} is missing"]


def _hold(folder: Path, held: object, done: object) -> None:
    with writing(folder):
        held.set()  # type: ignore[attr-defined]
        done.wait(60)  # type: ignore[attr-defined]


def test_one_writer_at_a_time(folder: Path) -> None:
    with filelock.FileLock(folder / module.LOCK), pytest.raises(UsageError, match="another process writes"):
        remove(folder, ["A/1.png"])
    assert len(remove(folder, ["A/1.png"])) == 3


def test_a_writer_that_is_killed_leaves_the_old_gallery_and_no_lock(folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held, done = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(folder, held, done))
    process.start()
    assert held.wait(120)
    with pytest.raises(UsageError, match="another process writes"):
        remove(folder, ["A/1.png"])
    process.kill()
    process.join()
    assert len(open_gallery(folder)) == 4 and len(remove(folder, ["A/1.png"])) == 3


def test_a_write_that_fails_leaves_the_old_gallery(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(json, "dumps", fail)
    with pytest.raises(OSError, match="no space"):
        remove(folder, ["A/1.png"])
    monkeypatch.undo()
    assert len(open_gallery(folder)) == 4 and check(folder) == []
    remove(folder, ["A/1.png"])
    assert len(list(folder.glob("pictures-*"))) == len(list(folder.glob("vectors-*"))) == 1


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("schema_version", 2, "has the version 2, not 1"),
        ("files", {}, "is not the description of a gallery"),
        ("files", {k: {"name": f"../{k}", "sha256": ""} for k in ("pictures", "vectors")}, r"names the file '\.\./"),
        ("dimensions", "many", "does not say which model made it"),
        ("dimensions", 13, "do not fit one another"),
        ("photos", 3, "does not say where the photographs are"),
    ],
)
def test_descriptions_that_lie_are_refused(folder: Path, key: str, value: object, message: str) -> None:
    described = json.loads((folder / GALLERY).read_text())
    (folder / GALLERY).write_text(json.dumps({**described, key: value}))
    with pytest.raises(InputError, match=message):
        open_gallery(folder)


def test_no_gallery(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a gallery; attn reid index PHOTOS --out"):
        open_gallery(tmp_path)
