"""Galaxy10 files in the published layout, read row by row, also in other processes."""

import multiprocessing
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from attn.core.errors import InputError
from attn.data_adapters.sky.galaxy10 import DECALS_CLASSES, SDSS_CLASSES, Galaxy10
from attn.data_adapters.sky.labelled import open_galaxies

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
ANSWERS = np.arange(12) % 10


def decals(path: Path, **more: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        file["images"], file["ans"] = IMAGES, ANSWERS.astype(np.uint8)
        file["ra"], file["dec"] = np.linspace(0, 300, 12), np.linspace(-5, 5, 12)
        file["redshift"] = np.full(12, 0.1)
        for name, values in more.items():
            file[name] = values
    return path


def test_the_published_layout(tmp_path: Path) -> None:
    images = open_galaxies(decals(tmp_path / "Galaxy10_DECals.h5"))
    assert images.classes == list(DECALS_CLASSES) and len(images) == 12
    assert images.labels[5] == "Barred Spiral Galaxies"
    cutout = images.read(7)
    np.testing.assert_array_equal(cutout.pixels, IMAGES[7])
    assert cutout.id == "Galaxy10_DECals.h5#7"
    assert cutout.values == {"ra": pytest.approx(300 * 7 / 11), "dec": pytest.approx(-5 + 70 / 11), "redshift": 0.1}
    assert images.fingerprint()["count"] == 12


def test_the_sdss_one_is_known_by_its_size(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "Galaxy10.h5", "w") as file:
        file["images"], file["ans"] = np.zeros((10, 69, 69, 3), np.uint8), np.arange(10)
    rows = Galaxy10(tmp_path / "Galaxy10.h5")
    assert rows.class_names == SDSS_CLASSES and rows.read(3).values == {}


def test_own_class_names(tmp_path: Path) -> None:
    names = np.array([f"kind {k}" for k in range(10)], dtype="S")
    assert Galaxy10(decals(tmp_path / "a.h5", class_names=names)).class_names[2] == "kind 2"
    with h5py.File(decals(tmp_path / "b.h5"), "a") as file:
        file.attrs["class_names"] = [f"type {k}" for k in range(10)]
    assert Galaxy10(tmp_path / "b.h5").class_names[9] == "type 9"
    with pytest.raises(InputError, match="goes from 0 to 9; there are 3 class names"):
        Galaxy10(decals(tmp_path / "c.h5", class_names=names[:3]))


def _row(rows: Galaxy10, index: int) -> int:
    return int(rows.read(index).pixels.sum())


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # what a DataLoader does on Linux
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_open_their_own_handle(tmp_path: Path, method: str) -> None:
    rows = Galaxy10(decals(tmp_path / "x.h5"))
    rows.read(0)
    with multiprocessing.get_context(method).Pool(1) as pool:
        sums = pool.starmap(_row, [(rows, k) for k in range(12)])
    assert sums == [int(image.sum()) for image in IMAGES]
    assert _row(pickle.loads(pickle.dumps(rows)), 3) == sums[3]


def test_a_truncated_file(tmp_path: Path) -> None:
    content = decals(tmp_path / "x.h5").read_bytes()
    for keep in (100, 3000, len(content) - 5000):
        (tmp_path / "cut.h5").write_bytes(content[:keep])
        with pytest.raises(InputError, match=r"cut\.h5: cannot be read as HDF5"):
            Galaxy10(tmp_path / "cut.h5")


@pytest.mark.parametrize(
    ("shape", "chunks", "said"),
    [
        ((4, 40_000, 40_000, 3), (1, 100, 100, 3), "each image is declared 40,000 x 40,000"),
        ((1_000_000, 1024, 1024, 3), (256, 1024, 1024, 3), "stored in chunks"),
    ],
)
def test_declared_sizes_are_refused_before_memory_is_taken(
    tmp_path: Path, shape: tuple[int, ...], chunks: tuple[int, ...], said: str
) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("images", shape, np.uint8, chunks=chunks)  # nothing is allocated
        file.create_dataset("ans", shape[:1], np.uint8, chunks=(1000,) if shape[0] > 1000 else None)
    with pytest.raises(InputError, match=said):
        Galaxy10(tmp_path / "x.h5")


def test_texts_of_any_length_are_not_read(tmp_path: Path) -> None:
    with h5py.File(decals(tmp_path / "names.h5"), "a") as file:
        file.create_dataset("class_names", (5_000_000,), h5py.string_dtype())
    with pytest.raises(InputError, match="has 5,000,000 class names"):
        Galaxy10(tmp_path / "names.h5")
    with h5py.File(tmp_path / "lists.h5", "w") as file:
        file["images"] = IMAGES
        file.create_dataset("ans", (12,), h5py.vlen_dtype(np.int64))
    with pytest.raises(InputError, match="`ans` is object"):
        Galaxy10(tmp_path / "lists.h5")


def test_another_layout_is_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["data"] = np.zeros(3)
    with pytest.raises(InputError, match="no dataset `images`; it has data"):
        Galaxy10(tmp_path / "x.h5")
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file["images"], file["ans"] = IMAGES.astype(np.float32), ANSWERS
    with pytest.raises(InputError, match="`images` is float32"):
        Galaxy10(tmp_path / "y.h5")
