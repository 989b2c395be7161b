"""Labelled images from folders, tables and Galaxy10 files."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from astropy.io import fits
from PIL import Image

from attn.core.errors import InputError, UsageError
from attn.data_adapters.sky.labelled import open_galaxies, read_image
from attn.data_adapters.sky.stretch import Stretch

EXAMPLE = Path(__file__).parents[3] / "examples" / "disc_galaxy.fits"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "set"
    for k, name in enumerate(["spiral/a.png", "spiral/b.png", "smooth/deep/c.png"]):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((10, 10, 3), 40 * k, np.uint8)).save(root / name)
    shutil.copy(EXAMPLE, root / "smooth" / "d.fits")
    (root / "spiral" / "notes.txt").write_text("not an image")
    (root / "readme.md").write_text("not a class")
    return root


def table(folder: Path, suffix: str, **columns: list[str | None]) -> Path:
    frame = pl.DataFrame(columns)
    path = folder / f"labels{suffix}"
    if suffix == ".parquet":
        frame.write_parquet(path)
    else:
        frame.write_csv(path, separator="\t" if suffix == ".tsv" else ",")
    return path


def test_a_folder_per_class(folder: Path) -> None:
    images = open_galaxies(folder)
    assert images.ids == ["smooth/d.fits", "smooth/deep/c.png", "spiral/a.png", "spiral/b.png"]
    assert images.labels == ["smooth", "smooth", "spiral", "spiral"]
    assert (images.classes, len(images)) == (["smooth", "spiral"], 4)
    assert images.read(3).pixels[0, 0, 0] == 40 and images.read(3).id == "spiral/b.png"


def test_fits_in_a_labelled_set_are_stretched_as_asked(folder: Path) -> None:
    images = open_galaxies(folder)
    for stretch in (Stretch(), Stretch(kind="asinh")):
        np.testing.assert_array_equal(images.read(0, stretch).pixels, read_image(EXAMPLE, stretch).pixels)
    assert (images.read(0, Stretch()).pixels != images.read(0, Stretch(kind="asinh")).pixels).any()


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_tables_with_their_own_names(folder: Path, suffix: str) -> None:
    path = table(folder, suffix, file=["spiral/a.png", "smooth/deep/c.png"], kind=["Sb", "E, odd"])
    images = open_galaxies(path, image="file", label="kind")
    assert images.labels == ["Sb", "E, odd"] and images.classes == ["E, odd", "Sb"]
    assert images.read(1).pixels[0, 0, 0] == 80


def test_numbers_as_labels_are_names(folder: Path) -> None:
    path = table(folder, ".csv", path=["spiral/a.png", "spiral/b.png"], label=["3", "07"])
    assert open_galaxies(path).classes == ["07", "3"]


def test_a_missing_column_lists_those_there_are(folder: Path) -> None:
    path = table(folder, ".csv", path=["spiral/a.png"], kind=["x"])
    with pytest.raises(InputError, match=r"no column 'label'; it has path, kind.*--label"):
        open_galaxies(path)


def test_empty_labels_are_counted_and_located(folder: Path) -> None:
    path = table(folder, ".csv", path=["a.png", "b.png", "c.png"], label=["x", None, " "])
    with pytest.raises(InputError, match="2 of 3 rows have no 'label', the first is row 2"):
        open_galaxies(path)


def test_a_missing_file_is_one_row_s_error(folder: Path) -> None:
    images = open_galaxies(table(folder, ".csv", path=["spiral/a.png", "gone.png"], label=["x", "y"]))
    assert images.read(0).pixels.shape == (10, 10, 3)
    with pytest.raises(InputError, match=r"gone\.png: no such file"):
        images.read(1)


def test_what_is_no_labelled_set(tmp_path: Path) -> None:
    (tmp_path / "bad.parquet").write_text("no")
    (tmp_path / "x.txt").write_text("no")
    (tmp_path / "empty").mkdir()
    (tmp_path / "void.csv").write_text("")
    (tmp_path / "rows.csv").write_text("path,label\n")
    for name, said in (
        ("bad.parquet", "is not a table"),
        ("x.txt", "not a set of labelled images"),
        ("empty", "no images in folders"),
        ("void.csv", "is not a table"),
        ("rows.csv", "has no rows"),
        ("absent.csv", "no such file"),
    ):
        with pytest.raises(InputError, match=said):
            open_galaxies(tmp_path / name)
    with pytest.raises(UsageError, match="no columns to choose"):
        open_galaxies(tmp_path / "empty", label="kind")


def test_the_fingerprint_follows_the_data_and_not_the_place(folder: Path, tmp_path: Path) -> None:
    print_ = open_galaxies(folder).fingerprint()
    assert print_["count"] == 4 and print_["classes"] == {"smooth": 2, "spiral": 2}
    moved = tmp_path / "elsewhere" / "set"
    shutil.copytree(folder, moved)
    assert open_galaxies(moved).fingerprint() == print_
    shutil.move(moved / "spiral" / "a.png", moved / "smooth" / "a.png")
    assert open_galaxies(moved).fingerprint()["sha256"] != print_["sha256"]


@pytest.mark.real_data
def test_efigi_table(data_dir: Path) -> None:
    images = open_galaxies(data_dir / "galaxy/efigi/labels.csv", label="coarse")
    assert images.fingerprint()["classes"] == {"elliptical": 289, "irregular": 317, "lenticular": 535, "spiral": 3315}
    assert images.read(0).pixels.shape == (88, 88, 3)


def test_one_hdu_of_all_files(tmp_path: Path) -> None:
    planes = [np.random.default_rng(k).normal(10, 1, (40, 40)).astype(np.float32) for k in range(2)]
    for name in ("a", "b"):
        hdus = [fits.PrimaryHDU(), *(fits.ImageHDU(plane, name=f"P{k}") for k, plane in enumerate(planes))]
        fits.HDUList(hdus).writeto(tmp_path / f"{name}.fits")
    path = table(tmp_path, ".csv", path=["a.fits", "b.fits"], label=["x", "y"])
    first, second = open_galaxies(path), open_galaxies(path, hdu="P1")
    np.testing.assert_array_equal(second.read(0).pixels, read_image(tmp_path / "a.fits", hdu="P1").pixels)
    assert (first.read(0).pixels != second.read(0).pixels).any()
    assert second.fingerprint() == first.fingerprint() | {"hdu": "P1"}
    with pytest.raises(InputError, match="no HDU"):
        open_galaxies(path, hdu="P7").read(0)
