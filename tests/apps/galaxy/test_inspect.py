"""Inspection: what is in files and labelled sets, before any model."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from attn.apps.galaxy.inspect import SHEET_COLUMNS, SHEET_ROWS, TILE, draw_preview, inspect_file, inspect_labelled
from attn.apps.galaxy.inspect import is_labelled as labelled_set
from attn.core.errors import InputError, UsageError
from attn.data_adapters.images.labelled import LabelledImages
from attn.data_adapters.sky.labelled import open_galaxies
from attn.data_adapters.sky.stretch import Stretch


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    image = fits.ImageHDU(np.random.default_rng(0).normal(0, 1, (30, 40)).astype(np.float32), name="SCI")
    image.data[:3] = np.nan
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1, 2])], name="CAT")
    fits.HDUList([fits.PrimaryHDU(), table, image]).writeto(folder / "a.fits")
    Image.new("RGB", (20, 10), (200, 0, 0)).save(folder / "b.png")
    (folder / "c.fits").write_text("<html>")
    return folder


def test_a_row_per_file_with_its_hdus_size_and_flags_or_the_reason(files: Path) -> None:
    good, picture = inspect_file(files / "a.fits"), inspect_file(files / "b.png")
    assert good["contents"].startswith("0: ") and "; 1" in good["contents"] and "; 2" in good["contents"]
    assert good["pixels"] == "40 x 30" and "error" not in good
    assert "nan_filled:10%" in good["flags"]
    assert (picture["contents"], picture["pixels"], picture["flags"]) == ("picture", "20 x 10", "empty")
    with pytest.raises(InputError, match="a web page, not a FITS file"):
        inspect_file(files / "c.fits")


def test_a_choice_of_hdu_is_followed(files: Path) -> None:
    row = inspect_file(files / "a.fits", hdu="CAT")
    assert str(row["contents"]).split("; ")[1].startswith("1: ") and "pixels" not in row
    assert "a.fits, HDU 1 (CAT): " in str(row["error"]) and "not an image" in str(row["error"])


def test_classes_are_counted_and_unreadable_members_found(labelled_table: Path, tmp_path: Path) -> None:
    table = Path(shutil.copytree(labelled_table.parent, tmp_path / "set")) / labelled_table.name
    (table.parent / "ring_3.png").unlink()
    rows = {row["label"]: row for row in inspect_labelled(open_galaxies(table, label="kind"))}
    assert list(rows) == ["disc", "ring", "round"]
    assert [row["unreadable"] for row in rows.values()] == [0, 1, 0]
    assert "ring_3.png: no such file" in rows["ring"]["reason"] and rows["disc"]["reason"] is None
    assert all(row["images"] == 12 and row["share"] == pytest.approx(1 / 3) for row in rows.values())


def test_what_counts_as_a_labelled_set(labelled_table: Path, files: Path, tmp_path: Path) -> None:
    assert labelled_set(str(labelled_table)) and labelled_set("Galaxy10.H5") and labelled_set("x.parquet")
    (tmp_path / "classes" / "spiral").mkdir(parents=True)
    assert labelled_set(str(tmp_path / "classes"))
    assert not labelled_set(str(files)) and not labelled_set("m51.fits")


def test_the_preview_has_a_tile_per_readable_image(files: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "new" / "sheet.png"
    assert draw_preview([str(files)], sheet, Stretch()) == 2
    pixels = np.asarray(Image.open(sheet))
    assert pixels.shape == (TILE, SHEET_COLUMNS * TILE, 3)
    assert (pixels[5, TILE + 5] == (200, 0, 0)).all()
    assert not pixels[:, 2 * TILE :].any()


def test_the_preview_ends_with_a_full_sheet(labelled: LabelledImages, labelled_table: Path, tmp_path: Path) -> None:
    twice = shutil.copytree(labelled_table.parent, tmp_path / "again")
    inputs = [str(labelled_table.parent), str(twice)]
    assert draw_preview(inputs, tmp_path / "sheet.png", Stretch()) == SHEET_COLUMNS * SHEET_ROWS < 2 * len(labelled)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (SHEET_COLUMNS * TILE, SHEET_ROWS * TILE)


def test_nothing_readable_is_an_empty_row(files: Path, tmp_path: Path) -> None:
    assert draw_preview([str(files / "c.fits")], tmp_path / "sheet.png", Stretch()) == 0


def test_the_preview_must_be_a_picture(files: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"sheet\.pdf: the preview is a picture; end its name in \.png"):
        draw_preview([str(files)], tmp_path / "sheet.pdf", Stretch())
    assert not list(tmp_path.glob("*.pdf"))
